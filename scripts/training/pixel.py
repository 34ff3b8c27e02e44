"""Train a pixel-space diffusion model."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from isdiff.diffusion.schedule import add_noise, named_betas
from isdiff.io.models import fill, open_weights
from isdiff.nets.unet import UNet
from isdiff.paths import located, placed
from training.data import Images, mirrored, to_batch, training_images
from training.export import export
from training.health import HeldOut, SpikePenalty
from training.loop import Trainer, autocast


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


def predict_x0(x_t: Tensor, noise: Tensor, alphas_cumprod: Tensor | float) -> Tensor:
    """The clean image that ``x_t`` and a noise estimate imply."""
    return (x_t - (1 - alphas_cumprod) ** 0.5 * noise) / alphas_cumprod**0.5


class Posterior:
    """Terms of q(x_{t-1} | x_t, x0) for a chain of betas (Ho et al. 2020, Eqs. 6-7), each float64 of shape (T,)."""

    def __init__(self, betas: Tensor) -> None:
        alphas_cumprod = torch.cumprod(1 - betas, 0)
        before = torch.cat([torch.ones(1, dtype=alphas_cumprod.dtype), alphas_cumprod[:-1]])
        self.alphas_cumprod = alphas_cumprod
        self.variance = betas * (1 - before) / (1 - alphas_cumprod)
        # The first variance is 0; its logarithm is taken from the second entry, as the published models expect.
        self.log_variance = torch.cat([self.variance[1:2], self.variance[1:]]).log()
        self.coef_x0 = betas * before.sqrt() / (1 - alphas_cumprod)
        self.coef_xt = (1 - before) * (1 - betas).sqrt() / (1 - alphas_cumprod)


class HybridLoss:
    """Compute the objective of a network with learned variance (Nichol & Dhariwal 2021, Sec. 3.1).

    Velocity MSE (the noise's divided by alphas_cumprod) for the mean, variational bound (in bits per dimension) for the
    variance only.

    Args:
        betas: training schedule, float64 (T,).
    """

    def __init__(self, betas: Tensor) -> None:
        self.posterior = Posterior(betas)
        self.tables = {
            name: getattr(self.posterior, name).float()
            for name in ("alphas_cumprod", "log_variance", "coef_x0", "coef_xt")
        } | {"log_betas": betas.log().float()}
        self.weight = (1 / self.posterior.alphas_cumprod).float()

    def __call__(self, net, x0: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Per-image terms ``mse`` (weighted), ``vb`` and ``loss``, each (B,)."""
        at = {name: table.to(x0.device)[t].view(-1, 1, 1, 1) for name, table in self.tables.items()}
        x_t = add_noise(x0, noise, at["alphas_cumprod"])
        out = net(x_t, t).float()
        eps, fraction = out.chunk(2, dim=1) if out.shape[1] == 2 * x0.shape[1] else (out, None)
        loss = mse = self.weight.to(x0.device)[t] * (eps - noise).square().flatten(1).mean(1)
        vb = torch.zeros_like(mse)
        if fraction is not None:
            vb = self.variance_bound(x0, x_t, t, eps.detach(), fraction, at)
            loss = loss + vb
        return {"loss": loss, "mse": mse.detach(), "vb": vb.detach()}

    def variance_bound(self, x0: Tensor, x_t: Tensor, t: Tensor, eps: Tensor, fraction: Tensor, at: dict) -> Tensor:
        """KL(q(x_{t-1}|x_t,x0) || p), or the 8-bit likelihood of x0 at t = 0; mean bits per dimension, (B,)."""
        mix = (fraction + 1) / 2
        log_var = mix * at["log_betas"] + (1 - mix) * at["log_variance"]
        guess = predict_x0(x_t, eps, at["alphas_cumprod"]).clamp(-1, 1)
        mean = at["coef_x0"] * guess + at["coef_xt"] * x_t
        true_mean = at["coef_x0"] * x0 + at["coef_xt"] * x_t
        gap = log_var - at["log_variance"]
        kl = 0.5 * (gap - 1 + (-gap).exp() + (true_mean - mean).square() * (-log_var).exp())
        nll = -log_likelihood_8bit(x0, mean, (0.5 * log_var).exp())
        bits = torch.where((t == 0).view(-1, 1, 1, 1), nll, kl) / math.log(2)
        return bits.flatten(1).mean(1)


def log_likelihood_8bit(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log probability that N(mean, std^2) falls into the 1/255-wide bin of ``x``; the outer bins reach to infinity."""
    normal = torch.special.ndtr
    upper = torch.where(x > 0.999, 1.0, normal((x - mean + 1 / 255) / std))
    lower = torch.where(x < -0.999, 0.0, normal((x - mean - 1 / 255) / std))
    return (upper - lower).clamp(min=1e-12).log()


def batch_loss(
    loss: HybridLoss,
    timesteps: TimestepSampler,
    images: Images,
    batch: int,
    seed: int,
    device: torch.device,
    spikes: SpikePenalty | None = None,
) -> Callable[[nn.Module, int], dict[str, Tensor]]:
    """The loss of step n: images, timesteps and noise all follow from (seed, n)."""

    def at_step(net: nn.Module, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, step])
        x0 = mirrored(to_batch(images(rng, batch)), rng)
        t = timesteps(batch, rng)
        noise = torch.from_numpy(rng.standard_normal(x0.shape, np.float32))
        x0, t, noise = (v.to(device, non_blocking=True) for v in (x0, t, noise))
        x0 = x0.contiguous(memory_format=torch.channels_last)
        with autocast(device), spikes.measured() if spikes else nullcontext() as penalty:
            terms = loss(net, x0, t, noise)
            if penalty:
                extra = penalty()
                terms |= {"loss": terms["loss"] + extra, "spikes": extra.detach()}
            return terms

    return at_step


def train_pixel_model(cfg) -> None:
    """Train ``cfg.net`` as ``cfg`` says; resumes from ``cfg.folder`` when a state is there.

    Without a state it starts from the weights ``cfg.init_from``, or from random ones.
    """
    torch.manual_seed(cfg.seed)
    device = torch.device(cfg.device if cfg.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    images = training_images(cfg, "train", cfg.train_images)
    net = UNet(**cfg.net)
    if cfg.init_from:
        fill(net, open_weights(located(cfg.init_from))[0], cfg.init_from)
    net = net.float().to(device).to(memory_format=torch.channels_last)
    loss = HybridLoss(named_betas(cfg.noise_schedule))
    timesteps = TimestepSampler(loss.posterior.alphas_cumprod, cfg.loss.log_sigma_mean, cfg.loss.log_sigma_std)
    spikes = SpikePenalty(net, cfg.loss.spikes) if cfg.loss.spikes else None
    at_step = batch_loss(loss, timesteps, images, cfg.optim.batch_size, cfg.seed, device, spikes)
    held_out = {"dev": training_images(cfg, "dev", cfg.dev_images), "train": images}
    evaluate = HeldOut(loss.posterior.alphas_cumprod, timesteps, held_out, cfg.dev_images)
    trainer = Trainer(net, at_step, placed(cfg.folder), cfg.optim, evaluate)
    trainer.run()
    trainer.with_best(lambda: export(net, trainer, cfg))
