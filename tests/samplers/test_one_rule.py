"""Which names of methods are one algorithm: the configurations themselves, on the same network with the same noise."""

from itertools import combinations

import pytest
import torch

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.setup import build_steps
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import named_betas
from isdiff.engine import Engine
from isdiff.known import KnownRegion
from isdiff.priors.pixel import FlowPath, PixelPrior
from isdiff.trajectory import Task

STEPS = 10
LEVELS = {"flow": Grid.flow([(i + 1) / STEPS for i in range(STEPS)]),
          "own": Grid.of(named_betas("linear"), [100 * i for i in range(STEPS)])}  # fmt: skip
ONE = {
    "flower": "method=ddnm sampler.eta=1",
    "pnp_flow sampler.weight_power=0 sampler.draws=1 sampler.ends=state": "method=flower",
    "diffpir sampler.clamp=false": "method=flower",
    "diffpir sampler.clamp=false sampler.fresh_scale=0 sampler.noise_of=clean": "method=ddnm sampler.eta=0",
    "flowdps sampler.weight_power=0 sampler.fresh=constant": "method=flower",
    "ding_fast sampler.fresh=constant sampler.fresh_known=true sampler.ends=state": "method=flower",
    "ddnm sampler.eta=0": "method=ddnm sampler=ddim",
}
DIFFERENT = ("ddnm", "flower", "flowdps", "pnp_flow", "ding", "ding_fast", "flowchef", "blended", "repaint",
             "lanpaint", "lanpaint2")  # fmt: skip


@pytest.fixture(scope="module")
def filled(golden_net):
    """From overrides and levels to the hole's pixels, each made once."""
    made: dict = {}
    network = PixelPrior(golden_net, torch.device("cpu"))
    priors = {"own": network, "flow": FlowPath(network, torch.cumprod(1 - named_betas("linear"), 0))}
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(2)) - 0.5
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[..., 8:] = True
    task = Task("a", image.masked_fill(hole, 0.0), hole)

    def of(overrides: str, path: str) -> torch.Tensor:
        if (overrides, path) not in made:
            cfg = compose_run([*overrides.split(), "sampler.repeat=1"])
            _, sampler = build_steps(cfg)
            known = build(cfg.method.known, KnownRegion)
            plan = lambda steps: tuple(range(steps - 1, -2, -1))  # noqa: E731
            (result,) = Engine(priors[path], LEVELS[path], sampler, known, plan).run([task])
            made[overrides, path] = result.x[:, hole[0]]
        return made[overrides, path]

    return of


@pytest.mark.parametrize("path", LEVELS)
@pytest.mark.parametrize("name", ONE)
def test_is_the_same_algorithm(filled, name, path):
    """Within rounding, on both kinds of levels."""
    first, second = filled(f"method={name}", path), filled(ONE[name], path)
    torch.testing.assert_close(first, second, atol=2e-5 * float(second.abs().max()), rtol=0)


def test_the_others_are_not(filled):
    """Any two differ by more than a tenth of the pixels' spread."""
    found = {name: filled(f"method={name}", "flow") for name in DIFFERENT}
    for first, second in combinations(DIFFERENT, 2):
        assert (found[first] - found[second]).std() > 0.1 * found[second].std(), (first, second)
