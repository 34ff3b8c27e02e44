"""Steps of the reverse process: DDIM with the variants of DDNM and HD-Painter, ancestral, Heun, DPM-Solver++."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from isdiff.checks import BadValue, Flag, Share, one_of
from isdiff.diffusion.grid import Grid
from isdiff.known import KnownRegion
from isdiff.prediction import Prediction
from isdiff.samplers.base import Sampler, Steps, steps_down
from isdiff.trajectory import Trajectory


@dataclass(eq=False)
class DDIM(Sampler):
    """DDIM (Song et al. 2021)."""

    eta: Share = 0.0  # of fresh noise; 0 is deterministic, 1 has the variance of the posterior

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            fresh = tr.noise()
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            noise, x0 = prediction.guided_noise(grid.sigma(t)), prediction.x0(tr.x, grid, t)
            tr.x0 = known.clean(x0)
            if tr.x0 is not x0:  # the noise that belongs to it
                noise = grid.noise_in(tr.x, tr.x0, t)
            sigma, kept = noise_shares(grid, t, s, self.eta)
            moved = torch.add(grid.alpha(s) * known.project(tr, tr.x0), noise, alpha=kept)
            tr.x = torch.add(moved, fresh, alpha=sigma)


def noise_shares(grid: Grid, t: int, s: int, eta: float) -> tuple[float, float]:
    """Fresh and kept noise of DDIM's step from ``t`` to ``s``, as standard deviations."""
    sigma = eta * math.sqrt(grid.posterior_variance(t, s))
    return sigma, max(0.0, grid.sigma(s) ** 2 - sigma**2) ** 0.5


@dataclass(eq=False)
class DDNMSteps(Sampler):
    """The steps of DDNM's public code (Wang et al. 2023): DDIM with a noise share of its own.

    The noise of level sigma is ``sigma (eta z + sqrt(1 - eta^2) eps)``, so eta 1 forgets the predicted noise.
    """

    eta: Share = 0.85  # of fresh noise; not DDIM's eta
    # ``svd``, of the published results; ``simplified``: noise times ``sqrt(1 - abar_s^2)``
    version: Annotated[str, one_of("svd", "simplified")] = "svd"

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            fresh = tr.noise()
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            predicted = prediction.guided_noise(grid.sigma(t))
            noise = torch.add(self.eta * fresh, predicted, alpha=math.sqrt(1 - self.eta**2))
            sigma = grid.sigma(s)
            if self.version == "simplified":
                sigma *= math.sqrt(1 - grid.alpha(s) ** 4)
            tr.x = torch.add(grid.alpha(s) * known.project(tr, tr.x0), noise, alpha=sigma)


@dataclass(eq=False)
class RASG(Sampler):
    """HD-Painter's sampler (Manukyan et al. 2023, Sec. 3.4): DDIM with a direction in the place of fresh noise.

    The direction is the standardised ``prediction.score``. Its weight's ``reference`` is what the published code
    computes, DDIM's formula with the alphas of single training steps: 10 to 25 times smaller than ``ddim``.
    """

    eta: Share = 0.1  # weight of that direction; the published command line has 0.1, its evaluation 0.25
    sigma: Annotated[str, one_of("reference", "ddim")] = "reference"

    def check(self, grid: Grid) -> None:
        if self.sigma == "reference" and not grid.step_alphas:
            raise BadValue(
                "spacing puts steps between those of the model, for which sigma=reference has no formula; it must be "
                "leading, linspace or trailing, or set sigma=ddim"
            )

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t, guided=False))
            x0, noise = known.project(tr, tr.x0), prediction.noise
            if prediction.score is None or s < 0:
                tr.x = grid.noised(x0, noise, s)
                continue
            if self.sigma == "ddim":
                sigma, _ = noise_shares(grid, t, s, self.eta)
            else:  # single-step alphas in the place of their products
                at, to = grid.step_alphas[t], grid.step_alphas[s]
                sigma = self.eta * math.sqrt((1 - to) / (1 - at) * (1 - at / to))
            direction = prediction.score / prediction.score.std().clamp(min=1e-12)
            kept = max(0.0, grid.sigma(s) ** 2 - sigma**2) ** 0.5
            tr.x = grid.alpha(s) * x0 + kept * noise + sigma * direction


class Ancestral(Sampler):
    """Samples ``p(x_s | x_t)`` on the respaced chain, with the learned variance where the network gives one."""

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            fresh = tr.noise()
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            # Guidance moves this step's mean, not the predicted image.
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t, guided=False))
            mean = posterior_mean(grid, t, s, known.project(tr, tr.x0), tr.x)
            log_variance = learned_log_variance(grid, t, s, prediction)
            if prediction.score is not None:  # Dhariwal & Nichol 2021, Alg. 1
                mean = mean + log_variance.exp() * prediction.score
            tr.x = mean + (0.5 * log_variance).exp() * fresh if grid.sigma(s) > 0 else mean


