"""LanPaint: recorded runs of its authors' benchmark code, and what its moves must obey."""

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from test_methods import replay

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import even_timesteps, named_betas, resampling_plan
from isdiff.known import KnownRegion
from isdiff.samplers.lanpaint import LanPaint, Oscillator, coefficients

RUNS = sorted((GOLDEN / "lanpaint").glob("*.npz"))


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_lanpaint_replays(path, golden_prior):
    run = np.load(path)
    steps = int(run["num_steps"])
    grid = Grid.between(named_betas("linear"), even_timesteps(1000, steps))
    assert np.allclose(grid.timesteps[::-1], run["timesteps"], atol=1e-3)
    assert np.allclose(np.array(grid.sigmas) / np.array(grid.alphas), run["sigmas"][-2::-1], rtol=1e-4)
    sampler = LanPaint(
        int(run["inner_steps"]), float(run["step_size"]), float(run["friction"]), float(run["lamb"]),
        exponent=float(run["m"]), signal_share=float(run["alpha"]),
    )  # fmt: skip
    seen = []
    ask = golden_prior.predict

    def watched(states, timesteps, tasks):
        answers = ask(states, timesteps, tasks)
        seen.append((states, timesteps, answers))
        return answers

    golden_prior.predict = watched
    holes = [torch.from_numpy(keep == 0) for keep in run["gt_keep_mask"]]
    # The recorded start has the level's own variance, 4e-5 less than the unit variance that every run here starts with.
    run = dict(run) | {"x_T": run["x_T"].astype(np.float32) * grid.sigma(steps - 1)}
    final, calls = replay(run, golden_prior, grid, sampler, KnownRegion(), resampling_plan, run["y"], holes)
    assert calls == len(run["call_t"]) == steps * sampler.calls_per_step
    assert np.allclose([timesteps[0] for _, timesteps, _ in seen], run["call_t"], atol=1e-3)
    for place, call in enumerate(run["sel_calls"]):
        states, _, answers = seen[call]
        given, noise = (torch.stack(list(found)).numpy() for found in (states, [a.noise for a in answers]))
        assert np.abs(given - run["sel_x_in"][place]).max() < 1e-4
        assert np.abs(noise - run["sel_eps"][place]).max() < 5e-4
    torch.testing.assert_close(final, torch.from_numpy(run["final"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("friction", [0.7, 2.0, 15.0])
@pytest.mark.parametrize("h", [1e-3, 0.3, 5.0, 400.0])
def test_moves_keep_the_equilibrium(friction, h):
    """Normal distances of variance 1 / A and standard normal velocities stay what they are."""
    m = Oscillator(*coefficients(3.0, h / 3.0, friction, 1.0))
    distance = m.keep**2 + m.drive**2 + m.shake**2
    velocity = m.drive**2 + m.calm**2 + m.both**2 + m.stir**2
    # d' = keep d - drive v - shake z0 over sqrt(A); v' = drive sqrt(A) d + calm v + both z0 + stir z1
    crossed = m.keep * m.drive - m.drive * m.calm - m.shake * m.both
    assert (distance, velocity, crossed) == pytest.approx((1, 1, 0), abs=1e-9)
