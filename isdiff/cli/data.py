"""Benchmark data: ``isdiff data doctor DATASET | masks DATASET MASK --out FOLDER | manifests``.

doctor     what of a dataset is here, unreadable or missing, and what to do; compares the images, decoded and resized,
           with the hashes of an earlier --record (data/manifests/DATASET_SIZE.sha256), so that two labs or two disks
           can tell whether they have the same ones
masks      write a benchmark's masks as PNG (white = hole) with a sha256 list, and compare it with the committed one
           (data/masks/DATASET_MASK_SIZE.txt); --record writes that list instead
manifests  draw the committed lists of images anew (they never change: the rule is a hash)

Arguments with "=" are Hydra overrides, e.g. dataset.path=/where/they/are.
"""

from __future__ import annotations

import csv
import hashlib
from functools import partial
from pathlib import Path

from rich.progress import track

from isdiff.cli.command import Parser
from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.data.base import Dataset
from isdiff.data.files import BenchmarkDataset
from isdiff.errors import UserError, summed_up
from isdiff.io.files import atomic_open, atomic_save, plain
from isdiff.masks.base import MaskSource
from isdiff.paths import located, placed

# name: (numbers of the published set, images to take)
BENCHMARKS = {"celeba": (range(30000), 1000), "imagenet": (range(1, 50001), 1000), "places2": (range(1, 36501), 5000)}


def draw_manifest(name: str, numbers: range, count: int) -> list[int]:
    """The ``count`` numbers whose ``sha256("isdiff/<name>/<number>")`` are smallest, in ascending order."""
    key = lambda n: hashlib.sha256(f"isdiff/{name}/{n}".encode()).hexdigest()  # noqa: E731
    return sorted(sorted(numbers, key=key)[:count])


def write_manifests(folder: Path) -> None:
    """Draw the list of every benchmark."""
    for name, (numbers, count) in BENCHMARKS.items():
        with atomic_open(folder / f"{name}.csv") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["id", "number"])
            writer.writerows([f"{name}-{n:05d}", n] for n in draw_manifest(name, numbers, count))
        print(f"{folder / name}.csv: {count} of {len(numbers)}")


def doctor(name: str, record: bool, overrides: list[str]) -> None:
    """Print what of a dataset is here and readable, and whether it is what was recorded."""
    cfg = compose_run([f"dataset={name}", *overrides])
    dataset = build(cfg.dataset, Dataset)
    ids = dataset.ids()
    for line in dataset.notes():
        print(line)
    if isinstance(dataset, BenchmarkDataset):
        present = [i for i in ids if dataset.file(i) is not None]
        print(f"{len(present)} of {len(ids)} images are below {dataset.path}")
        if not present:
            dataset.require(ids)
    else:
        present = ids
    broken, hashes = {}, {}
    for image_id in track(present, "reading"):
        try:
            hashes[image_id] = hashlib.sha256(dataset.image(image_id).tobytes()).hexdigest()
        except UserError as error:
            broken[image_id] = str(error)
    print(f"{len(hashes)} are readable")
    compare_hashes(Path(cfg.data_root, "manifests", f"{name}_{cfg.dataset.size}.sha256"), hashes, record)
    if broken:
        raise UserError(f"{len(broken)} images cannot be used: " + "; ".join(summed_up(broken)))
    if isinstance(dataset, BenchmarkDataset):
        dataset.require(ids)


def compare_hashes(file: Path, hashes: dict[str, str], record: bool) -> None:
    """Compare hashes of 8-bit images with those in ``file``, one line ``<sha256>  <image id>`` each; or record them."""
    there = located(file)
    known = read_hashes(there) if there.exists() else {}
    if record:
        with atomic_open(placed(file)) as stream:
            stream.writelines(f"{digest}  {image_id}\n" for image_id, digest in (known | hashes).items())
        print(f"{len(known | hashes)} hashes in {placed(file)}")
        return
    other = [i for i, digest in hashes.items() if known.get(i, digest) != digest]
    if other:
        raise UserError(f"{len(other)} images are not those of {there} (first: {other[0]}): another copy or decoder")
    if same := known.keys() & hashes.keys():
        print(f"{len(same)} are those of {there}")


def read_hashes(file: Path) -> dict[str, str]:
    """The hashes of a list by image id."""
    known = {}
    for n, line in enumerate(plain(file).read_text("utf-8", errors="replace").splitlines(), 1):
        digest, apart, image_id = line.partition("  ")
        if not apart or len(digest) != 64:
            raise UserError(f"{file}, line {n} is no '<sha256>  <image id>'; delete the file and run with --record")
        known[image_id] = digest
    return known


def hash_list(hashes: dict[str, str]) -> str:
    """One line ``<sha256 of the 0/1 bytes>  <image id>`` each; a single one for ``*`` where all masks are the same."""
    if len(set(hashes.values())) == 1:
        return f"{next(iter(hashes.values()))}  *\n"
    return "".join(f"{digest}  {image_id}\n" for image_id, digest in hashes.items())


def masks(name: str, mask: str, out: Path | None, record: bool, overrides: list[str]) -> None:
    """Draw a benchmark's masks, write them where asked, and compare them with the committed list."""
    from PIL import Image

    cfg = compose_run([f"dataset={name}", f"mask={mask}", *overrides])
    source, size = build(cfg.mask, MaskSource), cfg.dataset.size
    hashes = {}
    for image_id in track(build(cfg.dataset, Dataset).ids(), f"{mask} masks"):
        hole = source.hole(image_id, size, size)
        hashes[image_id] = hashlib.sha256(hole.tobytes()).hexdigest()
        if out:
            picture = Image.fromarray(hole.astype("uint8") * 255)
            atomic_save(out / f"{image_id}.png", partial(picture.save, format="png"))
    text = hash_list(hashes)
    listed = Path(cfg.data_root, "masks", f"{name}_{mask}_{size}.txt")
    for file in ([out / "sha256.txt"] if out else []) + ([placed(listed)] if record else []):
        with atomic_open(file) as stream:
            stream.write(text)
        print(f"{len(hashes)} hashes in {file}")
    committed = located(listed)
    if committed.exists():
        if plain(committed).read_text("utf-8", errors="replace") != text:
            raise UserError(f"these masks are not those of {committed}: another mask.seed, or another OpenCV drew them")
        print(f"the masks are those of {committed}")


def main(arguments: list[str]) -> None:
    """Check data, write masks or draw lists."""
    parser = Parser("isdiff data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("doctor")
    check.add_argument("dataset")
    check.add_argument("--record", action="store_true", help="write the hashes of the images that are here")
    write = commands.add_parser("masks")
    write.add_argument("dataset")
    write.add_argument("mask")
    write.add_argument("--out", type=Path, help="folder for the PNG files")
    write.add_argument("--record", action="store_true", help="write the list that is committed")
    commands.add_parser("manifests").add_argument("--out", type=Path, default=placed("data/manifests"))
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    args = parser.parse_args([a for a in arguments if a not in overrides])
    if args.command == "doctor":
        doctor(args.dataset, args.record, overrides)
    elif args.command == "masks":
        masks(args.dataset, args.mask, args.out, args.record, overrides)
    else:
        write_manifests(args.out)
