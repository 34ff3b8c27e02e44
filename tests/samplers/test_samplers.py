"""Samplers on a case whose answer is known: data N(0, s^2), for which the best prediction is a formula.

The probability flow then takes ``x_T`` to ``s x_T / sqrt(alpha_T^2 s^2 + sigma_T^2)``; what a sampler misses of that
must fall with the number of steps as its order says.
"""

import math

import pytest
import torch
from conftest import Answers

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, resampling_plan
from isdiff.engine import Engine
from isdiff.known import KnownRegion
from isdiff.prediction import Prediction
from isdiff.samplers.lanpaint import LanPaint
from isdiff.samplers.solvers import DDIM, DPMPP2M, Ancestral, DDNMSteps, Heun
from isdiff.trajectory import Stream, Task

S = 0.5


def gaussian(grid: Grid, says_clean: bool = False):
    """The best prediction for N(0, S^2), as noise, or as noise and clean image as flow models give it."""

    def prior(images, timesteps, tasks):
        answers = []
        for x, t in zip(images, timesteps, strict=True):
            i = grid.timesteps.index(t)
            alpha, sigma = grid.alpha(i), grid.sigma(i)
            x0 = alpha * S**2 * x / (alpha**2 * S**2 + sigma**2)
            answers.append(Prediction((x - alpha * x0) / sigma, clean=x0 if says_clean else None))
        return answers

    return Answers(prior)


def error(sampler, grid: Grid, says_clean: bool = False) -> float:
    """Largest distance from the exact end of the probability flow, for a few images of noise."""
    everything = torch.ones(1, 8, 8, dtype=torch.bool)
    tasks = [Task(f"g{i}", torch.zeros(3, 8, 8), everything) for i in range(3)]
    engine = Engine(gaussian(grid, says_clean), grid, sampler, KnownRegion(), resampling_plan)
    top = len(grid) - 1
    scale = S / math.sqrt((grid.alpha(top) * S) ** 2 + grid.sigma(top) ** 2)
    return max(
        (r.x - scale * Stream(0, r.task.id).normal(torch.empty(3, 8, 8))).abs().max().item() for r in engine.run(tasks)
    )


def process(steps: int) -> Grid:
    return Grid.of(named_betas("linear"), leading_timesteps(1000, steps))


def flow(steps: int) -> Grid:
    return Grid.flow([(i + 1) / steps for i in range(steps)])


@pytest.mark.parametrize(
    "sampler, order",
    [(DDIM(), 1), (DDNMSteps(eta=0.0), 1), (Heun(), 2), (DPMPP2M(), 2)],
    ids=["ddim", "ddnm", "heun", "dpmpp_2m"],
)
@pytest.mark.parametrize("grid", [process, flow])
def test_errors_fall_as_the_order_says(sampler, order, grid):
    """Between 25 and 100 steps."""
    if isinstance(sampler, DPMPP2M) and grid is flow:
        pytest.skip("multistep in log-SNR has no second-order start from pure noise")
    coarse, fine = (error(sampler, grid(steps), says_clean=grid is flow) for steps in (25, 100))
    found = math.log(coarse / fine) / math.log(4)
    assert order - 0.25 < found < order + 0.75, (coarse, fine)
    assert fine > 1e-6, "an error that a step must have"


@pytest.mark.parametrize(
    "sampler",
    [DDIM(1.0), Ancestral(), DPMPP2M(stochastic=True), LanPaint(2)],
    ids=["ddim", "ancestral", "sde", "lanpaint"],
)
def test_stochastic_samplers_give_the_datas_spread(sampler):
    grid = process(200)
    everything = torch.ones(1, 32, 32, dtype=torch.bool)
    tasks = [Task(f"g{i}", torch.zeros(3, 32, 32), everything) for i in range(8)]
    engine = Engine(gaussian(grid), grid, sampler, KnownRegion(), resampling_plan)
    found = torch.stack([r.x for r in engine.run(tasks)])
    assert found.std().item() == pytest.approx(S, rel=0.05) and abs(found.mean().item()) < 0.02


def test_levels_of_a_grid():
    grid = process(10)
    for i in range(10):
        assert grid.alpha(i) ** 2 + grid.sigma(i) ** 2 == pytest.approx(1, abs=1e-12)
        assert grid.beta(i) == pytest.approx(1 - grid.alpha(i) ** 2 / grid.alpha(i - 1) ** 2, rel=1e-9)
        assert grid.log_snr(i) < grid.log_snr(i - 1)
    straight = flow(10)
    assert all(straight.alpha(i) + straight.sigma(i) == 1 for i in range(10))
    assert straight.timesteps[-1] == 1000 and straight.log_snr(9) == -math.inf and straight.log_snr(-1) == math.inf


def test_ancestral_sampling_in_one_step():
    """Straight to the prediction: there is no noise to add, and no earlier step to take a variance from."""
    grid = Grid.of(named_betas("linear"), [999])
    hole = torch.ones(1, 4, 4, dtype=torch.bool)
    task = Task("a", torch.zeros(3, 4, 4), hole)
    for variance in (None, torch.zeros(3, 4, 4)):
        prior = Answers(lambda images, *_, v=variance: [Prediction(torch.zeros_like(x), variance=v) for x in images])
        (result,) = Engine(prior, grid, sampler=Ancestral(), known=KnownRegion(), plan=lambda n: [0, -1]).run([task])
        assert torch.isfinite(result.x).all()
