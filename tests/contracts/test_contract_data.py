"""What every dataset and every mask promises, whichever file of configs/dataset or configs/mask it stands in."""

from pathlib import Path

import numpy as np
import pytest
from configured import choices, write_editbench
from conftest import ROOT
from omegaconf import OmegaConf
from PIL import Image

from isdiff.config.composing import compose_run
from isdiff.config.setup import build
from isdiff.data.base import Dataset, safe_id
from isdiff.data.files import BenchmarkDataset, EditBench, FolderDataset
from isdiff.errors import Missing, UserError
from isdiff.masks.base import GENERATED, MaskSource

DATASETS, MASKS = choices("dataset"), choices("mask")
COUNT = 3


def save(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 256, (80, 100, 3), np.uint8)
    Image.fromarray(noise).save(path)


def copy_of_folder(data: FolderDataset, folder: Path) -> None:
    for i in range(COUNT):
        save(folder / f"{i}.png", i)


def copy_of_benchmark(data: BenchmarkDataset, folder: Path) -> None:
    for i, image_id in enumerate(data.ids()[:COUNT]):
        number = data.numbers[image_id]
        save(folder / data.patterns[0].format(number=number, next=number + 1), i)


# How a small copy is laid out, of those that do not ship; another class needs another line.
COPIES = {
    FolderDataset: copy_of_folder,
    BenchmarkDataset: copy_of_benchmark,
    EditBench: lambda data, folder: write_editbench(folder, range(1, 4), range(1, 4)),
}


def takes(node, key: str) -> bool:
    return OmegaConf.is_missing(node, key) or key in node


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset by its name, of its first images: what ships, or a small copy; and the folder of the copy."""

    def of(name: str) -> tuple[Dataset, Path | None]:
        folder = tmp_path_factory.mktemp("data")
        cfg = compose_run([f"dataset={name}", f"data_root={ROOT / 'data'}"])
        if not takes(cfg.dataset, "path"):
            return build(cfg.dataset, Dataset), None
        cfg.dataset.path = str(folder)
        data = build(cfg.dataset, Dataset)
        COPIES[type(data)](data, folder)
        return build(cfg.dataset, Dataset), folder

    return of


@pytest.mark.parametrize("name", DATASETS)
def test_dataset(made, name):
    """Ids can be file names; images have the right form, the same each time; what is absent or damaged is named."""
    data, folder = made(name)
    ids = data.ids()
    assert len(ids) >= COUNT and len(set(ids)) == len(ids) and all(map(safe_id, ids))
    assert len({image_id.casefold() for image_id in ids}) == len(ids), "also where names of files ignore case"
    data.require(ids[:COUNT])
    pictures = [data.image(image_id) for image_id in ids[:COUNT]]
    again, _ = made(name) if folder is None else (type(data)(**data.arguments), None)
    assert again.ids() == ids
    for image_id, pixels in zip(ids[COUNT - 1 :: -1], pictures[::-1], strict=False):
        assert pixels.shape == (data.size, data.size, 3) and pixels.dtype == np.uint8
        assert np.array_equal(again.image(image_id), pixels) and again.stamp(image_id) == data.stamp(image_id)
    assert not np.array_equal(pictures[0], pictures[1])
    if folder is None:
        return  # what ships in one archive or is drawn has no file of one image; test_inputs.py damages those
    file = data.file(ids[1])
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(UserError) as caught:
        data.image(ids[1])
    assert file.name in str(caught.value)
    assert np.array_equal(data.image(ids[0]), pictures[0])
    if name != "folder":  # whose ids are its files
        file.unlink()
        with pytest.raises(Missing, match=f"1 of {COUNT} images of {name}"):
            type(data)(**data.arguments).require(ids[:COUNT])


@pytest.fixture(scope="module")
def masks(made, tmp_path_factory):
    """A mask source by its name, and ids that it has masks for."""

    def of(name: str) -> tuple[MaskSource, list[str]]:
        cfg = compose_run([f"mask={name}"])
        if not takes(cfg.mask, "path"):
            return build(cfg.mask, MaskSource), ["a", "b", "c"]
        if name == "editbench":
            data, folder = made("editbench")
        else:
            data, folder = None, tmp_path_factory.mktemp("masks")
            for i in range(COUNT):
                Image.fromarray(np.uint8(255) * (np.indices((8, 8))[1] > i + 2)).save(folder / f"{i}.png")
        cfg.mask.path = str(folder)
        return build(cfg.mask, MaskSource), data.ids()[:COUNT] if data else [str(i) for i in range(COUNT)]

    return of


@pytest.mark.parametrize("name", MASKS)
def test_mask(masks, name):
    """A hole and something known, of the size that is asked for, the same for an id whenever and in whatever order."""
    source, ids = masks(name)
    sizes = [(64, 64), (64, 96), (256, 256)]
    first = {(i, size): source.hole(i, *size) for i in ids for size in sizes}
    again = type(source)(**source.arguments)
    for (image_id, size), hole in reversed(first.items()):
        assert hole.shape == size and hole.dtype == bool and hole.any() and not hole.all()
        assert np.array_equal(again.hole(image_id, *size), hole)
    for image_id in ids:
        # It never sees the image: only an id and a size come in. A file's mask says which file it is.
        assert source.stamp(image_id) == again.stamp(image_id) != ""
        assert (source.stamp(image_id) == GENERATED) == ("path" not in source.arguments)
    state = np.random.get_state()[1].copy()
    source.hole(ids[0], 64, 64)
    assert np.array_equal(np.random.get_state()[1], state), "no generator of others is used"
