"""Counterparts of the paper's Figures 3(a), 7 and 9 on what ships: faces with their network, photographs with patches.

    python scripts/paper_figures.py 3 7 9

It writes fig3.png, fig7.png and fig9.png into outputs/figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import installed  # noqa: F401
import numpy as np
import torch
from PIL import Image

import isdiff
from isdiff.data.images import load_rgb, to_tensor, to_uint8
from isdiff.data.shipped import DrawnDataset
from isdiff.io.contact_sheet import contact_sheet, with_hole
from isdiff.paths import located, placed
from isdiff.seeds.distributions import GaussianSeed, MixtureSeed, PositionSeed
from isdiff.trajectory import Stream, Task

SIDE = 256
PHOTOS = {  # name: (file, left, top and side of the square that is taken, in shares of the width)
    "feathers": ("explore-world-animals-animals-scarlet-macaw", 0.25, 0.1, 0.5),
    "fur": ("explore-world-animals-animals-jaguar", 0.2, 0.05, 0.55),
    "masonry": ("explore-monuments-france-pontdugard", 0.1, 0.05, 0.6),
}
SEEDS = {
    "Gaussian": GaussianSeed(), "mixture (the paper's)": MixtureSeed(5), "mixture with rows": PositionSeed(5),
}  # fmt: skip


def photo(name: str) -> np.ndarray:
    """A square of a test photograph, (256, 256, 3) uint8."""
    file, left, top, side = PHOTOS[name]
    image = load_rgb(located(Path("data/photos/test") / f"{file}.webp"))
    box = [round(share * image.width) for share in (left, top, left + side, top + side)]
    return np.asarray(image.crop(box).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def face(number: int) -> np.ndarray:
    """A drawn test face, (64, 64, 3) uint8."""
    faces = DrawnDataset("avatars", root="data")
    return faces.image(faces.ids()[number])


def half(image: np.ndarray) -> np.ndarray:
    """The hole of the paper's half masks: the right half."""
    return np.indices(image.shape[:2])[1] >= image.shape[1] // 2


def box(image: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """A box as the hole, in shares of the sides."""
    rows, columns = np.indices(image.shape[:2]) / np.array(image.shape[:2])[:, None, None]
    return (columns >= left) & (columns < right) & (rows >= top) & (rows < bottom)


def fill(image: np.ndarray, hole: np.ndarray, method: str, seed: int = 0) -> np.ndarray:
    """``image`` with its hole filled: faces by their network, photographs by patches."""
    model, steps = ("avatars64", 25) if len(image) == 64 else ("patches", 50)
    return np.asarray(isdiff.inpaint(image, hole, method, model, steps=steps, seed=seed).image)


def figure3(path: Path) -> None:
    """What seeds look like, and their colours beside those of the known and the hidden region."""
    from matplotlib import pyplot

    images = {"a face": face(0), "another face": face(3), "masonry": photo("masonry")}
    canvas, axes = pyplot.subplots(len(images), 6, figsize=(15, 2.6 * len(images)), constrained_layout=True)
    for row, (name, image) in zip(axes, images.items(), strict=True):
        hole = half(image)
        holes = torch.from_numpy(hole)[None]
        task = Task(name, to_tensor(image).masked_fill(holes, 0.0), holes)
        drawn = {label: to_uint8(seed.fill(task, Stream(0, name))) for label, seed in SEEDS.items()}
        pictures = {name: with_hole(image, hole)} | {
            label: np.where(hole[..., None], values, image) for label, values in drawn.items()
        }
        for axis, (title, picture) in zip(row, pictures.items(), strict=False):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(title, fontsize=9)
            axis.axis("off")
        noise = np.random.default_rng(0).normal(127.5, 127.5, hole.sum()).clip(0, 255)
        gray = {label: values.mean(-1)[hole] for label, values in drawn.items() if label.startswith("mixture")}
        known = {"known": image.mean(-1)[~hole], "hidden": image.mean(-1)[hole]}
        for axis, values in ((row[4], {**known, "noise": noise}), (row[5], {**known, **gray})):
            for label, brightness in values.items():
                axis.hist(brightness, 32, range=(0, 255), density=True, histtype="step", label=label)
            axis.legend(fontsize=7)
            axis.set_yticks([])
            axis.set_title("brightness", fontsize=9)
    canvas.savefig(path, dpi=80)


def figure7(path: Path) -> None:
    """Complex textures, holes off the centre, truncated objects."""
    feathers, fur, masonry, drawn = photo("feathers"), photo("fur"), photo("masonry"), face(3)
    cases = {
        "texture: feathers": (feathers, box(feathers, 0.35, 0.3, 0.7, 0.65)),
        "texture: fur": (fur, box(fur, 0.3, 0.3, 0.65, 0.65)),
        "off the centre": (masonry, box(masonry, 0.65, 0.5, 1, 1)),
        "truncated": (masonry, half(masonry)),
        "face, off the centre": (drawn, box(drawn, 0.5, 0.4, 1, 1)),
        "face, truncated": (drawn, half(drawn)),
    }
    rows = []
    for name, (image, hole) in cases.items():
        fills = [(fill(image, hole, method), "") for method in ("repaint", "ddnm", "ddnm+isdiff")]
        rows.append([(with_hole(image, hole), name), *fills, (image, "")])
    contact_sheet(path, ["input", "RePaint", "DDNM", "DDNM + IS-Diff", "truth"], rows, SIDE)


def figure9(path: Path) -> None:
    """Four seeds of one input, without and with IS-Diff."""
    rows = []
    for image in (face(0), face(3), photo("fur")):
        hole = half(image)
        for method in ("ddnm", "ddnm+isdiff"):
            fills = [(fill(image, hole, method, seed), "") for seed in range(4)]
            rows.append([(with_hole(image, hole), method), *fills])
    contact_sheet(path, ["input", *(f"seed {seed}" for seed in range(4))], rows, 200)


FIGURES = {"3": figure3, "7": figure7, "9": figure9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="+", choices=FIGURES)
    parser.add_argument("--out", default="outputs/figures")
    args = parser.parse_args()
    folder = placed(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in args.figures:
        FIGURES[name](folder / f"fig{name}.png")
        print(folder / f"fig{name}.png", flush=True)


if __name__ == "__main__":
    main()
