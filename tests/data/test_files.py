"""Datasets of files: the layouts and the kinds of image that people have."""

import shutil

import cv2
import numpy as np
import pytest
from configured import write_editbench
from conftest import ROOT, run_script
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.data.base import Dataset
from isdiff.data.files import FolderDataset
from isdiff.data.images import paste
from isdiff.errors import Missing, UserError
from isdiff.masks.base import MaskSource
from isdiff.masks.generated import ExpandMask, HalfMask, WideMask


def picture(path, size=(40, 30), mode="RGB"):
    rng = np.random.default_rng(len(path.name))
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return image


def dataset(name: str, path) -> object:
    return build(
        compose_run([f"dataset={name}", f"dataset.path={path}", f"data_root={ROOT / 'data'}"]).dataset, Dataset
    )


@pytest.mark.parametrize(
    "name, layout",
    [
        ("celeba", "CelebA-HQ-img/{n}.jpg"),
        ("imagenet", "val/n01440764/ILSVRC2012_val_{n:08d}.JPEG"),
        ("places2", "val_large/Places365_val_{n:08d}.jpg"),
    ],
)
def test_layouts(tmp_path, name, layout):
    data = dataset(name, tmp_path)
    ids = data.ids()[:3]
    for image_id in ids:
        picture(tmp_path / layout.format(n=data.numbers[image_id]))
    data.require(ids)
    assert data.image(ids[0]).shape == (data.size, data.size, 3)
    with pytest.raises(Missing, match=f"1 of 4 images of {name} are not below"):
        data.require(data.ids()[:4])


def test_a_copy_renumbered_from_one(tmp_path):
    """LaMa's CelebA-HQ runs from 00001 to 30000: number n is in the file n + 1."""
    data = dataset("celeba", tmp_path)
    first = data.ids()[0]
    number = data.numbers[first]
    for n in (number, number + 1, 30000):
        picture(tmp_path / f"{n:05d}.jpg")
    assert data.file(first).name == f"{number + 1:05d}.jpg"
    (tmp_path / "30000.jpg").unlink()
    assert dataset("celeba", tmp_path).file(first).name == f"{number:05d}.jpg"


def test_manifests_follow_their_rule(tmp_path):
    run_script("--out", str(tmp_path), script="make_manifests.py")
    for name, count, last in (("celeba", 1000, 29999), ("imagenet", 1000, 50000), ("places2", 5000, 36500)):
        committed, development = (
            (ROOT / "data" / "manifests" / f"{name}{split}.csv").read_text() for split in ("", "_dev")
        )
        assert committed == (tmp_path / f"{name}.csv").read_text()
        assert development == (tmp_path / f"{name}_dev.csv").read_text()
        numbers = [int(line.split(",")[1]) for line in committed.splitlines()[1:]]
        assert len(set(numbers)) == count and min(numbers) >= 0 and max(numbers) <= last
        assert not set(development.splitlines()[1:]) & set(committed.splitlines())


def test_anyones_folder(tmp_path):
    for name in ("b.png", "a.jpg", "deep/er/c.webp", "a.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    data = FolderDataset(str(tmp_path), 16)
    assert data.ids() == ["a_jpg", "a_png", "b", "deep__er__c"]
    assert data.image("deep__er__c").shape == (16, 16, 3)
    with pytest.raises(Missing, match="there is no folder"):
        FolderDataset(str(tmp_path / "none"), 16).ids()
    (tmp_path / "empty").mkdir()
    with pytest.raises(Missing, match="has no image"):
        FolderDataset(str(tmp_path / "empty"), 16).ids()


def test_data_check_knows_other_copies_by_their_hashes(tmp_path):
    """A file with the same pixels passes, one with other pixels does not, a new one is no problem."""
    here = [f"dataset.path={tmp_path / 'images'}", f"data_root={tmp_path}"]
    first = picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "bb.png")
    run_script("check", "folder", "--record", *here, command="data")
    (tmp_path / "images" / "a.png").unlink()
    first.save(tmp_path / "images" / "a.bmp")
    picture(tmp_path / "images" / "ccc.png")
    assert "2 are those of" in run_script("check", "folder", *here, command="data").stdout
    first.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "images" / "a.bmp")
    done = run_script("check", "folder", *here, command="data", check=False)
    assert done.returncode == 1 and "1 images are not those of" in done.stderr and "(first: a)" in done.stderr


