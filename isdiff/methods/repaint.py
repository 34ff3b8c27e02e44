"""RePaint: Inpainting using Denoising Diffusion Probabilistic Models (Lugmayr et al., CVPR 2022).

Before each step the known region is replaced by the image noised to the current level; jumps back up (Algorithm 1,
lines 9-10) are steps of the forward process.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isdiff.diffusion.process import add_noise, ddim_step, predict_noise, predict_x0
from isdiff.diffusion.timesteps import Grid
from isdiff.methods.base import Method, Prediction
from isdiff.trajectory import Trajectory


class RePaint(Method):
    """
    Args:
        sampler: ``ddim`` (the IS-Diff paper's setting) or ``ancestral`` (the RePaint paper's own).
        eta: DDIM's noise share, in [0, 1]; 1 has the variance of the posterior. Unused by ``ancestral``.
        clip_denoised: clamp the predicted clean image to [-1, 1].
    Raises:
        ValueError: an unknown sampler or an eta outside [0, 1].
    """

    def __init__(self, sampler: str = "ddim", eta: float = 0.0, clip_denoised: bool = True) -> None:
        if sampler not in ("ddim", "ancestral"):
            raise ValueError(f"method.sampler is {sampler!r}; RePaint has 'ddim' and 'ancestral'")
        if not 0 <= eta <= 1:
            raise ValueError(f"method.eta is {eta}; DDIM needs a share between 0 and 1")
        self.sampler, self.eta, self.clip_denoised = sampler, eta, clip_denoised

    def network_input(self, tr: Trajectory, grid: Grid) -> Tensor:
        # The reference draws a step's own noise before the noise of the known region; replays rely on that order.
        tr.fresh = tr.stream.normal(like=tr.x)
        if tr.x0 is not None:  # a fresh start is left as it is
            abar = grid.abar(tr.index)
            noised = add_noise(tr.task.image, tr.stream.normal(like=tr.x), abar)
            tr.x = tr.task.compose(tr.x, noised)
        return tr.x

    def down(self, tr: Trajectory, grid: Grid, prediction: Prediction) -> Tensor:
        abar, ancestral = grid.abar(tr.index), self.sampler == "ancestral"
        # Guidance moves an ancestral step's mean, and a DDIM step's noise.
        noise = prediction.noise if ancestral else prediction.guided_noise(abar)
        tr.x0 = predict_x0(tr.x, noise, abar)
        if self.clip_denoised:
            tr.x0 = tr.x0.clamp(-1, 1)
        return self.ancestral(tr, grid, prediction) if ancestral else self.ddim(tr, grid)

    def ddim(self, tr: Trajectory, grid: Grid) -> Tensor:
        """Song et al. 2021, Eq. 12, with the noise that belongs to the (clamped) x0."""
        t, s = grid.abar(tr.index), grid.abar(tr.next_index)
        sigma = self.eta * math.sqrt((1 - s) / (1 - t) * (1 - t / s))
        noise = predict_noise(tr.x, tr.x0, t)
        return ddim_step(tr.x0, noise, s, sigma, tr.fresh)

    def ancestral(self, tr: Trajectory, grid: Grid, prediction: Prediction) -> Tensor:
        """A sample of the learned p(x_s | x_t) on the respaced chain (Nichol & Dhariwal 2021, Eq. 15)."""
        t, s, beta = grid.abar(tr.index), grid.abar(tr.next_index), grid.beta(tr.index)
        mean = math.sqrt(s) * beta / (1 - t) * tr.x0 + math.sqrt(1 - beta) * (1 - s) / (1 - t) * tr.x
        log_var = self.log_variance(grid, tr.index, prediction)
        if prediction.score is not None:  # Dhariwal & Nichol 2021, Alg. 1
            mean = mean + log_var.exp() * prediction.score
        return mean + (0.5 * log_var).exp() * tr.fresh if s < 1 else mean

    def log_variance(self, grid: Grid, index: int, prediction: Prediction) -> Tensor:
        """Between log beta and the posterior's, as learned; the posterior's ("fixed small") if it is not learned."""
        i = max(index, 1)  # the posterior variance of the last step is 0: its logarithm is taken one step earlier
        posterior = math.log(grid.beta(i) * (1 - grid.abar(i - 1)) / (1 - grid.abar(i)))
        if prediction.variance is None:
            return torch.tensor(posterior, device=prediction.noise.device)
        share = (prediction.variance + 1) / 2
        return share * math.log(grid.beta(index)) + (1 - share) * posterior

    def up(self, tr: Trajectory, grid: Grid) -> Tensor:
        """One step of the forward process on the respaced chain."""
        beta = grid.beta(tr.next_index)
        return math.sqrt(1 - beta) * tr.x + math.sqrt(beta) * tr.stream.normal(like=tr.x)
