"""The drawn data: the shipped split is what the ids say."""

import csv

import numpy as np
import pytest
from conftest import ROOT

from isdiff.data.drawn import DrawnDataset
from make_drawn import write_split
from training.data import leading, rendered_split, shares, split_attributes
from training.drawn import BACKGROUNDS, draw, split_ids
from training.styles import COLLECTIONS, color_name


@pytest.fixture(scope="module")
def test_split():
    return DrawnDataset("avatars", root=str(ROOT / "data"))


@pytest.fixture(scope="module")
def rows():
    return list(csv.DictReader((ROOT / "data" / "avatars" / "test.csv").open()))


def test_shipped_images_are_what_their_ids_draw(test_split, rows):
    """Another version of the drawing packages may move a pixel's last bits, not more."""
    for position in (0, 17, 500, 999):
        image_id = test_split.ids()[position]
        drawing = draw(image_id)
        shipped = test_split.image(image_id).astype(int)
        assert shipped.shape == (64, 64, 3)
        assert np.abs(shipped - drawing.pixels).mean() < 0.5
        assert rows[position] == {"id": image_id, **drawing.attributes, "caption": drawing.caption}


def test_a_thousand_images_under_four_megabytes(test_split, rows):
    assert len(test_split.ids()) == len(rows) == 1000
    assert sum(p.stat().st_size for p in (ROOT / "data" / "avatars").glob("test.*")) < 4e6


@pytest.mark.parametrize("name", ["drawings", "landscapes"])
def test_the_other_shipped_splits(name):
    dataset = DrawnDataset(name, root=str(ROOT / "data"))
    described = list(csv.DictReader((ROOT / "data" / name / "test.csv").open()))
    assert len(described) == 1000 and {row["style"] for row in described} == set(COLLECTIONS[name].styles)
    assert sum(p.stat().st_size for p in (ROOT / "data" / name).glob("test.*")) < 4e6
    for position in (0, 400, 999):
        drawing = draw(dataset.ids()[position])
        assert np.abs(dataset.image(drawing.id).astype(int) - drawing.pixels).mean() < 0.5
        assert described[position] == {"id": drawing.id, **drawing.attributes, "caption": drawing.caption}


def test_every_style_is_credited():
    for name, collection in COLLECTIONS.items():
        credits = (ROOT / "data" / name / "CREDITS.md").read_text()
        assert all(f"| {style} |" in credits for style in collection.styles), name


def test_attributes_cover_every_style_and_background(rows):
    assert {row["style"] for row in rows} == set(COLLECTIONS["avatars"].styles)
    assert {row["background"] for row in rows} == set(BACKGROUNDS)
    assert 100 < sum(row["glasses"] == "yes" for row in rows) < 900
    assert all(row["caption"].startswith(("a ", "an ")) for row in rows)
    assert not any(", ," in row["caption"] or "none" in row["caption"] for row in rows)


def test_splits_never_meet():
    splits = [set(split_ids("avatars", name, 2000)) for name in ("train", "dev", "test")]
    assert len(set.union(*splits)) == 6000


@pytest.mark.parametrize("name", COLLECTIONS)
def test_dev_images_are_what_their_ids_draw(name):
    dev = DrawnDataset(name, "dev", root=str(ROOT / "data"))
    assert dev.ids() == split_ids(name, "dev", 100)
    for image_id in dev.ids()[::40]:
        drawing = draw(image_id)
        assert np.abs(dev.image(image_id).astype(int) - drawing.pixels).mean() < 0.5
        assert dev.caption(image_id) == drawing.caption


def test_archives_are_reproducible(tmp_path):
    drawings = [draw(image_id) for image_id in split_ids("avatars", "dev", 3)]
    for name in ("a", "b"):
        write_split(tmp_path / name, "dev", drawings)
    assert (tmp_path / "a" / "dev.zip").read_bytes() == (tmp_path / "b" / "dev.zip").read_bytes()


@pytest.mark.parametrize(
    "color, name", [("#151613", "black"), ("#ffffff", "white"), ("#4b7deb", "blue"), ("#c93305", "red")]
)
def test_color_names(color, name):
    assert color_name(color) == name


def test_mixtures_take_equal_parts_of_each_dataset(tmp_path):
    assert shares("avatars", 5) == [("avatars", 5)]
    assert shares("drawings+landscapes", 5) == [("drawings", 3), ("landscapes", 2)]
    mixed = rendered_split("drawings+landscapes", "dev", 5, 16, tmp_path, workers=1)
    assert mixed.shape == (5, 16, 16, 3)
    assert np.array_equal(mixed[3], draw("landscapes-dev-00000", 16).pixels)
    rows = split_attributes("drawings+landscapes", "dev", 5, workers=1)
    assert [set(row) for row in rows] == [set(rows[0])] * 5 and rows[3]["kind"] == "landscape"


def test_a_smaller_mixture_lies_within_a_larger_one(tmp_path):
    whole, part = (rendered_split("drawings+landscapes", "dev", n, 16, tmp_path, workers=1) for n in (7, 4))
    assert np.array_equal(whole[leading("drawings+landscapes", 4, 7)], part)
    assert leading("avatars", 3, 7).tolist() == [0, 1, 2]