def test_masks_are_written_with_their_hashes(tmp_path):
    (tmp_path / "data" / "avatars").mkdir(parents=True)
    shutil.copyfile(ROOT / "data" / "avatars" / "dev.zip", tmp_path / "data" / "avatars" / "dev.zip")
    few = ["dataset.count=5", f"data_root={tmp_path / 'data'}", "dataset.split=dev"]
    run_script("masks", "avatars", "wide", "--out", str(tmp_path / "out"), *few, command="data")
    lines = (tmp_path / "out" / "sha256.txt").read_text().splitlines()
    assert len(lines) == len(list((tmp_path / "out").glob("*.png"))) == 5
    assert len({line.split()[0] for line in lines}) == 5
    run_script("masks", "avatars", "wide", "--record", *few, command="data")
    assert "are those of" in run_script("masks", "avatars", "wide", *few, command="data").stdout
    other = run_script("masks", "avatars", "wide", "mask.seed=1", *few, command="data", check=False)
    assert other.returncode == 1 and "another mask.seed" in other.stderr


@pytest.fixture
def editbench(tmp_path):
    """Three images in the released layout, one folder down."""
    write_editbench(tmp_path / "editbench", (3, 1), (2,))
    return tmp_path


def test_editbench(editbench):
    cfg = compose_run(["dataset=editbench", f"dataset.path={editbench}", "dataset.prompt=prompt_mask-rich"])
    data, masks = build(cfg.dataset, Dataset), build(cfg.mask, MaskSource)
    assert data.ids() == ["natural-3", "natural-1", "generated-2"]
    data.require(data.ids())
    assert data.caption("natural-3") == "a small cat"
    assert data.image("natural-1").shape == (256, 256, 3)
    assert masks.hole("generated-2", 64, 64).sum() == 64 * 20
    assert compose_run(["dataset=editbench", "mask=half"]).mask.name == "half"
    next(editbench.rglob("references_natural/1.png")).unlink()
    with pytest.raises(Missing, match=r"1 of 3 images of editbench are not below .*first: natural-1"):
        data.require(data.ids())
    with pytest.raises(Missing, match="EditBench is not below"):
        dataset("editbench", editbench / "nothing").ids()
    with pytest.raises(UserError, match="prompt is 'x'"):
        build(compose_run(["dataset=editbench", "dataset.prompt=x"]).dataset, Dataset)


@given(st.sampled_from([HalfMask(), ExpandMask(), WideMask()]), st.text(max_size=5), st.floats(0.5, 20))
def test_a_soft_seam_takes_nothing_from_below_the_hole(source, image_id, seam):
    """Inside the result, far outside the image, in between in between; other pixels below the hole change nothing."""
    hole = source.hole(image_id, 48, 48)
    result, image = np.full((48, 48, 3), 200, np.uint8), np.full((48, 48, 3), 100, np.uint8)
    other = np.where(hole[..., None], np.uint8(7), image)
    out = paste(result, image, hole, seam)
    assert np.array_equal(out, paste(result, other, hole, seam))
    assert (out[hole] == 200).all() and out.min() >= 100
    far = cv2.dilate(hole.astype(np.uint8), np.ones((43, 43))) == 0
    assert (out[far] == 100).all()
    beside = (cv2.dilate(hole.astype(np.uint8), np.ones((3, 3))) > 0) & ~hole
    assert (out[beside] > 100).all() and (out[beside] < 200).all()
    assert np.array_equal(paste(result, image, hole), np.where(hole[..., None], result, image))
