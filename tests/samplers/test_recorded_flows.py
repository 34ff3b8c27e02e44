"""Methods of 2023 to 2026: runs recorded from their public code, replayed through the engine with the recorded noise.

The network is the small recorded one, on flow levels through :class:`FlowPath`.
"""

import json

import numpy as np
import pytest
import torch
from conftest import GOLDEN
from test_methods import replay

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import named_betas
from isdiff.known import KnownRegion, NullSpace
from isdiff.priors.pixel import FlowPath
from isdiff.samplers.flow import DING, FlowChef, TwoCurves
from isdiff.samplers.lanpaint import LanPaint2

ALPHAS = torch.cumprod(1 - named_betas("linear"), 0)
FILES = sorted(path for name in ("ding", "diffpir", "flower", "pnp_flow", "flowdps", "flowchef", "lanpaint2")
               for path in (GOLDEN / name).glob("*.npz"))  # fmt: skip


def down(steps: int) -> list[int]:
    return list(range(steps - 1, -2, -1))


def flow(levels) -> Grid:
    return Grid.flow(sorted(float(s) for s in levels if s > 0))


def case(name: str, run: dict, params: dict) -> tuple[Grid, object, KnownRegion, dict]:
    """Levels, sampler, rule, and the recording with what belongs to no sampler put into its start."""
    noise, start = run.get("noise"), run.get("x_T")
    if name == "flower":
        grid = flow(1 - i / params["steps"] for i in range(params["steps"]))
        return grid, TwoCurves(ends="projected"), NullSpace(), {"x_T": noise[0], "noise": noise[1:-1]}
    if name == "pnp_flow":
        grid, constant = (
            flow(1 - i / params["steps"] for i in range(params["steps"])),
            params["gamma_style"] == "constant",
        )
        power = 0.0 if constant else params["alpha"]
        sampler = TwoCurves(weight_power=power, weight_at="new", draws=params["num_samples"], ends="prediction")
        return grid, sampler, NullSpace(), {"x_T": noise[0], "noise": noise[1:]}
    if name == "flowdps":
        sampler = TwoCurves("signal", weight_power=1.0, ends="projected")
        return flow(run["sigmas"]), sampler, NullSpace(), {"noise": noise[:-1]}
    if name == "ding" and params["form"] == "delayed":
        return flow(run["sigmas"]), TwoCurves("sigma", fresh_known=False, ends="prediction"), NullSpace(), {}
    if name == "ding":
        noisy = params["obs_std"] if params["obs_std"] > 1e-5 else 0.0
        return flow(run["sigmas"]), DING(params["tau"], noisy), KnownRegion(), {}
    if name == "flowchef":
        levels, shape = [1 - 1e-5, *(1 - i / params["N"] for i in range(1, params["N"]))], start.shape
        strength = 2 * params["gradient_scale"] / np.prod(shape)
        return flow(levels), FlowChef(strength), KnownRegion(), {
            "x_T": start.astype(np.float32) * np.float32(1 - 1e-5), "noise": np.zeros((0, *shape), np.float16)
        }  # fmt: skip
    sampler = LanPaint2(params["inner_steps"], params["step_size"], params["lambda_"])
    if params["path"] == "flow":
        return flow(run["sigmas"]), sampler, KnownRegion(), {}
    ratios = run["sigmas"][:-1].astype(np.float64)[::-1]  # of variance-exploding levels, at whole timesteps
    every = ((1 - ALPHAS) / ALPHAS).sqrt().numpy()
    grid = Grid.of(named_betas("linear"), [int(np.abs(every - r).argmin()) for r in ratios])
    noised = grid.alpha(len(grid) - 1) * run["y"] + grid.sigma(len(grid) - 1) * start
    return grid, sampler, KnownRegion(), {"x_T": np.where(run["mask"] != 0, noised, start).astype(np.float32)}


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name != "diffpir"], ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_replays(path, golden_prior):
    run = dict(np.load(path))
    grid, sampler, known, more = case(path.parent.name, run, json.loads(str(run["params"])))
    run |= more
    images = np.broadcast_to(run["y"], run["x_T"].shape).copy()
    holes = [torch.from_numpy(run["mask"] == 0)[None]] * len(images)
    flows = path.stem != "vp_half_T8"
    prior = FlowPath(golden_prior, ALPHAS) if flows else golden_prior
    final, calls = replay(run, prior, grid, sampler, known, down, images, holes)
    assert calls == len(run["call_t"])
    atol = 1e-3 if "two_call_default" in path.stem else 1e-4
    torch.testing.assert_close(final, torch.from_numpy(run["final"]), atol=atol, rtol=0)


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "diffpir"], ids=lambda p: p.stem)
def test_diffpir_replays(path, golden_prior):
    """It begins with black in the hole, and saves the state at its last timestep, where known pixels are noised."""
    run = dict(np.load(path))
    params = json.loads(str(run["params"]))
    grid = Grid.of(named_betas("linear"), sorted(int(t) for t in run["timesteps"]))
    keep = run["mask"] != 0
    black = np.where(keep, run["y"], -1.0)
    top = len(grid) - 1
    run["x_T"] = (grid.alpha(top) * black + grid.sigma(top) * run["x_T"]).astype(np.float32)
    sampler = TwoCurves(fresh_scale=params["zeta"] ** 0.5, noise_of="projected", clamp=True)
    run["noise"] = np.concatenate([run["noise"], np.zeros_like(run["noise"][:1])])  # of the step that is not saved
    asked, ask = [], golden_prior.predict

    class Watched:
        prepare, decode = golden_prior.prepare, golden_prior.decode

        def predict(self, states, timesteps, tasks):
            asked.append(torch.stack(list(states)))
            return ask(states, timesteps, tasks)

    replay(run, Watched(), grid, sampler, NullSpace(), down, run["y"], [torch.from_numpy(~keep)[None]] * len(run["y"]))
    assert len(asked) == len(run["call_t"])
    torch.testing.assert_close(asked[-1], torch.from_numpy(run["final"]), atol=2e-4, rtol=0)
