"""The drawn data: the shipped split is what the ids say."""

import csv

import numpy as np
import pytest
from conftest import ROOT

from isdiff.data.shipped import DrawnDataset
from make_drawn import write_split
from training.data import leading, rendered_split, shares, split_attributes
from training.drawn import draw, split_ids
from training.styles import COLLECTIONS


@pytest.mark.parametrize("name", COLLECTIONS)
def test_shipped_images_are_what_their_ids_draw(name):
    """Another version of the drawing packages may move a pixel's last bits, not more."""
    root, styles = ROOT / "data" / name, set(COLLECTIONS[name].styles)
    described = list(csv.DictReader((root / "test.csv").open()))
    assert len(described) == 1000 and {row["style"] for row in described} == styles
    assert sum(path.stat().st_size for path in root.glob("test.*")) < 4e6
    for split, positions in (("test", (0, 999)), ("dev", (80,))):
        data = DrawnDataset(name, split, root=str(ROOT / "data"))
        assert data.ids() == split_ids(name, split, 1000 if split == "test" else 100)
        for position in positions:
            drawing = draw(data.ids()[position])
            assert data.image(drawing.id).shape == (64, 64, 3)
            assert np.abs(data.image(drawing.id).astype(int) - drawing.pixels).mean() < 0.5
            assert data.caption(drawing.id) == drawing.caption
            if split == "test":
                assert described[position] == {"id": drawing.id, **drawing.attributes, "caption": drawing.caption}
    credits = (root / "CREDITS.md").read_text()
    assert all(f"| {style} |" in credits for style in styles)


def test_splits_never_meet():
    splits = [set(split_ids("avatars", name, 2000)) for name in ("train", "dev", "test")]
    assert len(set.union(*splits)) == 6000


def test_archives_are_reproducible(tmp_path):
    drawings = [draw(image_id) for image_id in split_ids("avatars", "dev", 3)]
    for name in ("a", "b"):
        write_split(tmp_path / name, "dev", drawings)
    assert (tmp_path / "a" / "dev.zip").read_bytes() == (tmp_path / "b" / "dev.zip").read_bytes()


def test_mixtures_take_equal_parts_of_each_dataset(tmp_path):
    assert shares("avatars", 5) == [("avatars", 5)]
    assert shares("drawings+landscapes", 5) == [("drawings", 3), ("landscapes", 2)]
    mixed, part = (rendered_split("drawings+landscapes", "dev", n, 16, tmp_path, workers=1) for n in (3, 2))
    assert mixed.shape == (3, 16, 16, 3)
    assert np.array_equal(mixed[2], draw("landscapes-dev-00000", 16).pixels)
    assert np.array_equal(mixed[leading("drawings+landscapes", 2, 3)], part), "a smaller one lies within a larger one"
    rows = split_attributes("drawings+landscapes", "dev", 3, workers=1)
    assert [set(row) for row in rows] == [set(rows[0])] * 3 and rows[2]["kind"] == "landscape"
