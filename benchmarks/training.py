"""Speed of training the demo's pixel model, side by side: ``python benchmarks/training.py``.

The shipped network eager and compiled, and the same widths without folding pixels into patches; in turn, repeated.
Writes ``benchmarks/results/training.json``.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from isdiff import environment
from isdiff.diffusion.process import named_betas
from isdiff.io.files import atomic_open
from isdiff.nets.unet import UNet
from isdiff.training.loss import HybridLoss
from isdiff.training.pixel import TimestepSampler, batch_loss

ROOT = Path(__file__).parents[1]
WAYS = {
    "eager": [],
    "compiled": ["train.compile=true"],
    "eager, without patches": ["train.net.patch_size=1"],
}


def configured(overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose("train", ["train=avatars64", "train.compile=false", *overrides]).train


class Step:
    """One optimisation step of a configuration; images are noise, which costs the same."""

    def __init__(self, cfg: DictConfig) -> None:
        self.net = UNet(**cfg.net).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4, fused=True)
        loss = HybridLoss(named_betas(cfg.noise_schedule), cfg.loss.weighting)
        timesteps = TimestepSampler(loss.posterior.alphas_cumprod, cfg.loss.log_sigma_mean, cfg.loss.log_sigma_std)
        pixels = np.random.default_rng(0).integers(0, 256, (64, cfg.image_size, cfg.image_size, 3), np.uint8)
        forward = torch.compile(self.net) if cfg.compile else self.net
        self.batch = cfg.optim.batch_size
        self.loss = batch_loss(loss, timesteps, pixels, self.batch, 0, torch.device("cpu"), forward)
        self.count = 0

    def seconds(self, steps: int) -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            self.loss(self.net, self.count)["loss"].mean().backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.count += 1
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    runs = {name: Step(configured(overrides)) for name, overrides in WAYS.items()}
    for run in runs.values():
        run.seconds(3)  # warm-up, and compilation
    speeds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(args.repeats):
        for name, run in runs.items():
            speeds[name].append(round(run.batch * args.steps / run.seconds(args.steps), 2))
    report = {
        "command": "python benchmarks/training.py " + " ".join(sys.argv[1:]),
        "samples_per_second": speeds,
        "speed_against_eager": {k: round(median(v) / median(speeds["eager"]), 2) for k, v in speeds.items()},
        "batch": runs["eager"].batch, "steps": args.steps, "threads": torch.get_num_threads(),
        "device": environment.device_name(torch.device("cpu")), "versions": environment.package_versions(),
    }  # fmt: skip
    with atomic_open(ROOT / "benchmarks" / "results" / "training.json") as stream:
        json.dump(report, stream, indent=1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
