"""Seams: the gradient error at the hole's edge with every way to blend it, on test photographs; prints a table.

  python benchmarks/edges.py

Differences to ``paste`` have the 95 % interval of a bootstrap over photographs.
"""

from pathlib import Path

import numpy as np
from PIL import Image

import isdiff
from isdiff.metrics.pairs import EdgeGradientError

PHOTOS = sorted((Path(__file__).parents[1] / "data/photos/test").glob("*.webp"))[2::10]
EDGES = {"paste": {}, "feather": {"edge": "feather"}, "poisson": {"edge": "poisson"}, "soft rim": {"feather": 8}}
NETWORK = {"steps": 25, "overrides": ["sampler.repeat=1"]}
METHODS = {"patches": ("ddnm+isdiff", {"steps": 25}), "photos64": ("ddnm", NETWORK), "telea": ("telea", {})}


def photo(path: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph with a shorter side of 192 pixels, and an ellipse in it."""
    image = Image.open(path).convert("RGB")
    factor = 192 / min(image.size)
    pixels = np.asarray(image.resize([round(side * factor) for side in image.size], Image.Resampling.LANCZOS))
    rng = np.random.default_rng(number)
    x, y = rng.uniform(0.05, 0.55) + 0.175, rng.uniform(0.05, 0.45) + 0.225
    rows, columns = np.indices(pixels.shape[:2]) / np.array(pixels.shape[:2])[:, None, None]
    return pixels, ((columns - x) / 0.175) ** 2 + ((rows - y) / 0.225) ** 2 < 1


def main() -> None:
    metric, rng = EdgeGradientError(), np.random.default_rng(0)
    for name, (method, options) in METHODS.items():
        found: dict[str, list[float]] = {}
        for edge, asked in EDGES.items():
            if edge == "soft rim" and name != "patches":  # Telea takes no soft mask
                continue
            for number, path in enumerate(PHOTOS):
                pixels, hole = photo(path, number)
                model = None if name == "telea" else name
                made = isdiff.inpaint(pixels, hole, method, model, seed=1, **options, **asked).image
                found.setdefault(edge, []).append(metric.error(made, pixels, hole))
            apart = np.array(found[edge]) - found["paste"]
            means = apart[rng.integers(0, len(apart), (10_000, len(apart)))].mean(1)
            low, high = np.quantile(means, (0.025, 0.975))
            print(f"{name}, {edge}: {np.mean(found[edge]):.2f}, {apart.mean():+.2f} [{low:+.2f}, {high:+.2f}]")


if __name__ == "__main__":
    main()
