"""The photographs: what ships, which crops the splits hold, and that nothing is said of other pixels."""

import shutil
from collections import Counter

import numpy as np
import pytest
from conftest import ROOT, run_script
from hypothesis import given
from hypothesis import strategies as st

from isdiff.data.shipped import PhotoDataset, open_photo
from isdiff.errors import UserError
from training.crops import fixed_box, is_flat, photo_rows, random_box, split_files

DATA = ROOT / "data"


@pytest.fixture(scope="module")
def photos():
    return PhotoDataset(root=str(DATA))


def test_what_ships():
    rows = photo_rows(DATA)
    assert Counter(row["split"] for row in rows) == {"train": 150, "test": 60}
    free = {row["licence_class"] for row in rows if row["split"] == "test"}
    assert free == {"PD", "CC0"}, "test photographs can be shown anywhere"
    credit = (DATA / "photos" / "CREDITS.md").read_text("utf-8")
    for row in rows:
        assert (DATA / "photos" / row["split"] / row["file"]).exists()
        assert row["file"] in credit and row["author"] in credit and f"## {row['licence']}" in credit
    assert sum(p.stat().st_size for p in (DATA / "photos").rglob("*") if p.is_file()) < 16e6


def test_splits_share_no_photograph_and_no_scene():
    group = {row["file"]: row["group"] for row in photo_rows(DATA)}
    splits = {split: split_files(DATA, split) for split in ("train", "dev", "test")}
    assert len(splits["dev"]) == 15 and len(splits["test"]) == 60 and len(splits["train"]) > 125
    scenes = {split: {group[p.name] for p in files} for split, files in splits.items()}
    assert not scenes["train"] & scenes["dev"] and not scenes["test"] & (scenes["train"] | scenes["dev"])


@pytest.mark.parametrize("split", ["test", "dev"])
def test_listed_crops_are_those_of_the_rule_and_their_pixels_as_they_were(split):
    data = PhotoDataset(split, str(DATA))
    assert len(data.ids()) == 1000 and {data.place(i)[0] for i in data.ids()} == set(split_files(DATA, split))
    for image_id in data.ids()[:: 7 if split == "test" else 97]:
        file, box, _ = data.place(image_id)
        assert data.image(image_id).shape == (64, 64, 3)  # image() compares hashes
        assert fixed_box(image_id, open_photo(file), 64) == box


def test_a_thousand_crops_spread_evenly(photos):
    ids = photos.ids()
    assert len(ids) == 1000 == len(set(ids))
    per_photo = Counter(photos.place(i)[0] for i in ids)
    assert len(per_photo) == 60 and set(per_photo.values()) <= {16, 17}
    assert len({photos.place(i)[0] for i in ids[:60]}) == 60, "any first part is spread too"
    assert sum(is_flat(photos.image(i)) for i in ids[::10]) <= 2


@pytest.mark.parametrize("size, least", [(128, 500), (256, 200)])
def test_larger_sizes_enlarge_nothing(size, least):
    large = PhotoDataset(root=str(DATA), size=size)
    assert least < len(large.ids()) < 1000
    assert all(large.place(i)[1][2] >= size for i in large.ids())
    assert large.image(large.ids()[0]).shape == (size, size, 3)


def test_changed_photographs_are_refused(tmp_path, photos):
    shutil.copytree(DATA / "photos", tmp_path / "photos", ignore=shutil.ignore_patterns("train"))
    own = PhotoDataset(root=str(tmp_path))
    first = own.ids()[0]
    file = own.place(first)[0]
    other = next(p for p in sorted(file.parent.iterdir()) if p.name != file.name)
    shutil.copyfile(other, file)
    with pytest.raises(UserError, match="other pixels than listed"):
        own.image(first)
    done = run_script("--check", "--root", str(tmp_path), script="make_photos.py", check=False)
    assert done.returncode == 1 and "crops differ (first: photos-test-0" in done.stdout


@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from([16, 64, 128]), st.integers(0, 2**32 - 1))
def test_random_squares_lie_inside_and_enlarge_nothing_that_fits(width, height, size, seed):
    left, top, side = random_box(np.random.default_rng(seed), width, height, size)
    short = min(width, height)
    assert 0 <= left <= width - side and 0 <= top <= height - side
    assert min(size, short) <= side <= short
    if short >= size:
        assert side >= size and side + 1 > short / 4
