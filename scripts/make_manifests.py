"""Draw the committed lists of benchmark images anew: ``python scripts/make_manifests.py``.

They never change: of every published set those numbers are taken whose ``sha256("isdiff/<name>/<number>")`` are
smallest. The next ones are for development (``<name>_dev.csv``): no table uses them.
"""

import argparse
import csv
import hashlib
from pathlib import Path

# name: (numbers of the published set, images to take)
BENCHMARKS = {"celeba": (range(30000), 1000), "imagenet": (range(1, 50001), 1000), "places2": (range(1, 36501), 5000)}
DEVELOPMENT = 32  # images


def draw(name: str, numbers: range, count: int) -> dict[str, list[int]]:
    """The numbers of both lists of a set, ascending."""
    order = sorted(numbers, key=lambda number: hashlib.sha256(f"isdiff/{name}/{number}".encode()).hexdigest())
    return {name: sorted(order[:count]), f"{name}_dev": sorted(order[count : count + DEVELOPMENT])}


def main() -> None:
    """Write all lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/manifests"))
    out = parser.parse_args().out
    lists = {file: (name, drawn) for name, how in BENCHMARKS.items() for file, drawn in draw(name, *how).items()}
    for file, (name, numbers) in lists.items():
        with open(out / f"{file}.csv", "w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["id", "number"])
            writer.writerows([f"{name}-{number:05d}", number] for number in numbers)
        print(f"{out / file}.csv: {len(numbers)} of {len(BENCHMARKS[name][0])}")


if __name__ == "__main__":
    main()
