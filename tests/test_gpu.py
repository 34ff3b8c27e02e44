"""Checks that need a GPU."""

import pytest
import torch

from isdiff import Engine, Task
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, resampling_plan
from isdiff.known import NullSpace
from isdiff.priors.pixel import PixelPrior
from isdiff.samplers.solvers import DDNMSteps

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]


@pytest.mark.parametrize("precision, tolerance", [("fp32", 2e-3), ("bf16", 0.5)])
def test_gpu_agrees_with_cpu(golden_net, precision, tolerance):
    import copy

    grid = Grid.of(named_betas("linear"), leading_timesteps(1000, 10))
    found = {}
    for name, dtype in (("cpu", "fp32"), ("cuda", precision)):
        device = torch.device(name)
        hole = torch.zeros(1, 16, 16, dtype=torch.bool, device=device)
        hole[..., 8:] = True
        image = torch.linspace(-1, 1, 768, device=device).view(3, 16, 16).masked_fill(hole, 0)
        prior = PixelPrior(copy.deepcopy(golden_net), device, dtype)
        engine = Engine(prior, grid, DDNMSteps(0.0), NullSpace(), lambda n: resampling_plan(n, 3, 2))
        found[name] = torch.stack([r.x.cpu() for r in engine.run(Task(f"{i}", image, hole) for i in range(3))])
    assert (found["cpu"] - found["cuda"]).abs().max() < tolerance
