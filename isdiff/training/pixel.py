"""Train a pixel-space diffusion model on a drawn dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isdiff.data.splits import rendered_split
from isdiff.diffusion.process import named_betas
from isdiff.nets.unet import UNet
from isdiff.training.loop import Trainer
from isdiff.training.loss import HybridLoss


def stratified_timesteps(batch: int, num_timesteps: int, rng: np.random.Generator) -> Tensor:
    """One uniform timestep from each of ``batch`` equal slices of the schedule: less noise in the loss, (B,) int64."""
    place = (np.arange(batch) + rng.random(batch)) / batch
    return torch.from_numpy((place * num_timesteps).astype(np.int64))


def to_batch(pixels: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [-1, 1], channels-last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def batch_loss(
    loss: HybridLoss, pixels: np.ndarray, batch: int, seed: int, device: torch.device, forward: nn.Module
) -> Callable[[nn.Module, int], dict[str, Tensor]]:
    """The loss of step n: images, timesteps and noise all follow from (seed, n)."""
    num_timesteps = len(loss.posterior.betas)

    def at_step(net: nn.Module, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, step])
        picked = np.sort(rng.choice(len(pixels), batch, replace=False))
        x0 = to_batch(np.ascontiguousarray(pixels[picked]))
        x0 = torch.where(torch.from_numpy(rng.random(batch) < 0.5).view(-1, 1, 1, 1), x0.flip(3), x0)
        t = stratified_timesteps(batch, num_timesteps, rng)
        t = t[torch.from_numpy(rng.permutation(batch))]
        noise = torch.from_numpy(rng.standard_normal(x0.shape, np.float32))
        x0, t, noise = (v.to(device, non_blocking=True) for v in (x0, t, noise))
        with torch.autocast(device.type, torch.bfloat16):
            return loss(forward, x0.contiguous(memory_format=torch.channels_last), t, noise)

    return at_step


def train_pixel_model(cfg) -> Trainer:
    """Train ``cfg.net`` as ``cfg`` says; resumes from ``cfg.folder`` when a state is there."""
    torch.manual_seed(cfg.seed)
    device = torch.device(cfg.device if cfg.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    pixels = rendered_split(cfg.dataset, "train", cfg.train_images, cfg.image_size, Path(cfg.data_root), cfg.workers)
    net = UNet(**cfg.net).to(device, memory_format=torch.channels_last)
    loss = HybridLoss(named_betas(cfg.noise_schedule), cfg.min_snr_gamma)
    forward = torch.compile(net) if cfg.compile else net
    at_step = batch_loss(loss, pixels, cfg.optim.batch_size, cfg.seed, device, forward)
    folder = Path(cfg.folder)

    def preview(net: nn.Module, samples: int) -> None:
        from isdiff.training.preview import save_samples

        save_samples(net, folder / f"samples_{samples:08d}.png", cfg)

    trainer = Trainer(net, at_step, folder, cfg.optim, preview if cfg.optim.preview_every_s else None)
    trainer.run()
    return trainer