def posterior_mean(grid: Grid, t: int, s: int, x0: Tensor, x: Tensor) -> Tensor:
    """Mean of ``q(x_s | x_t, x0)`` (Ho et al. 2020, Eq. 7)."""
    variance, added = grid.sigma(t) ** 2, grid.noise_between(s, t)
    ratio = grid.alpha(t) / grid.alpha(s)
    return grid.alpha(s) * added / variance * x0 + ratio * grid.sigma(s) ** 2 / variance * x


def learned_log_variance(grid: Grid, t: int, s: int, prediction: Prediction) -> Tensor:
    """Between log beta and the posterior's, as learned (Nichol & Dhariwal 2021, Eq. 15).

    The posterior's ("fixed small") if it is not learned.
    """
    # The posterior variance of the last step is 0: its logarithm is taken one step earlier, where there is one.
    high, low = (t, s) if s >= 0 else (max(t, 1), max(t, 1) - 1)
    posterior = math.log(grid.posterior_variance(high, low) if len(grid) > 1 else grid.noise_between(s, t))
    if prediction.variance is None:
        return torch.tensor(posterior, device=prediction.noise.device)
    part = (prediction.variance + 1) / 2
    return part * math.log(grid.noise_between(s, t)) + (1 - part) * posterior


class Heun(Sampler):
    """Heun's steps (Karras et al. 2022, Alg. 1, without their schedule).

    Two network calls a step: at its start and at the Euler guess of its end; one for the step to the clean image.
    """

    calls_per_step = 2

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        for t, s in steps_down(tr, grid, known):
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            start = projected(tr, grid, known, prediction, tr.x, t)
            guess = grid.noised(*start, s)
            if grid.sigma(s) > 0:
                prediction = yield guess, s
                tr.x = midway(grid, t, s, tr.x, start, projected(tr, grid, known, prediction, guess, s))
            else:
                tr.x = guess


def projected(
    tr: Trajectory, grid: Grid, known: KnownRegion, prediction: Prediction, x: Tensor, index: int
) -> tuple[Tensor, Tensor]:
    """The clean image that a step uses, and the noise that ``x`` then has."""
    tr.x0 = known.clean(prediction.x0(x, grid, index))
    x0 = known.project(tr, tr.x0)
    return x0, grid.noise_in(x, x0, index)


def midway(grid: Grid, t: int, s: int, x: Tensor, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor]) -> Tensor:
    """The step along the mean of the two slopes.

    With ``y = x / alpha`` against ``sigma / alpha`` the slope is the noise; where nothing of the image is left at the
    start (flow models), the mean of the two velocities ``noise - x0``.
    """
    if grid.alpha(t) == 0:
        velocity = (start[1] - start[0] + end[1] - end[0]) / 2
        return x + (grid.sigma(s) - grid.sigma(t)) * velocity
    ratio = grid.alpha(s) / grid.alpha(t)
    return ratio * x + (grid.sigma(s) - ratio * grid.sigma(t)) * (start[1] + end[1]) / 2


@dataclass(eq=False)
class DPMPP2M(Sampler):
    """DPM-Solver++(2M) (Lu et al. 2022b), or its SDE form: multistep, one network call a step."""

    stochastic: Flag = False  # the SDE form, with fresh noise in every step

    def __call__(self, tr: Trajectory, grid: Grid, known: KnownRegion) -> Steps:
        before: tuple[Tensor, float] | None = None  # the last step's clean image and its log-SNR
        reached = None
        for t, s in steps_down(tr, grid, known):
            before = before if t == reached else None  # a climb begins anew
            reached = s
            fresh = tr.noise() if self.stochastic else None
            tr.x = known.enter(tr, grid, t)
            prediction = yield tr.x, t
            tr.x0 = known.clean(prediction.x0(tr.x, grid, t))
            x0, now, then = known.project(tr, tr.x0), grid.log_snr(t), grid.log_snr(s)
            ahead = extrapolated(x0, before, now, then)
            before, h = (x0, now), then - now
            if fresh is None:
                # expm1 keeps the digits of small steps; at the clean image (h infinite) it is -1, and x is x0.
                tr.x = grid.sigma(s) / grid.sigma(t) * tr.x - grid.alpha(s) * math.expm1(-h) * ahead
            else:
                noise = grid.sigma(s) * math.sqrt(-math.expm1(-2 * h))
                kept = grid.sigma(s) / grid.sigma(t) * math.exp(-h)
                tr.x = kept * tr.x - grid.alpha(s) * math.expm1(-2 * h) * ahead + noise * fresh


def extrapolated(x0: Tensor, before: tuple[Tensor, float] | None, now: float, then: float) -> Tensor:
    """The clean image half a step ahead, on the line through the last two predictions.

    First order where there is no last one, or the step is infinitely long.
    """
    if before is None or math.isinf(then) or math.isinf(before[1]) or math.isinf(now):
        return x0
    ratio = (now - before[1]) / (then - now)
    return x0 + (x0 - before[0]) / (2 * ratio)
