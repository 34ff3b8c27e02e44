"""Schedules and plans: equal to the recorded references, and sound everywhere else."""

import itertools

import numpy as np
import pytest
import torch
from conftest import golden_json
from hypothesis import given
from hypothesis import strategies as st

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import (
    Flow,
    VariancePreserving,
    alphas_cumprod_at,
    leading_timesteps,
    named_betas,
    resampling_plan,
    spaced_timesteps,
)


@pytest.mark.parametrize("case", golden_json("schedules/named_betas.json")["cases"], ids=lambda c: c["schedule"])
def test_named_betas(case):
    betas = named_betas(case["schedule"], case["num_timesteps"])
    alphas_cumprod = torch.cumprod(1 - betas, 0)
    assert np.allclose(betas[case["index"]], case["betas"], rtol=0, atol=1e-12)
    assert np.allclose(alphas_cumprod[case["index"]], case["alphas_cumprod"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", golden_json("schedules/respacing.json")["cases"], ids=lambda c: c["respacing"])
def test_respacing(case):
    steps = spaced_timesteps(case["num_timesteps"], int(case["respacing"]))
    assert list(steps) == case["timesteps"]
    grid = Grid.of(named_betas(case["schedule"], case["num_timesteps"]), steps)
    assert np.allclose([grid.alpha(i) ** 2 for i in case["index"]], case["alphas_cumprod"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", golden_json("schedules/repaint_respacing.json")["cases"], ids=lambda c: c["respacing"])
def test_repaint_respacing(case):
    steps = spaced_timesteps(case["num_timesteps"], int(case["respacing"]))
    assert list(steps) == case["timesteps"]
    grid = Grid.of(named_betas("linear"), steps)
    assert np.allclose([grid.beta(i) for i in range(len(grid))], case["betas"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", golden_json("schedules/repaint_jump.json")["cases"], ids=lambda c: str(c["params"]))
def test_repaint_plans(case):
    p = case["params"]
    plan = resampling_plan(p["t_T"], p["jump_length"], p["jump_n_sample"])
    assert list(plan) == case["times"]
    steps_down = sum(b < a for a, b in itertools.pairwise(plan))
    assert steps_down == case["nfe"] and len(plan) - 1 - steps_down == case["n_renoise"]


@pytest.mark.parametrize("case", golden_json("schedules/ddnm_jump.json")["cases"], ids=lambda c: str(c["params"]))
def test_ddnm_plans(case):
    p = case["params"]
    plan = resampling_plan(p["T_sampling"], p["travel_length"], p["travel_repeat"])
    assert list(plan) == case["times"]
    steps = leading_timesteps(p["num_diffusion_timesteps"], p["T_sampling"])
    pairs = [[steps[a], steps[b] if b >= 0 else -1] for a, b in itertools.pairwise(plan)]
    assert pairs[: len(case["first_pairs"])] == case["first_pairs"]
    assert pairs[-len(case["last_pairs"]) :] == case["last_pairs"]


def test_ddnm_alpha():
    recorded = golden_json("schedules/ddnm_alpha.json")
    grid = Grid.of(named_betas("linear"), range(1000))
    assert grid.alpha(-1) ** 2 == 1.0
    for t, alphas_cumprod in zip(recorded["t"], recorded["alpha"], strict=True):
        assert grid.alpha(t) ** 2 == pytest.approx(alphas_cumprod, rel=2e-5)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 6))
def test_plans_walk_by_single_steps_and_end_clean(steps, jump, repeat):
    plan = resampling_plan(steps, jump, repeat)
    assert plan[0] == steps - 1 and plan[-1] == -1
    assert all(abs(a - b) == 1 for a, b in itertools.pairwise(plan))
    assert all(0 <= i < steps for i in plan[:-1])
    if repeat == 1:
        assert len(plan) == steps + 1


@given(st.lists(st.integers(0, 8), min_size=1, max_size=9).map(sorted), st.integers(-2, 22))
def test_index_at_takes_the_noisier_of_two_equally_near(timesteps, halves):
    """Short lists in which ties, repeated timesteps and targets beyond either end are frequent."""
    grid = Grid(tuple(timesteps), (0.5,) * len(timesteps), (0.5,) * len(timesteps), 10)
    distances = [abs(t - halves / 2) for t in timesteps]
    last = max(i for i, distance in enumerate(distances) if distance == min(distances))
    assert grid.index_at(halves / 20) == last


def test_levels_between_timesteps():
    """Whole timesteps are the table's; between two, sigma / alpha is half-way at half-way."""
    alphas_cumprod = torch.cumprod(1 - named_betas("linear"), 0)
    whole = torch.tensor([0, 499, 999])
    assert torch.equal(alphas_cumprod_at(alphas_cumprod, whole), alphas_cumprod[whole])
    assert torch.allclose(alphas_cumprod_at(alphas_cumprod, whole.double()), alphas_cumprod[whole], rtol=1e-12)
    ratio = lambda alphas_cumprod: ((1 - alphas_cumprod) / alphas_cumprod).sqrt()  # noqa: E731
    middle = alphas_cumprod_at(alphas_cumprod, torch.tensor([166.5], dtype=torch.float64))
    assert torch.allclose(ratio(middle), (ratio(alphas_cumprod[166]) + ratio(alphas_cumprod[167])) / 2)
    grid = Grid.between(named_betas("linear"), [0.0, 166.5, 999.0])
    assert grid.alpha(1) ** 2 == pytest.approx(middle.item(), rel=1e-12)
    assert grid.alpha(1) ** 2 + grid.sigma(1) ** 2 == pytest.approx(1)
    assert Grid.between(named_betas("linear"), [0.0, 500.0]) == Grid.of(named_betas("linear"), [0, 500])


def test_a_models_schedule_gives_levels_and_grids():
    schedule = VariancePreserving(named_betas("linear"))
    grid = schedule.grid(10, "leading")
    assert [schedule.levels(t) for t in grid.timesteps] == [
        (pytest.approx(a), pytest.approx(s)) for a, s in zip(grid.alphas, grid.sigmas, strict=True)
    ]
    flow = Flow(shift=3.0)
    grid = flow.grid(4, "even")
    assert grid.sigmas == pytest.approx([0.5, 0.75, 0.9, 1.0]) and flow.levels(750) == (0.25, 0.75)
