"""Training objective of a pixel diffusion model with learned variance (Nichol & Dhariwal 2021, Sec. 3.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isdiff.diffusion.process import Posterior, add_noise, predict_x0


class HybridLoss:
    """``L_simple + L_vlb``: noise MSE for the mean, variational bound (in bits per dimension) for the variance only.

    Args:
        betas: training schedule, float64 (T,).
        weighting: ``noise`` weighs the MSE of the noise equally at all timesteps (Ho et al. 2020); ``velocity`` that of
            the velocity, which is the noise's divided by abar.
    """

    def __init__(self, betas: Tensor, weighting: str = "velocity") -> None:
        self.posterior = Posterior(betas)
        self.tables = {
            name: getattr(self.posterior, name).float()
            for name in ("alphas_cumprod", "log_variance", "coef_x0", "coef_xt")
        } | {"log_betas": betas.log().float()}
        abar = self.posterior.alphas_cumprod
        self.weight = (1 / abar if weighting == "velocity" else torch.ones_like(abar)).float()

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
