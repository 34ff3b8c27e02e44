"""By what isdiff tells that a picture is unlike a model's images: ``python benchmarks/familiar.py photos64 avatars64``.

Measures images that the model's dataset keeps apart (``split=dev``) and as many that it was trained on, each with a
mask, writes ``familiar.json`` beside the weights, and prints which shares of test images of each kind are said to be
unlike them. After a training it is to be run again: for other weights nothing is said. Under a minute on one core.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.data.base import Dataset
from isdiff.io.files import atomic_open
from isdiff.io.fingerprint import weights_fingerprint
from isdiff.masks.base import GeneratedMask, MaskSource
from isdiff.models.base import Model
from isdiff.paths import located
from isdiff.pictures.familiar import FILE, FamiliarImages, looks

DATASETS = {
    "photos64": ("photos",), "avatars64": ("avatars",), "avatars64_latent": ("avatars",),
    "drawings64": ("drawings", "landscapes"),
}  # fmt: skip
MASKS = ("half", "center", "wide", "expand")
SHARE = 0.03  # of the measured images that may lie beyond the limit


def images(dataset: str, split: str, count: int) -> list[np.ndarray]:
    """Evenly from a split, (64, 64, 3) uint8."""
    data = build(compose_run([f"dataset={dataset}", f"dataset.split={split}"]).dataset, Dataset)
    ids = data.ids()
    return [np.array(data.image(ids[i])) for i in np.linspace(0, len(ids) - 1, count).astype(int)]


def text(count: int) -> list[np.ndarray]:
    """Squares of a page of letters."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        page = np.full((256, 256, 3), 255, np.uint8)
        for y in range(14, 256, 18):
            words = "".join(rng.choice(list("abcdefghijklm nopqrst uvwxyz"), 30))
            cv2.putText(page, words, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
        side = int(rng.integers(64, 257))
        left, top = rng.integers(0, 257 - side, 2)
        found.append(cv2.resize(page[top : top + side, left : left + side], (64, 64), interpolation=cv2.INTER_AREA))
    return found


def measure(pictures: list[np.ndarray], size: int) -> np.ndarray:
    """(N, K), each with the next mask; those that show too little are left out."""
    masks = [build(compose_run([f"mask={name}"]).mask, MaskSource) for name in MASKS]
    rows = []
    for n, (picture, mask) in enumerate(zip(pictures, cycle(masks), strict=False)):
        assert isinstance(mask, GeneratedMask)
        rows.append(looks(picture, mask.hole(f"{n}", *picture.shape[:2]), size))
    return np.array([row for row in rows if row is not None])


def measure_model(name: str, count: int, out: Path | None) -> FamiliarImages:
    """Also written."""
    model = build(compose_run([f"model={name}"]).model, Model)
    weights, own = located(model.weights), DATASETS[name]
    each = count // (2 * len(own))
    pictures = [picture for data in own for split in ("dev", "train") for picture in images(data, split, each)]
    found = measure(pictures, model.image_size)
    mean = found.mean(0)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(found.T)))
    limit = np.quantile(np.linalg.norm((found - mean) @ whitening.T, axis=1), 1 - SHARE)
    rounded = mean.round(4).tolist(), whitening.round(4).tolist(), round(float(limit), 4)
    known = FamiliarImages(weights_fingerprint(model.weights), *rounded)
    with atomic_open((out or (weights if weights.is_dir() else weights.parent)) / FILE) as stream:
        stream.write(json.dumps(asdict(known), indent=1) + "\n")
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", choices=DATASETS)
    parser.add_argument("--images", type=int, default=240, help="of a model's own, to measure")
    parser.add_argument("--test", type=int, default=100, help="of each kind, to check with")
    parser.add_argument("--out", type=Path, help="another folder than that of the weights")
    options = parser.parse_args()
    kinds = {name: images(name, "test", options.test) for name in ("photos", "avatars", "drawings", "landscapes")}
    looks_of = {name: measure(found, 64) for name, found in (kinds | {"text": text(options.test)}).items()}
    for model in options.models:
        known = measure_model(model, options.images, options.out)
        for name, found in looks_of.items():
            far = known.distance(found)
            share = (far > 1).sum() / options.test
            print(
                f"{model}: {share:6.1%} of {options.test} {name} are unlike (median {np.median(far):.2f})", flush=True
            )


if __name__ == "__main__":
    main()
