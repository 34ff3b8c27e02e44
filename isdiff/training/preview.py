"""Samples of a network in training, drawn by the same engine as everything else."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import nn

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.process import named_betas
from isdiff.diffusion.timesteps import leading_timesteps, resampling_plan
from isdiff.engine import Engine
from isdiff.io.files import atomic_save
from isdiff.known.base import Known
from isdiff.priors.pixel import PixelPrior, resolve_precision
from isdiff.samplers.ddnm import DDNMSteps
from isdiff.trajectory import Task


def unconditional_samples(
    net: nn.Module, count: int, size: int, schedule: str, *, steps: int = 50, eta: float = 0.0, seed: int = 0,
    precision: str = "auto", batch_size: int = 32,
) -> torch.Tensor:  # fmt: skip
    """(count, 3, size, size) in [-1, 1]: "inpainting" with a hole that covers everything; DDNM's eta, 0 is DDIM."""
    device = next(net.parameters()).device
    prior = PixelPrior(net, device, resolve_precision(precision, device))
    grid = Grid.of(named_betas(schedule), leading_timesteps(1000, steps))
    engine = Engine(prior, grid, DDNMSteps(eta), Known(), resampling_plan, batch_size=batch_size, run_seed=seed)
    blank = torch.zeros(3, size, size, device=device)
    everything = torch.ones(1, size, size, dtype=torch.bool, device=device)
    found = {r.task.id: r.x for r in engine.run(Task(f"sample-{i}", blank, everything) for i in range(count))}
    return torch.stack([found[f"sample-{i}"] for i in range(count)]).cpu()


def save_samples(net: nn.Module, path: Path, cfg, count: int = 32, columns: int = 8, **options) -> None:
    """A grid of uncurated samples as PNG."""
    import copy

    frozen = copy.deepcopy(net).eval()
    samples = unconditional_samples(frozen, count, cfg.image_size, cfg.noise_schedule, **options)
    pixels = ((samples.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    rows = pixels.unflatten(0, (-1, columns)).permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
    atomic_save(path, lambda stream: Image.fromarray(rows.numpy()).save(stream, "png"))
