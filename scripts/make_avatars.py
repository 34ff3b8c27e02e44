"""Draw a split of the avatars: ``python scripts/make_avatars.py --split test --count 1000``."""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from isdiff.data.avatars import write_split
from isdiff.data.drawn import draw, split_ids

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="test", help="name of the split; ids of different splits never meet")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("data/avatars"))
    args = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        drawings = list(pool.map(draw, split_ids("avatars", args.split, args.count), chunksize=32))
    write_split(args.out, args.split, drawings)
    print(f"wrote {args.count} images to {args.out}/{args.split}.zip and their attributes to {args.split}.csv")
