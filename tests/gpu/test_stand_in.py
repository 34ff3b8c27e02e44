"""Methods on a stand-in for a GPU: the CPU's results, no tensor on a wrong device, and few waits."""

from itertools import pairwise

import pytest
import torch
from configured import RICHEST, changed, choices, composed, results, tiny_place
from stand_in import stand_in

from isdiff.config.setup import is_floor
from isdiff.runs.experiment import Experiment

TOLERANCE = 1e-4  # torch takes other kernels where a tensor is not on the CPU
IDS = ["im0", "im1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_net):
    return tiny_place(tmp_path_factory.mktemp("device"), golden_net, len(IDS))


def assert_equal(found, expected) -> None:
    for name in IDS:
        assert found[name].picture.device.type == "meta"
        assert torch.allclose(found[name].picture.cpu(), expected[name].picture, atol=TOLERANCE)
        judged, reference = ([a.dce or 0.0 for a in r[name].attempts] for r in (found, expected))
        assert judged == pytest.approx(reference, rel=1e-4)


def test_the_stand_in_is_strict():
    """It raises where a GPU does, and counts what waits."""
    with stand_in() as waits:
        here, there = torch.ones(3, device="meta"), torch.ones(3)
        with pytest.raises(RuntimeError, match="on the CPU"):
            here + there
        assert not waits and (here * torch.tensor(2.0) + torch.tensor([1, 2, 3], device="meta")).sum().item() == 12
        assert here.cpu().equal(there) and bool((here > 0).all()) and len(here[here > 0]) == 3
        assert sum(waits.values()) == 4


# One of each kind of sampler, prior and seed; the others share their code.
DAILY = ("ddnm+isdiff", "lanpaint2+isdiff", "mmps+isdiff", "hd_painter", "gmm_position", "patches")


def marked(names: list[str]) -> list:
    return [pytest.param(name, marks=[] if name in DAILY else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("method", marked(RICHEST))
def test_methods_give_the_cpu_s_results_and_seldom_wait(place, method):
    """At most once a network batch, while no image begins, is judged or ends."""
    cfg, counts = composed(place, method, *["sampler.iterations=1"] * (method == "mmps+isdiff")), []
    expected = results(cfg, IDS)
    with stand_in() as waits:
        experiment = Experiment.of(changed(cfg, runtime__device="meta"))
        tasks = [experiment.ready(name).task for name in IDS]
        engine = experiment.engine(progress=lambda count: counts.append(sum(waits.values())))
        assert_equal({result.task.id: result for result in engine.run(tasks)}, expected)
        if engine.refinement is not None:
            engine.refinement = None
            counts.clear()
            assert len(list(engine.run(tasks))) == len(IDS)
    assert len(counts) > 2 or is_floor(cfg)
    assert all(after - before <= 1 for before, after in pairwise(counts[:-1])), counts


@pytest.mark.parametrize("seed", marked(choices("isdiff/seed")))
def test_attempts_begin_as_on_the_cpu(place, seed):
    cfg = composed(place, "ddnm+isdiff", f"isdiff/seed={seed}")

    def begun(cfg) -> list[torch.Tensor]:
        experiment = Experiment.of(cfg)
        engine, tasks = experiment.engine(), [experiment.ready(name).task for name in IDS]
        return [engine.start.begin(task, experiment.stream(task.id, 1), 1, engine.grid)[0] for task in tasks]

    expected = begun(cfg)
    with stand_in():
        for mine, its in zip(begun(changed(cfg, runtime__device="meta")), expected, strict=True):
            assert mine.device.type == "meta" and torch.allclose(mine.cpu(), its, atol=TOLERANCE)
