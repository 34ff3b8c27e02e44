"""Draw a split of a drawn dataset: ``python scripts/make_drawn.py avatars --split test --count 1000``."""

import argparse
import csv
import io
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import installed  # noqa: F401
from PIL import Image

from isdiff.io.files import atomic_open
from training.drawn import Drawing, draw, split_ids
from training.styles import COLLECTIONS


def write_split(folder: Path, split: str, drawings: list[Drawing]) -> None:
    """``<split>.zip`` of lossless WebP images and ``<split>.csv`` of their attributes and captions."""
    with atomic_open(folder / f"{split}.zip", "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
        for drawing in drawings:
            buffer = io.BytesIO()
            Image.fromarray(drawing.pixels).save(buffer, "webp", lossless=True, quality=100, method=6)
            # A fixed date keeps the archive identical from one run to the next.
            archive.writestr(zipfile.ZipInfo(f"{drawing.id}.webp", (1980, 1, 1, 0, 0, 0)), buffer.getvalue())
    with atomic_open(folder / f"{split}.csv") as stream:
        writer = csv.DictWriter(stream, ["id", *drawings[0].attributes, "caption"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"id": d.id, **d.attributes, "caption": d.caption} for d in drawings)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", choices=sorted(COLLECTIONS))
    parser.add_argument("--split", default="test", help="name of the split; ids of different splits never meet")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="default: data/<dataset>")
    args = parser.parse_args()
    out = args.out or Path("data") / args.dataset
    with ProcessPoolExecutor(2) as pool:
        drawings = list(pool.map(draw, split_ids(args.dataset, args.split, args.count), chunksize=32))
    write_split(out, args.split, drawings)
    print(f"wrote {args.count} images to {out}/{args.split}.zip and their attributes to {args.split}.csv")
