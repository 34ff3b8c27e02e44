"""What a shipped pixel model is like: ``python benchmarks/pixel_model.py photos64 --out models/photos64``.

Held-out noise errors by timestep, errors of the four corners, the last blocks' activations, twelve half-masked held-out
images at 4x (DDNM, 100 steps), and for 16 uncurated samples the nearest of many training images by ImageNet features.
Writes ``quality.json``, ``halves.png`` and ``nearest.png``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.data.images import paste, to_tensor, to_uint8
from isdiff.devices import resolve_device
from isdiff.diffusion.schedule import named_betas
from isdiff.io.contact_sheet import contact_sheet, with_hole
from isdiff.io.files import atomic_open
from isdiff.io.models import load_net
from isdiff.masks.base import MaskSource
from isdiff.metrics.lite0 import Lite0Features
from isdiff.priors.pixel import PixelPrior
from isdiff.trajectory import Task

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from training.data import training_images
from training.export import unconditional_samples
from training.health import LEVELS, SPIKE_LEVELS, corner_errors, noise_error, spikes

DATASETS = {"photos64": "photos", "avatars64": "avatars", "drawings64": "drawings+landscapes"}
ALPHAS_CUMPROD = torch.cumprod(1 - named_betas("linear"), 0)


def held_out(net, dataset: str, images: np.ndarray) -> dict:
    x0 = torch.stack([to_tensor(image) for image in images])
    levels = {t: noise_error(net, x0, torch.full((len(x0),), t), ALPHAS_CUMPROD).mean().item() for t in LEVELS}
    corners = {t: corner_errors(net, x0, t, ALPHAS_CUMPROD) for t in SPIKE_LEVELS}
    ratios = {t: spikes(net, x0[:32], t, ALPHAS_CUMPROD) for t in SPIKE_LEVELS}
    return {
        "dataset": dataset,
        "images": len(x0),
        "noise_error": levels,
        "corner_error": corners,
        "activation_ratio": ratios,
    }


def halves(net, images: np.ndarray, path: Path, device: torch.device) -> None:
    """Input, DDNM's result and truth of half-masked images, three images a line, each pixel shown as 4x4."""
    cfg = compose_run(["method=ddnm", "sampler.repeat=1", "mask=half"])
    mask = build(cfg.mask, MaskSource)
    holes = [mask.hole(str(i), 64, 64) for i in range(len(images))]
    jobs = []
    for i, (image, hole) in enumerate(zip(images, holes, strict=True)):
        cut = torch.from_numpy(hole)[None]
        jobs.append(Task(str(i), to_tensor(image).masked_fill(cut, 0.0).to(device), cut.to(device)))
    found = {r.task.id: to_uint8(r.picture) for r in Setup.of(cfg).engine(PixelPrior(net, device)).run(jobs)}
    tiles = []
    for i, (image, hole) in enumerate(zip(images, holes, strict=True)):
        result = paste(found[str(i)], image, hole)
        tiles.append([(p, "") for p in (with_hole(image, hole), result, image)])
    lines = [[*a, *b, *c] for a, b, c in zip(*[iter(tiles)] * 3, strict=True)]
    contact_sheet(path, ["input", "DDNM", "truth"] * 3, lines, tile=256)


def nearest(net, draw, path: Path, among: int) -> list[float]:
    """Samples over their nearest training images; the distances, and the usual ones between training images."""
    samples = [to_uint8(x) for x in unconditional_samples(net, 16, 64, "linear", steps=100, eta=0.85, precision="fp32")]
    pool = list(draw(np.random.default_rng(0), among))
    unit = lambda f: f / np.linalg.norm(f, axis=1, keepdims=True)  # noqa: E731
    look = Lite0Features()
    known, own = unit(look.features(pool)), unit(look.features(samples))
    distances = 1 - own @ known.T
    tiles = [(image, "") for image in samples]
    closest = [(pool[j], f"{distances[i, j]:.2f}") for i, j in enumerate(distances.argmin(1))]
    lines = [part for i in range(0, 16, 8) for part in (tiles[i : i + 8], closest[i : i + 8])]
    contact_sheet(path, ["sample, nearest"] * 8, lines)
    among_own = 1 - known[:200] @ known[200:].T
    return [float(np.median(distances.min(1))), float(np.median(among_own.min(1)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=DATASETS)
    parser.add_argument("--weights", type=Path, help="others than the shipped ones")
    parser.add_argument("--out", type=Path, default=Path("outputs/pixel_model"))
    parser.add_argument("--images", type=int, default=128, help="held-out images")
    parser.add_argument("--among", type=int, default=4000, help="training images that samples are compared with")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    device = resolve_device("auto")
    weights = options.weights or Path("models") / options.model / "unet.safetensors"
    net = load_net(weights).eval().to(device)
    dataset = DATASETS[options.model]
    data = OmegaConf.create({"dataset": dataset, "image_size": 64, "data_root": "data", "workers": 2})
    images = training_images(data, "dev", 1000)(np.random.default_rng(7), options.images)
    found = held_out(net, dataset, images)
    halves(net, images[:12], options.out / "halves.png", device)
    draw = training_images(data, "train", 40000 if dataset != "photos" else 0)
    found["nearest"] = dict(
        zip(("samples", "training_images"), nearest(net, draw, options.out / "nearest.png", options.among), strict=True)
    )
    with atomic_open(options.out / "quality.json") as stream:
        json.dump(found, stream, indent=1)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
