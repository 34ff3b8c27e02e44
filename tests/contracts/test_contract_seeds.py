"""What every seed, criterion and sampler promises, whichever file of configs it stands in; with every known rule."""

import dataclasses
import math

import pytest
import torch
from configured import choices, kind_of
from conftest import Answers

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.setup import build_steps, is_floor
from isdiff.diffusion.grid import Grid
from isdiff.engine import Engine
from isdiff.known import KnownRegion, NullSpace
from isdiff.models.base import Model
from isdiff.prediction import Prediction
from isdiff.refine import Criterion
from isdiff.seeds.base import Seed, SeededStart
from isdiff.trajectory import Stream, Task

SIDE = 16


def task(name: str = "a", hidden: float = 0.0) -> Task:
    """A smooth image whose right half is hidden; what lies there is noise of this size."""
    rng = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 4, 4, generator=rng) * 1.6 - 0.8
    truth = torch.nn.functional.interpolate(coarse, SIDE, mode="bilinear")[0]
    hole = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    hole[..., SIDE // 2 :] = True
    return Task(name, torch.where(hole, hidden * torch.randn(truth.shape, generator=rng), truth), hole, truth=truth)


def seed_of(name: str) -> Seed:
    return build(compose_run(["isdiff=on", f"isdiff/seed={name}"]).isdiff.seed, Seed)


def untrue(given: Task) -> Task:
    return dataclasses.replace(given, truth=None)


@pytest.mark.parametrize("name", choices("isdiff/seed"))
def test_seed(name):
    """Of the image's form and finite, of known pixels alone, and for an attempt the same whatever came before it."""
    seed = seed_of(name)
    first = seed.fill(task(), Stream(0, "a", 0))
    assert first.shape == (3, SIDE, SIDE) and torch.isfinite(first).all()
    hole = task().hole[0]
    if seed.needs_truth:  # the oracle, which is no method and says so
        with pytest.raises(ValueError, match="true image"):
            seed_of(name).fill(untrue(task()), Stream(0, "a", 0))
    else:
        other = seed_of(name).fill(untrue(task(hidden=3.0)), Stream(0, "a", 0))
        assert torch.equal(first[:, hole], other[:, hole])
        nothing = dataclasses.replace(untrue(task()), image=task().image.masked_fill(task().hole, torch.nan))
        assert torch.equal(first[:, hole], seed_of(name).fill(nothing, Stream(0, "a", 0))[:, hole])
    second = seed.fill(task(), Stream(0, "a", 1))
    assert torch.equal(second, seed_of(name).fill(task(), Stream(0, "a", 1))), "attempts know nothing of each other"
    assert torch.equal(first, seed.fill(task(), Stream(0, "a", 0)))
    assert first[:, hole].abs().max() < 2, "near the image's values"


@pytest.mark.parametrize("name", choices("isdiff/seed"))
def test_starts_with_this_seed(name):
    """Known pixels and the seed, noised to the step of the attempt."""
    grid = Grid.of(build(compose_run([]).model, Model).schedule.betas, [100 * i for i in range(10)])
    start = SeededStart(seed_of(name), 0.9, 0.1)
    for attempt in range(3):
        x, index = start.begin(task(), Stream(0, "a", attempt), attempt, grid)
        assert index == start.begin_index(attempt, grid) and x.shape == (3, SIDE, SIDE) and torch.isfinite(x).all()
        again, _ = SeededStart(seed_of(name), 0.9, 0.1).begin(task(), Stream(0, "a", attempt), attempt, grid)
        assert torch.equal(x, again)


@pytest.mark.parametrize("name", choices("isdiff/criterion"))
def test_criterion(name):
    """A finite number, from the hole and what is known alone; better for what goes with the surroundings."""
    criterion = build(compose_run(["isdiff=on", f"isdiff/criterion={name}"]).isdiff.criterion, Criterion)
    given = task()
    fitting, foreign = given.truth.flip(2), torch.full_like(given.truth, 0.97)
    good, bad = (criterion(guess, given.image, given.hole) for guess in (fitting, foreign))
    assert math.isfinite(good) and math.isfinite(bad) and good < bad
    assert criterion(torch.where(given.hole, fitting, 7.0), given.image, given.hole) == good, "the hole alone counts"
    assert criterion(fitting, torch.where(given.hole, -7.0, given.image), given.hole) == good, (
        "known pixels alone count"
    )
    assert criterion(fitting, given.image, given.hole) == good, "and nothing is remembered"
    for hole in (torch.zeros_like(given.hole), torch.ones_like(given.hole)):
        assert math.isfinite(criterion(fitting, given.image, hole)), "where there is nothing to compare"


def known_rules() -> dict[str, KnownRegion]:
    """Those of the methods that work on pixels with a network, and none."""
    found = {"none": KnownRegion()}
    for method in choices("method"):
        cfg = compose_run([f"method={method}"])
        if kind_of(method) == "pixel" and not is_floor(cfg):
            rule = build(cfg.method.known, KnownRegion)
            found.setdefault(type(rule).__name__, rule)
    return found


KNOWN = known_rules()
# Samplers whose result is a bare prediction, as published, or whose steps hold known pixels softly; runs paste them.
BARE = ("ding", "ding_fast", "pnp_flow", "flowdps", "flowchef", "dps", "pigdm", "mmps")


@pytest.mark.parametrize("rule", KNOWN)
@pytest.mark.parametrize("name", choices("sampler"))
def test_sampler_with_every_known_rule(name, rule):
    """Eight steps with climbs: finite images, the calls that the engine expects, one image as in a batch."""
    cfg = compose_run([f"sampler={name}", "sampler.steps=8", "sampler.jump=3", "sampler.repeat=2"])
    walk, sampler = build_steps(cfg)
    grid = walk.grid(build(cfg.model, Model).schedule)

    def prior(images, timesteps, tasks):
        """The best prediction for data N(0, 1/4)."""
        levels = [grid.timesteps.index(t) for t in timesteps]
        shares = [grid.sigma(i) / (grid.alpha(i) ** 2 / 4 + grid.sigma(i) ** 2) for i in levels]
        return [Prediction(share * x) for share, x in zip(shares, images, strict=True)]

    def run(*tasks, batch=16):
        engine = Engine(Answers(prior), grid, sampler, KNOWN[rule], walk.plan, batch_size=batch)
        return engine.calls_expected(), {result.task.id: result for result in engine.run(tasks)}

    expected, found = run(task("a"), task("b", hidden=3.0))
    alone = run(task("b", hidden=1.0), task("a"), batch=1)[1]
    for key, result in found.items():
        assert torch.isfinite(result.x).all() and result.failure is None
        # One with several calls a step may ask once for the step to the clean image.
        ends = (expected, expected - (sampler.calls_per_step - 1))
        assert result.calls < expected if name == "lanpaint2" else result.calls in ends
        assert torch.equal(result.x[:, task().hole[0]], alone[key].x[:, task().hole[0]])
    if isinstance(KNOWN[rule], NullSpace) and name not in BARE:
        assert torch.allclose(found["a"].x[..., : SIDE // 2], task().image[..., : SIDE // 2], atol=1e-5)
