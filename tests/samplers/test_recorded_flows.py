"""Methods of 2023 to 2026: runs recorded from their public code, replayed through the engine with the recorded noise.

The network is the small recorded one, on flow levels through :class:`FlowPath`.
"""

import json

import numpy as np
import pytest
import torch
from conftest import GOLDEN, Answers
from test_methods import replay

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import named_betas
from isdiff.known import Blended, KnownRegion, NullSpace
from isdiff.prediction import Prediction
from isdiff.priors.pixel import FlowPath
from isdiff.samplers.lanpaint import LanPaint2
from isdiff.samplers.restoration import DING, FlowChef, TwoCurves
from isdiff.samplers.solvers import DDIM

ALPHAS = torch.cumprod(1 - named_betas("linear"), 0)
FILES = sorted(path for name in ("ding", "diffpir", "flower", "pnp_flow", "flowdps", "flowchef", "lanpaint2")
               for path in (GOLDEN / name).glob("*.npz"))  # fmt: skip


def down(steps: int) -> list[int]:
    return list(range(steps - 1, -2, -1))


def flow(levels) -> Grid:
    return Grid.flow(sorted(float(s) for s in levels if s > 0))


class Descent(KnownRegion):
    """FlowDPS's own inner problem: steps of fixed length down the gradient of the error, in half precision."""

    def __init__(self, step: float, iterations: int) -> None:
        self.step, self.iterations = step, iterations

    def project(self, tr, x0):
        for _ in range(self.iterations):
            error = x0 - tr.task.compose(x0)
            x0 = x0 - self.step * (error / error.norm()).half().float()
        return x0


def case(name: str, run: dict, params: dict) -> tuple[Grid, object, KnownRegion, dict]:
    """Levels, sampler, rule, and the recording with what belongs to no sampler put into its start."""
    noise, start = run.get("noise"), run.get("x_T")
    if name == "flower":
        grid = flow(1 - i / params["steps"] for i in range(params["steps"]))
        sampler = TwoCurves(ends="projected", noise=params["sigma_noise"])
        return grid, sampler, NullSpace(), {"x_T": noise[0], "noise": noise[1:-1]}
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
        known = Descent(params["step_size"], params["inner_iterations"]) if params["step_size"] else NullSpace()
        return flow(run["sigmas"]), sampler, known, {"noise": noise[:-1]}
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


def test_blended_is_the_inpainting_of_diffusers():
    """Every state that the network sees, and the result, in its pipeline of SD3 (a part of the latents)."""
    run = np.load(GOLDEN / "blended_flow" / "sd3_inpaint_T4.npz")
    asked = []

    def predict(states, timesteps, tasks):
        velocity = torch.from_numpy(run["velocity"][len(asked), 0])
        level = timesteps[0] / 1000
        asked.append(states[0])
        return [Prediction.of(velocity, "flow", states[0], 1 - level, level)]

    given = {"x_T": run["noise"], "noise": np.zeros((4, *run["noise"].shape), np.float32)}
    hole = torch.from_numpy(run["mask"][0] != 0)
    final, calls = replay(
        given, Answers(predict), flow(run["sigmas"]), DDIM(), Blended(), down, run["image_latents"], [hole]
    )
    assert calls == len(run["velocity"])
    torch.testing.assert_close(torch.stack(asked), torch.from_numpy(run["latents_in"][:, 0]), atol=2e-6, rtol=0)
    pasted = torch.where(hole, final[0], torch.from_numpy(run["image_latents"][0]))
    torch.testing.assert_close(pasted, torch.from_numpy(run["final"][0]), atol=2e-6, rtol=0)


SEVERAL = GOLDEN / "flower" / "random_T6_K3.npz"  # runs, whose mean is the result


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name != "diffpir" and p != SEVERAL], ids=lambda p: f"{p.parent.name}-{p.stem}"
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


def test_flower_of_several_runs_replays(golden_prior):
    """The published result is the mean of runs; known pixels are taken to have noise."""
    run = dict(np.load(SEVERAL))
    params, starts = json.loads(str(run["params"])), np.flatnonzero(run["noise_kind"] == 0)
    finals = []
    for draws in np.split(run["noise"], starts[1:]):
        grid, sampler, known, more = case("flower", {"noise": draws}, params)
        hole = torch.from_numpy(run["mask"] == 0)[None]
        prior = FlowPath(golden_prior, ALPHAS)
        final, calls = replay(run | more, prior, grid, sampler, known, down, run["y"], [hole] * len(run["y"]))
        finals.append(final)
        assert calls == params["steps"]
    assert len(finals) == params["num_samples"] == 3
    torch.testing.assert_close(torch.stack(finals).mean(0), torch.from_numpy(run["final"]), atol=1e-4, rtol=0)


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
