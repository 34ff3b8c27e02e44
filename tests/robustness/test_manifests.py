"""Lists that people edit and that transfers tear: manifests of images and of weights, captions, mask hashes.

Each is read whole and right, or refused in one sentence.
"""

from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isdiff.data.base import safe_id
from isdiff.data.files import read_manifest
from isdiff.data.shipped import PhotoDataset
from isdiff.errors import UserError
from isdiff.io.weights import Weights
from training.crops import photo_rows, split_files

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
HEAD = (ROOT / "data" / "manifests" / "celeba.csv").read_text("utf-8").splitlines(keepends=True)[:6]
PHOTOS = (ROOT / "data" / "photos" / "photos.csv").read_text("utf-8").splitlines(keepends=True)[:6]
CELLS = ["-1", "1e3", "٣", "..", "a/b", '"', "9" * 5000]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"]


@st.composite
def spoiled(draw, lines: list[str]) -> bytes:
    """A table with rows cut, doubled, exchanged or emptied, cells changed, in some encoding, and perhaps torn."""
    rows = draw(st.permutations(lines[1:])) if draw(st.booleans()) else lines[1:]
    rows = [lines[0], *rows]
    for _ in range(draw(st.integers(0, 3))):
        n = draw(st.integers(0, len(rows) - 1))
        cells = rows[n].rstrip("\n").split(",")
        cells[draw(st.integers(0, len(cells) - 1))] = draw(st.text(max_size=6) | st.sampled_from(CELLS))
        rows[n] = draw(st.sampled_from([",".join(cells) + "\n", "", "\n", rows[n] * 2, rows[n][: len(rows[n]) // 2]]))
        rows = rows or ["\n"]
    content = "".join(rows).encode(draw(st.sampled_from(ENCODINGS)), "replace")
    end = draw(st.just(len(content)) | st.integers(0, len(content)))
    return content[:end] + draw(st.sampled_from([b"", b"", b"\x00", b"\xff\xfe"]))


def survives(read, *places) -> object:
    """What is read, or None where one sentence refuses it."""
    try:
        return read(*places)
    except UserError as error:
        assert str(error) and "\n" not in str(error)
        return None


def images(folder: Path, content: bytes) -> None:
    (folder / "manifest.csv").write_bytes(content)
    if (numbers := survives(read_manifest, folder / "manifest.csv")) is not None:
        there = content.decode("utf-8-sig")
        assert numbers and all(safe_id(image_id) and image_id in there for image_id in numbers)
        assert all(number >= 0 and str(number) in there for number in numbers.values())


def photographs(folder: Path, content: bytes) -> None:
    (folder / "photos").mkdir(exist_ok=True)
    (folder / "photos" / "photos.csv").write_bytes(content)
    survives(photo_rows, folder)
    for split in ("test", "dev", "train"):
        survives(split_files, folder, split)


def crops(folder: Path, content: bytes) -> None:
    """Of photographs that are not here: what the list says is checked before they are asked for."""
    photographs(folder, "".join(PHOTOS).encode())
    (folder / "photos" / "test.csv").write_bytes(content)
    if data := survives(lambda: PhotoDataset(root=str(folder))):
        assert all(map(safe_id, data.ids()))
        survives(data.image, data.ids()[0])


LISTS = {
    images: HEAD,
    photographs: PHOTOS,
    crops: (ROOT / "data" / "photos" / "test.csv").read_text("utf-8").splitlines(keepends=True)[:6],
}


@pytest.mark.parametrize("check", LISTS)
def test_any_list_is_read_or_refused(tmp_path, check):
    FUZZ(given(spoiled(LISTS[check]))(lambda content: check(tmp_path, content)))()


MANIFEST = (ROOT / "models" / "manifest.yaml").read_text("utf-8")
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2),
    max_leaves=4,
)


@FUZZ
@given(data=st.data())
def test_any_value_in_the_manifest_of_weights_is_taken_or_refused(tmp_path, data):
    content = yaml.safe_load(MANIFEST)
    group = data.draw(st.sampled_from(sorted(content)))
    name = data.draw(st.sampled_from(sorted(content[group])))
    key = data.draw(st.sampled_from([*content[group][name], "more"]))
    content[group][name][key] = data.draw(ODD)
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    if weights := survives(Weights, tmp_path):
        for entry in weights.entries.values():
            assert weights.path(entry).parent in (weights.root / "downloads", weights.root / "metrics")


@pytest.mark.parametrize(
    "content", ["id,number\na,1\na,2\n", "id,number\n../a,1\n", "id,number\na,-1\n", "id\na\n", ""]
)
def test_lists_that_cannot_be_used_name_their_row(tmp_path, content):
    file = tmp_path / "m.csv"
    file.write_text(content)
    with pytest.raises(UserError, match=r"m\.csv(, row [23]: | has no rows)"):
        read_manifest(file)
