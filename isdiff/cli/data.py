"""Benchmark data: ``isdiff data check DATASET | masks DATASET MASK --out FOLDER``.

check      what of a dataset is here, unreadable or missing, and what to do; compares the images, decoded and resized,
           with the hashes of an earlier --record (data/manifests/DATASET_SIZE.sha256), so that two labs or two disks
           can tell whether they have the same ones
masks      write a benchmark's masks as PNG (white = hole) with a sha256 list, and compare it with the committed one
           (data/masks/DATASET_MASK_SIZE.txt); --record writes that list instead

Arguments with "=" are Hydra overrides, e.g. dataset.path=/where/they/are.
"""

import argparse
import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rich.progress import track

from isdiff.cli.command import Parser, split_overrides
from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.data.base import Dataset
from isdiff.data.files import BenchmarkDataset
from isdiff.errors import UserError, summed_up
from isdiff.io.files import atomic_save, read_hashes
from isdiff.masks.base import MaskSource
from isdiff.paths import located, placed


def main(arguments: list[str]) -> None:
    parser = Parser("isdiff data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, do in (("check", check), ("masks", masks)):
        command = commands.add_parser(name)
        command.set_defaults(do=do)
        command.add_argument("dataset")
        command.add_argument("--record", action="store_true", help="write the list of hashes")
    command.add_argument("mask")
    command.add_argument("--out", type=Path, help="folder for the PNG files")
    words, overrides = split_overrides(arguments)
    args = parser.parse_args(words)
    args.do(args, overrides)


def check(args: argparse.Namespace, overrides: list[str]) -> None:
    """Print what of a dataset is here and readable, and whether it is what was recorded."""
    cfg = compose_run([f"dataset={args.dataset}", *overrides])
    dataset = build(cfg.dataset, Dataset)
    ids = present = dataset.ids()
    for line in dataset.notes():
        print(line)
    if isinstance(dataset, BenchmarkDataset):
        present = [i for i in ids if dataset.file(i) is not None]
        print(f"{len(present)} of {len(ids)} images are below {dataset.path}")
    if not present:
        dataset.require(ids)
    broken, hashes = {}, {}
    for image_id in track(present, "reading"):
        try:
            hashes[image_id] = hashlib.sha256(dataset.image(image_id).tobytes()).hexdigest()
        except UserError as error:
            broken[image_id] = str(error)
    print(f"{len(hashes)} are readable")
    file = Path(cfg.data_root, "manifests", f"{args.dataset}_{cfg.dataset.size}.sha256")
    known = known_hashes(file)
    if args.record:
        write_hashes(placed(file), known | hashes)
    elif other := [i for i, digest in hashes.items() if known.get(i, digest) != digest]:
        raise UserError(f"{len(other)} images are not those of {file} (first: {other[0]}): another copy or decoder")
    elif same := known.keys() & hashes.keys():
        print(f"{len(same)} are those of {file}")
    if broken:
        raise UserError(f"{len(broken)} images cannot be used: " + "; ".join(summed_up(broken)))
    dataset.require(ids)


def masks(args: argparse.Namespace, overrides: list[str]) -> None:
    from PIL import Image

    cfg = compose_run([f"dataset={args.dataset}", f"mask={args.mask}", *overrides])
    source, size = build(cfg.mask, MaskSource), cfg.dataset.size
    hashes = {}
    for image_id in track(build(cfg.dataset, Dataset).ids(), f"{args.mask} masks"):
        hole = source.hole(image_id, size, size)
        hashes[image_id] = hashlib.sha256(hole.tobytes()).hexdigest()
        if args.out:
            picture = Image.fromarray(hole.astype("uint8") * 255)
            atomic_save(args.out / f"{image_id}.png", partial(picture.save, format="png"))
    if len(set(hashes.values())) == 1:
        hashes = {"*": next(iter(hashes.values()))}  # one for all
    listed = Path(cfg.data_root, "masks", f"{args.dataset}_{args.mask}_{size}.txt")
    if args.out:
        write_hashes(args.out / "sha256.txt", hashes)
    if args.record:
        write_hashes(placed(listed), hashes)
    if known := known_hashes(listed):
        if known != hashes:
            raise UserError(f"these masks are not those of {listed}: another mask.seed, or another OpenCV drew them")
        print(f"the masks are those of {listed}")


def write_hashes(file: Path, hashes: Mapping[str, str]) -> None:
    """Write a list of hashes, ``<sha256 of the bytes>  <image id>`` each."""
    atomic_save(file, "".join(f"{digest}  {image_id}\n" for image_id, digest in hashes.items()))
    print(f"{len(hashes)} hashes in {file}")


def known_hashes(file: Path) -> dict[str, str]:
    place = located(file)
    return read_hashes(place, "run with --record") if place.exists() else {}
