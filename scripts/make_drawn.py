"""Draw a split of a drawn dataset: ``python scripts/make_drawn.py avatars --split test --count 1000``."""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import installed  # noqa: F401

from isdiff.data.drawn import draw, split_ids
from isdiff.data.drawn_dataset import write_split
from isdiff.data.styles import COLLECTIONS

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
