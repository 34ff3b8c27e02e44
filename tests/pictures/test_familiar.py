"""Pictures that are unlike what a model knows are said to be, its own are not."""

import shutil
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import isdiff
from isdiff.app.show import done
from isdiff.cli import main
from isdiff.config.composing import compose_run
from isdiff.pictures.familiar import FILE, known_of, looks

sys.path.insert(0, str(ROOT / "benchmarks"))
from familiar import DATASETS, images, measure, text

COUNT = 40


@pytest.fixture(scope="module")
def kinds():
    """Of each kind, masked as in the calibration; images of the test splits."""
    names = ("photos", "avatars", "drawings", "landscapes")
    return {name: measure(images(name, "test", COUNT), 64) for name in names} | {"text": measure(text(COUNT), 64)}


@pytest.mark.parametrize("model", DATASETS)
def test_own_images_are_known_and_others_are_not(kinds, model):
    known = known_of(compose_run([f"model={model}"]).model.weights)
    assert known, f"for new weights run python benchmarks/familiar.py {model}"
    far = {name: float((known.distance(found) > 1).sum()) / COUNT for name, found in kinds.items()}
    assert all(far[name] <= 0.05 for name in DATASETS[model]), far
    other, least = {"photos64": ("avatars", 0.35), "drawings64": ("photos", 0.35)}.get(model, ("photos", 0.65))
    assert far[other] >= least and far["text"] > 0.6, far


def test_what_is_under_the_hole_says_nothing_and_little_is_no_judgement():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (90, 130, 3), np.uint8)
    hole = np.zeros((90, 130), bool)
    hole[20:70, 30:80] = True
    other = np.where(hole[..., None], 255 - pixels, pixels)
    assert (looks(pixels, hole, 64) == looks(other, hole, 64)).all()
    assert looks(np.full_like(pixels, 9), hole, 64) is None, "a flat picture"
    hole[:] = True
    hole[:2] = False
    assert looks(pixels, hole, 64) is None, "little is known"


def test_other_weights_and_damaged_notes_are_silent(tmp_path):
    weights = tmp_path / "unet.safetensors"
    shutil.copy(ROOT / "models" / "avatars64" / FILE, tmp_path)
    assert known_of(str(weights)) is None
    weights.write_bytes(b"others")
    assert known_of(str(weights)) is None
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / FILE).write_text('{"weights": "a", "mean": [1], "whitening": 2, "limit": 0}')
    assert known_of(str(shutil.copy(weights, tmp_path / "damaged"))) is None


def test_a_photograph_for_the_model_of_faces_is_said_everywhere(tmp_path, monkeypatch, capsys):
    from isdiff.app.photo import Photo
    from isdiff.app.studio import Limits, Order, Studio
    from isdiff.pictures.inpaint import hole_of
    from isdiff.pictures.picture import picture_of

    photo = next(p for p in images("photos", "test", 12) if known_of("models/avatars64/unet.safetensors").is_far(
        p, np.zeros((64, 64), bool), 64))  # fmt: skip
    says = "unlike the images that avatars64 knows, drawn faces"
    with pytest.warns(UserWarning, match=says):
        isdiff.inpaint(photo, "center", model="avatars64", steps=2)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.png")
    words = ["inpaint", "photo.png", "--mask", "center", "--variants", "2", "-o", "out", "--steps", "2"]
    assert main([*words, "--model", "avatars64"]) == 0
    assert capsys.readouterr().err.count(says) == 1
    assert main(words) == 0 and "unlike" not in capsys.readouterr().err
    picture = picture_of(photo, "photo")
    order = Order(Photo("photo", picture), hole_of("center", picture), "ddnm", "avatars64", steps=2)
    made = Studio(Limits()).make(order, lambda: False)
    assert says in done(made, order.edge) and "no bit has changed" in done(made, order.edge)
