"""Time of the Frechet distance with its interval and a paired difference, at the size of the paper's Table IV.

    python benchmarks/metrics.py

Two methods over the same images, 2,048 features each. Writes benchmarks/results/metrics.json. It also compares the
intervals' spread with that of a bootstrap that decomposes every resample, for 64 features and for as many as Inception
has: resamples repeat images, so with fewer images than features they vary more than fresh sets do.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from isdiff.metrics.intervals import contrast, estimate, selections
from isdiff.metrics.samples import FrechetStatistic, frechet_distance, frechet_terms


def sets(n: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of truths and of two methods' results, (n, size) each, correlated and cut below, as Inception's."""
    rng = np.random.default_rng(seed)
    spread = np.exp(-np.arange(size) / (size / 8))
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]
    truths, noise, other = (rng.normal(size=(n, size)) * spread @ turn for _ in range(3))
    results = 0.8 * truths + 0.6 * noise + 0.05
    return tuple(np.maximum(x, -0.5) for x in (truths, results, 0.9 * results + 0.1 * truths + 0.05 * other))


def spreads(n: int, size: int, resamples: int) -> dict[str, float]:
    """Standard error of a distance: by influences, by exact resampling, and between fresh sets."""
    truths, results, _ = sets(n, size, 1)
    influence = frechet_terms(results, truths)[1:]
    drawn = [frechet_distance(results[chosen], truths[chosen]) for chosen in selections(n, resamples)]
    fresh = [frechet_distance(*sets(n, size, 100 + i)[1::-1]) for i in range(resamples)]
    return {
        "images": n, "features": size, "influences": float(np.sqrt((influence**2).sum()) / n),
        "bootstrap": float(np.std(drawn, ddof=1)), "fresh sets": float(np.std(fresh, ddof=1)),
    }  # fmt: skip


def seconds(n: int) -> dict[str, float]:
    """Of two methods' values with intervals and of their paired difference."""
    truths, *methods = sets(n, 2048, 1)
    begun = time.perf_counter()
    first, second = (FrechetStatistic(found, truths) for found in methods)
    values = [estimate(first), estimate(second)]
    found = contrast(first, second)
    taken = time.perf_counter() - begun
    print(f"{n} images: {taken:.1f} s; {values[0]}, {values[1]}, difference {found.difference}", flush=True)
    return {"images": n, "seconds": round(taken, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--resamples", type=int, default=60)
    parser.add_argument("--out", default="benchmarks/results/metrics.json")
    args = parser.parse_args()
    report = {
        "cores": os.cpu_count(),
        "seconds": [seconds(n) for n in args.images],
        "standard errors": [spreads(n, size, args.resamples) for n in (200, 1000) for size in (64, 512)],
    }
    for row in report["standard errors"]:
        print(row)
    Path(args.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
