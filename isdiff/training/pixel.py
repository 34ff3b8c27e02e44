"""Train a pixel-space diffusion model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isdiff.data.photos import random_crops
from isdiff.data.splits import rendered_split
from isdiff.diffusion.process import named_betas
from isdiff.experiments.loggers import training_log
from isdiff.io.hub import check_tensors
from isdiff.io.models import open_weights
from isdiff.nets.unet import UNet
from isdiff.paths import located, placed
from isdiff.training.export import export
from isdiff.training.health import HeldOut, SpikePenalty, to_batch
from isdiff.training.loop import Trainer, autocast
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


Images = Callable[[np.random.Generator, int], np.ndarray]


def training_images(cfg, split: str, count: int) -> Images:
    """A function of (rng, n) to n images of a split, (n, H, W, 3) uint8: random crops of photographs, or drawings
    picked among the first ``count`` of a drawn dataset."""
    if cfg.dataset == "photos":
        return random_crops(cfg.data_root, split, cfg.image_size)
    pixels = rendered_split(cfg.dataset, split, count, cfg.image_size, Path(cfg.data_root), cfg.workers)

    def pick(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.ascontiguousarray(pixels[np.sort(rng.choice(len(pixels), n, replace=False))])

    return pick


def batch_loss(
    loss: HybridLoss,
    timesteps: TimestepSampler,
    images: Images,
    batch: int,
    seed: int,
    device: torch.device,
    forward: Callable[..., Tensor],
    spikes: SpikePenalty | None = None,
) -> Callable[[nn.Module, int], dict[str, Tensor]]:
    """The loss of step n: images, timesteps and noise all follow from (seed, n)."""

    def at_step(net: nn.Module, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, step])
        x0 = to_batch(images(rng, batch))
        x0 = torch.where(torch.from_numpy(rng.random(batch) < 0.5).view(-1, 1, 1, 1), x0.flip(3), x0)
        t = timesteps(batch, rng)
        noise = torch.from_numpy(rng.standard_normal(x0.shape, np.float32))
        x0, t, noise = (v.to(device, non_blocking=True) for v in (x0, t, noise))
        x0 = x0.contiguous(memory_format=torch.channels_last)
        with autocast(device), spikes.measured() if spikes else nullcontext() as penalty:
            terms = loss(forward, x0, t, noise)
            if penalty:
                extra = penalty()
                terms |= {"loss": terms["loss"] + extra, "spikes": extra.detach()}
            return terms

    return at_step


def train_pixel_model(cfg) -> Trainer:
    """Train ``cfg.net`` as ``cfg`` says; resumes from ``cfg.folder`` when a state is there.

    Without a state it starts from the weights ``cfg.init_from``, or from random ones.
    """
    torch.manual_seed(cfg.seed)
    device = torch.device(cfg.device if cfg.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    images = training_images(cfg, "train", cfg.train_images)
    net = UNet(**cfg.net).to(device).to(memory_format=torch.channels_last)
    if cfg.init_from:
        tensors, _ = open_weights(located(cfg.init_from))
        check_tensors(f"train.init_from={cfg.init_from}", net.state_dict(), tensors)
        net.load_state_dict(tensors)
    loss = HybridLoss(named_betas(cfg.noise_schedule), cfg.loss.weighting)
    timesteps = TimestepSampler(loss.posterior.alphas_cumprod, cfg.loss.log_sigma_mean, cfg.loss.log_sigma_std)
    spikes = SpikePenalty(net, cfg.loss.spikes) if cfg.loss.spikes else None
    forward = torch.compile(net) if cfg.compile and not spikes else net
    at_step = batch_loss(loss, timesteps, images, cfg.optim.batch_size, cfg.seed, device, forward, spikes)
    folder = placed(cfg.folder)

    def preview(net: nn.Module, samples: int) -> None:
        save_samples(net, folder / f"samples_{samples:08d}.png", cfg)

    shown = preview if cfg.optim.preview_every_s else None
    held_out = {"dev": training_images(cfg, "dev", cfg.dev_images), "train": images}
    evaluate = HeldOut(loss.posterior.alphas_cumprod, timesteps, held_out, cfg.dev_images)
    trainer = Trainer(net, at_step, folder, cfg.optim, shown, evaluate, training_log(cfg))
    trainer.run()
    trainer.with_best(lambda: export(net, trainer, cfg))
    return trainer
