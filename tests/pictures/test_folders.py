"""Folders of pictures: going on where a command stopped, squares in the progress, and a method for each picture."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import isdiff
from isdiff.cli import main
from isdiff.errors import UserError
from isdiff.pictures import auto
from isdiff.pictures.jobs import Inpainter

LINE = np.zeros((40, 48), bool)
LINE[20:23, 5:40] = True
BLOCK = np.zeros((40, 48), bool)
BLOCK[10:28, 12:34] = True


def photo(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((48, 40), Image.BICUBIC))


@pytest.fixture
def folders(tmp_path):
    for name, mask in (("a", BLOCK), ("b", LINE), ("c", BLOCK)):
        for kind, pixels in (("photos", photo(ord(name))), ("masks", mask.astype(np.uint8) * 255)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / f"{name}.png")
    return tmp_path


def command(folder, *more: str) -> list[str]:
    given = [str(folder / "photos"), "--mask", str(folder / "masks"), "-o", str(folder / "out")]
    return ["inpaint", *given, "--steps", "3", *more]


def test_the_same_command_goes_on_where_it_stopped(folders, capsys):
    assert main(command(folders)) == 0
    out, times = folders / "out", {}
    lines = [json.loads(line) for line in (out / "isdiff.jsonl").read_text().splitlines()]
    assert sorted(line["file"] for line in lines) == ["a.png", "b.png", "c.png"]
    assert {line["version"] for line in lines} == {1} and all(line["network_calls"] > 0 for line in lines)
    printed = capsys.readouterr().out
    for name in "abc":
        times[name] = (out / f"{name}.png").stat().st_mtime_ns
    (out / "b.png").write_bytes(b"torn")
    Image.fromarray(photo(7)).save(folders / "photos" / "c.png")
    with open(out / "isdiff.jsonl", "a") as stream:
        stream.write('{"file": "a.p')
    assert main(command(folders)) == 0
    captured = capsys.readouterr()
    assert sorted(captured.out.split()) == sorted(printed.split()) and "1 results were there already" in captured.err
    assert {name for name in "abc" if (out / f"{name}.png").stat().st_mtime_ns == times[name]} == {"a"}
    assert main(command(folders)) == 0 and "3 results were there already" in capsys.readouterr().err
    assert main(command(folders, "--edge", "poisson")) == 0 and "were there" not in capsys.readouterr().err


def test_pictures_of_one_name_in_several_folders_go_on_too(folders, capsys):
    for sub in ("one", "two"):
        (folders / "photos" / sub).mkdir()
        shutil.copy(folders / "photos" / "a.png", folders / "photos" / sub)
    asked = ["inpaint", str(folders / "photos"), "--mask", "half", "-o", str(folders / "out"), "--method", "telea"]
    assert main(asked) == 0 and main(asked) == 0
    assert "5 results were there already" in capsys.readouterr().err


def test_auto_takes_telea_for_thin_lines_and_patches_else(folders, capsys):
    images, holes = [photo(ord(name)) for name in "abc"], [BLOCK, LINE, BLOCK]
    result = isdiff.inpaint(images, holes, "auto", steps=3)
    assert result.methods == ["ddnm+isdiff with patches", "telea", "ddnm+isdiff with patches"]
    for image, hole, made, method in zip(images, holes, result.images, ("ddnm+isdiff", "telea", None), strict=True):
        if method:
            assert np.array_equal(made, isdiff.inpaint(image, hole, method, steps=3).image)
    soft = isdiff.inpaint(images[1], LINE, "auto", feather=2, steps=3)
    assert soft.methods == ["ddnm+isdiff with patches"], "Telea takes no soft mask"
    assert main(command(folders, "--method", "auto")) == 0
    said = capsys.readouterr().err
    assert "auto took ddnm+isdiff with patches (no thin lines) for 2, telea (thin lines) for 1" in said
    for name, made in zip("abc", result.images, strict=True):
        assert np.array_equal(np.asarray(Image.open(folders / "out" / f"{name}.png")), made)


def test_auto_takes_public_weights_for_prompts_and_large_holes(monkeypatch):
    with pytest.raises(UserError, match="isdiff weights get sd2_inpainting"):
        isdiff.inpaint(photo(1), BLOCK, "auto", prompt="a face")
    with pytest.raises(UserError, match="takes its models itself"):
        isdiff.inpaint(photo(1), BLOCK, "auto", "photos64")
    monkeypatch.setattr(auto, "PUBLIC", ("sd2_inpainting", "avatars64_latent"))  # the first has no weights here
    large = np.ones((40, 48), bool)
    large[:12] = False
    result = isdiff.inpaint([photo(1), photo(2)], [large, BLOCK], "auto", steps=2)
    assert result.methods == ["si with avatars64_latent", "ddnm+isdiff with patches"]


def test_several_holes_far_apart_have_squares_of_their_own_at_their_own_scale():
    """In one batch of the engine; and each alone, or with batches of another size, gives the same."""
    rng = np.random.default_rng(3)
    pixels = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 20, 3), np.uint8)).resize((640, 280), Image.BICUBIC))
    hole = np.zeros((280, 640), bool)
    hole[20:30, 20:32] = hole[80:220, 420:560] = True
    batches, shapes = [], {}
    for size in (1, 4):
        inpainter = Inpainter("ddnm", "photos64", steps=3, overrides=[f"runtime.batch_size={size}", "sampler.repeat=1"])
        job = isdiff.Job("a", pixels, hole)
        (filled,) = inpainter.stream([job], progress=batches.append)
        assert inpainter.squares == "2/2 squares"
        shapes[size] = [trace.window.shape for trace in filled.trace], filled.values
    assert shapes[1][0] == shapes[4][0] == [(64, 64), (256, 256)] and max(batches) == 2
    assert np.array_equal(shapes[1][1], shapes[4][1])


def test_auto_counts_squares_too():
    pixels, hole = np.zeros((300, 3600, 3), np.uint8), np.zeros((300, 3600), bool)
    hole[20:22, 10:30] = hole[20:22, 3400:3420] = True
    inpainter = auto.AutoInpainter()
    assert inpainter.squares == ""
    list(inpainter.stream([isdiff.Job("a", pixels, hole)]))
    assert inpainter.squares == "2/2 squares"
