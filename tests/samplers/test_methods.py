"""DDNM and RePaint: recorded runs of the public code, replayed through the engine with the recorded noise."""

import json

import numpy as np
import pytest
import torch
from conftest import GOLDEN

from isdiff import Engine, Task
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, resampling_plan, spaced_timesteps
from isdiff.known import NullSpace, Renoised
from isdiff.priors.pixel import PixelPrior
from isdiff.samplers.lanpaint import LanPaint
from isdiff.samplers.solvers import DDIM, Ancestral, DDNMSteps

DDNM_RUNS = sorted((GOLDEN / "ddnm").glob("*.npz"))
REPAINT_RUNS = sorted((GOLDEN / "repaint").glob("*.npz"))


class Replay:
    """A stream that gives back recorded noise, in order."""

    def __init__(self, draws) -> None:
        self.draws = iter(draws)

    def normal(self, like):
        return torch.from_numpy(next(self.draws)).float()


def replay(run, prior, grid, sampler, known, plan, images, holes):
    """Results (B, C, H, W) and network calls of a recorded run."""
    streams = {}

    def stream(seed, image_id, attempt):
        b = int(image_id)
        streams[b] = Replay([run["x_T"][b], *run["noise"][:, b]])
        return streams[b]

    engine = Engine(prior, grid, sampler, known, plan, batch_size=len(images), stream=stream)
    tasks = [
        Task(str(b), torch.from_numpy(image), hole) for b, (image, hole) in enumerate(zip(images, holes, strict=True))
    ]
    results = {r.task.id: r for r in engine.run(tasks)}
    assert all(next(s.draws, None) is None for s in streams.values()), "recorded noise is left over"
    return torch.stack([results[str(b)].x for b in range(len(images))]), results["0"].calls


@pytest.mark.parametrize("path", DDNM_RUNS, ids=lambda p: p.stem)
def test_ddnm_replays(path, golden_prior, golden_ddim_net):
    run = np.load(path)
    if str(run["network"]) == "ddim_p1":
        golden_prior = PixelPrior(golden_ddim_net, torch.device("cpu"))
    grid = Grid.of(named_betas("linear"), leading_timesteps(1000, int(run["T_sampling"])))
    loop = int(run["travel_length"]), int(run["travel_repeat"])
    sampler = DDNMSteps(float(run["eta"]), str(run["version"]))
    holes = [torch.from_numpy(run["mask"] == 0)[None]] * len(run["y"])
    final, calls = replay(
        run, golden_prior, grid, sampler, NullSpace(), lambda n: resampling_plan(n, *loop), run["y"], holes
    )
    assert calls == len(run["call_t"])
    torch.testing.assert_close(final, torch.from_numpy(run["final"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("path", REPAINT_RUNS, ids=lambda p: p.stem)
def test_repaint_replays(path, golden_prior):
    run = np.load(path)
    jump = json.loads(str(run["schedule_jump_params"]))
    grid = Grid.of(named_betas("linear"), spaced_timesteps(1000, int(str(run["timestep_respacing"]))))
    scale = float(run["guidance"])
    if scale:  # the recording's stand-in for a classifier
        golden_prior.guidance = lambda x, t, y: scale * torch.cos(2 * x + 1)
    known = Renoised(clip_denoised=bool(run["clip_denoised"]))
    loop = jump["jump_length"], jump["jump_n_sample"]
    keep = np.broadcast_to(run["gt_keep_mask"], (len(run["gt"]), *run["gt_keep_mask"].shape[1:]))
    holes = [torch.from_numpy(k == 0) for k in keep]
    plan = lambda n: resampling_plan(n, *loop)  # noqa: E731
    final, calls = replay(run, golden_prior, grid, Ancestral(), known, plan, run["gt"], holes)
    assert calls == len(run["model_t"])
    torch.testing.assert_close(final, torch.from_numpy(run["final"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: DDNMSteps(eta=1.2), "eta is 1.2"),
        (lambda: DDIM(eta=-1), "eta is -1"),
        (lambda: LanPaint(step_size=0), "step_size is 0"),
        (lambda: LanPaint(known_weight=-1), "known_weight is -1"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
