"""SONIC: the noise is optimised through the engine, on a Gaussian whose best predictions are known."""

from itertools import pairwise

import pytest
import torch
from conftest import Answers

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import named_betas
from isdiff.engine import Engine
from isdiff.known import Blended
from isdiff.prediction import Prediction
from isdiff.samplers.solvers import DDIM
from isdiff.seeds.base import NoiseStart
from isdiff.seeds.distributions import MeanSeed
from isdiff.seeds.sonic import EvenSonicStart, SonicStart, state
from isdiff.trajectory import Task

GRID = Grid.of(named_betas("linear"), [100 * i for i in range(10)])
SIDE = 8


def prior(asked):
    """Predicts for data N(0, 1/4), and notes what it was asked."""

    def predict(states, timesteps, tasks):
        answers = []
        for x, timestep, task in zip(states, timesteps, tasks, strict=True):
            index = GRID.timesteps.index(timestep)
            asked.append((task.id, index, x.clone()))
            share = GRID.sigma(index) / (GRID.alpha(index) ** 2 / 4 + GRID.sigma(index) ** 2)
            answers.append(Prediction(share * x))
        return answers

    return Answers(predict)


def task(name="a", hidden=0.0):
    truth = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)) / 2
    hole = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    hole[..., SIDE // 2 :] = True
    return Task(name, truth.masked_fill(hole, hidden), hole)


def run(start, *tasks, batch=16):
    asked: list = []
    plan = lambda steps: tuple(range(steps - 1, -2, -1))  # noqa: E731
    engine = Engine(prior(asked), GRID, DDIM(), Blended(), plan, start=start, batch_size=batch)
    return engine.calls_expected(), {result.task.id: result for result in engine.run(tasks)}, asked


@pytest.mark.parametrize("kind", [SonicStart, EvenSonicStart])
def test_generates_the_known_pixels_and_counts_its_calls(kind):
    """Left to itself, the model comes five times closer to them from the optimised noise, which keeps its variance."""
    start = kind(MeanSeed(), iterations=60, steps=5)
    expected, found, asked = run(start, task())
    assert expected == found["a"].calls == len(asked) == 60 * 5 + len(GRID)
    assert [index for _, index, _ in asked[:5]] == start.walk(9) == [9, 7, 4, 2, 0]

    def error(noise):
        x, given = noise, task()
        for t, s in pairwise([*start.walk(9), -1]):
            share = GRID.sigma(t) / (GRID.alpha(t) ** 2 / 4 + GRID.sigma(t) ** 2)
            clean = (x - GRID.sigma(t) * share * x) / GRID.alpha(t)
            x = GRID.noised(clean, GRID.noise_in(x, clean, t), s)
        return float((x - given.image)[:, ~given.hole[0]].norm())

    before, after = asked[0][2], asked[60 * 5][2]
    assert error(after) < 0.2 * error(before)
    assert after.square().mean() == pytest.approx(float(before.square().mean()), rel=1e-3)


def test_one_iteration_is_a_step_of_one_size_in_every_frequency():
    """Adam's first: of the rate, against the sign; nothing moves where all is known already."""
    _, _, asked = run(SonicStart(MeanSeed(), iterations=1, steps=2, rate=0.01), task())
    before, after = (torch.view_as_real(torch.fft.fft2(x, norm="ortho")) for x in (asked[0][2], asked[2][2]))
    ratio = float((after[1:] * before[1:]).sum() / before[1:].square().sum())
    assert 0.9 < ratio < 1.1
    assert ((after - before).abs().median() - 0.01).abs() < 2e-3
    assert torch.allclose(state(before), asked[0][2], atol=1e-6)


def test_with_one_scale_a_step_is_along_the_gradient():
    """The error on known pixels, as it is: nothing moves in the hole, and no frequency is raised above another."""
    _, _, asked = run(EvenSonicStart(MeanSeed(), iterations=1, steps=1, rate=0.01), task())
    moved = asked[1][2] - asked[0][2]
    energy = float(moved[..., : SIDE // 2].square().sum() / moved.square().sum())
    assert min(energy, 1 - energy) < 0.01


def test_knows_nothing_of_the_hole_or_of_other_images():
    start = SonicStart(MeanSeed(), iterations=3, steps=3)
    _, alone, _ = run(start, task("a"))
    _, found, _ = run(start, task("b", hidden=9.0), task("a", hidden=5.0), batch=2)
    assert torch.equal(alone["a"].x[..., SIDE // 2 :], found["a"].x[..., SIDE // 2 :])
    assert not torch.equal(found["a"].x, found["b"].x)


def test_no_iterations_are_refused_and_other_starts_ask_nothing():
    with pytest.raises(ValueError, match="iterations is 0"):
        SonicStart(MeanSeed(), iterations=0)
    expected, found, _ = run(NoiseStart(), task())
    assert expected == found["a"].calls == len(GRID)
