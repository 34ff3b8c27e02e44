"""Holes that grow, and pictures that get a border."""

import numpy as np
import pytest
import torch
from PIL import Image

import isdiff
from isdiff.cli import main
from isdiff.errors import UserError
from isdiff.pictures.shapes import borders, grow_hole

HOLE = np.zeros((20, 30), bool)
HOLE[8:12, 10:20] = True


def test_a_hole_grows_and_shrinks_by_pixels():
    grown = grow_hole(HOLE, 3)
    assert grown[5:15, 10:20].all() and grown[8:12, 7:23].all() and not grown[:5].any() and not grown[:, :7].any()
    assert not grown[5, 7], "corners are round"
    assert np.array_equal(grow_hole(grown, -3), HOLE) and not grow_hole(HOLE, -2).any()
    at_border = np.indices((20, 30))[1] >= 15
    assert np.array_equal(grow_hole(at_border, -4), np.indices((20, 30))[1] >= 19), "the picture's border is no edge"


def test_borders_are_pixels_or_shares():
    assert borders("left=7, top=10%,bottom=2px", (20, 30)) == (7, 2, 0, 2)
    for text in ("up=3", "left=-3", "left", "left=1e9", "left=601", "left=0", "right=0.1%"):
        with pytest.raises(UserError, match="extend"):
            borders(text, (20, 30))


@pytest.mark.parametrize("kind", ["gray", "tensor", "image"])
def test_a_picture_gets_a_border(kind):
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 110, (20, 30, 3), np.uint8)
    given = {
        "gray": pixels[..., 0], "tensor": torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
        "image": Image.fromarray(pixels),
    }[kind]  # fmt: skip
    found = isdiff.inpaint(given, steps=3, extend="left=8,bottom=25%").image
    assert type(found) is type(given)
    values = found.numpy().transpose(1, 2, 0) if kind == "tensor" else np.asarray(found)
    assert values.shape[:2] == (25, 38)
    assert np.array_equal(values[:20, 8:], pixels[..., 0] if kind == "gray" else pixels)
    assert values[:, :8].min() > 60, "it is filled"


def test_the_command_takes_both(tmp_path, capsys):
    pixels = np.random.default_rng(1).integers(90, 110, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(HOLE.astype(np.uint8) * 255).save(tmp_path / "m.png")
    given = [str(tmp_path / "a.png"), "--steps", "2", "-o", str(tmp_path / "out.png")]
    assert main(["inpaint", *given, "--mask", str(tmp_path / "m.png"), "--grow", "2", "--extend", "top=5"]) == 0
    found = np.asarray(Image.open(tmp_path / "out.png"))
    known = ~grow_hole(HOLE, 2)
    assert found.shape == (25, 30, 3) and np.array_equal(found[5:][known], pixels[known])
    assert main(["inpaint", *given, "--extend", "up=5"]) == 3 and "left=200,top=10%" in capsys.readouterr().err
    assert main(["inpaint", *given]) == 1 and "no mask is given" in capsys.readouterr().err
