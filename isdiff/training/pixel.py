"""Train a pixel-space diffusion model on a drawn dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isdiff.data.splits import rendered_split
from isdiff.diffusion.process import named_betas
from isdiff.loggers import training_log
from isdiff.models import open_weights
from isdiff.nets.unet import UNet
from isdiff.training.export import export
from isdiff.training.loop import Trainer
from isdiff.training.loss import HybridLoss
from isdiff.training.preview import save_samples


class TimestepSampler:
    """Timesteps whose noise-to-signal ratio ``sigma = sqrt((1 - abar) / abar)`` is log-normal (Karras et al. 2022).

    The linear schedule spends most of its steps where nothing but noise is visible; this spends the training where
    images take shape. Draws are stratified: one from each of B equal slices of probability, in random order.
    """

    def __init__(self, alphas_cumprod: Tensor, mean: float, std: float) -> None:
        log_sigma = 0.5 * ((1 - alphas_cumprod) / alphas_cumprod).log()
        edges = torch.cat([log_sigma[:1], (log_sigma[1:] + log_sigma[:-1]) / 2, log_sigma[-1:]])
        share = torch.special.ndtr((edges - mean) / std)
        self.cumulative = ((share - share[0]) / (share[-1] - share[0])).numpy()

    def __call__(self, batch: int, rng: np.random.Generator) -> Tensor:
        """(batch,) int64."""
        place = (rng.permutation(batch) + rng.random(batch)) / batch
        found = np.searchsorted(self.cumulative, place, side="right") - 1
        return torch.from_numpy(found.clip(0, len(self.cumulative) - 2))


def to_batch(pixels: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [-1, 1], channels-last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def batch_loss(
    loss: HybridLoss,
    timesteps: TimestepSampler,
    pixels: np.ndarray,
    batch: int,
    seed: int,
    device: torch.device,
    forward: nn.Module,
) -> Callable[[nn.Module, int], dict[str, Tensor]]:
    """The loss of step n: images, timesteps and noise all follow from (seed, n)."""

    def at_step(net: nn.Module, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, step])
        picked = np.sort(rng.choice(len(pixels), batch, replace=False))
        x0 = to_batch(np.ascontiguousarray(pixels[picked]))
        x0 = torch.where(torch.from_numpy(rng.random(batch) < 0.5).view(-1, 1, 1, 1), x0.flip(3), x0)
        t = timesteps(batch, rng)
        noise = torch.from_numpy(rng.standard_normal(x0.shape, np.float32))
        x0, t, noise = (v.to(device, non_blocking=True) for v in (x0, t, noise))
        with torch.autocast(device.type, torch.bfloat16):
            return loss(forward, x0.contiguous(memory_format=torch.channels_last), t, noise)

    return at_step


def train_pixel_model(cfg) -> Trainer:
    """Train ``cfg.net`` as ``cfg`` says; resumes from ``cfg.folder`` when a state is there.

    Without a state it starts from the weights ``cfg.init_from``, or from random ones.
    """
    torch.manual_seed(cfg.seed)
    device = torch.device(cfg.device if cfg.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    pixels = rendered_split(cfg.dataset, "train", cfg.train_images, cfg.image_size, Path(cfg.data_root), cfg.workers)
    net = UNet(**cfg.net).to(device, memory_format=torch.channels_last)
    if cfg.init_from:
        net.load_state_dict(open_weights(Path(cfg.init_from))[0])
    loss = HybridLoss(named_betas(cfg.noise_schedule), cfg.loss.weighting)
    timesteps = TimestepSampler(loss.posterior.alphas_cumprod, cfg.loss.log_sigma_mean, cfg.loss.log_sigma_std)
    forward = torch.compile(net) if cfg.compile else net
    at_step = batch_loss(loss, timesteps, pixels, cfg.optim.batch_size, cfg.seed, device, forward)
    folder = Path(cfg.folder)

    def preview(net: nn.Module, samples: int) -> None:
        save_samples(net, folder / f"samples_{samples:08d}.png", cfg)

    shown = preview if cfg.optim.preview_every_s else None
    trainer = Trainer(net, at_step, folder, cfg.optim, shown, training_log(cfg))
    trainer.run()
    trainer.with_average(lambda: export(net, trainer, cfg))
    return trainer
