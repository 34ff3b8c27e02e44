"""Draw the committed lists of benchmark images anew: ``python scripts/make_manifests.py``.

They never change: of every published set those numbers are taken whose ``sha256("isdiff/<name>/<number>")`` are
smallest.
"""

import argparse
import csv
import hashlib
from pathlib import Path

# name: (numbers of the published set, images to take)
BENCHMARKS = {"celeba": (range(30000), 1000), "imagenet": (range(1, 50001), 1000), "places2": (range(1, 36501), 5000)}


def draw(name: str, numbers: range, count: int) -> list[int]:
    """The numbers of one set, ascending."""
    chosen = sorted(numbers, key=lambda number: hashlib.sha256(f"isdiff/{name}/{number}".encode()).hexdigest())
    return sorted(chosen[:count])


def main() -> None:
    """Write all lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/manifests"))
    out = parser.parse_args().out
    for name, (numbers, count) in BENCHMARKS.items():
        with open(out / f"{name}.csv", "w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["id", "number"])
            writer.writerows([f"{name}-{number:05d}", number] for number in draw(name, numbers, count))
        print(f"{out / name}.csv: {count} of {len(numbers)}")


if __name__ == "__main__":
    main()
