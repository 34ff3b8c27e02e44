"""Methods on a stand-in for a GPU: the CPU's results, no tensor on a wrong device, and few waits."""

from itertools import pairwise

import pytest
import torch
from configured import RICHEST, changed, choices, composed, results, tiny_place
from stand_in import stand_in

from isdiff.runs.experiment import Experiment

TOLERANCE = 1e-4  # torch takes other kernels where a tensor is not on the CPU
IDS = ["im0", "im1", "im2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_net):
    return tiny_place(tmp_path_factory.mktemp("device"), golden_net, len(IDS))


def assert_equal_on_both(cfg) -> None:
    expected = results(cfg, IDS)
    with stand_in():
        found = results(changed(cfg, runtime__device="meta"), IDS)
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


@pytest.mark.parametrize("method", RICHEST)
def test_methods_give_the_cpu_s_results(place, method):
    assert_equal_on_both(composed(place, method))


@pytest.mark.parametrize("seed", choices("isdiff/seed"))
def test_seeds_give_the_cpu_s_results(place, seed):
    assert_equal_on_both(composed(place, "ddnm+isdiff", f"isdiff/seed={seed}"))


@pytest.mark.parametrize("criterion", choices("isdiff/criterion"))
def test_criteria_give_the_cpu_s_results(place, criterion):
    assert_equal_on_both(composed(place, "repaint+isdiff", f"isdiff/criterion={criterion}"))


@pytest.mark.parametrize("method", RICHEST)
def test_a_network_batch_waits_for_the_device_at_most_once(place, method):
    """While no image begins, is judged or ends."""
    counts = []
    with stand_in() as waits:
        experiment = Experiment.of(changed(composed(place, method), runtime__device="meta"))
        tasks = [experiment.ready(name).task for name in IDS]
        engine = experiment.engine(progress=lambda count: counts.append(sum(waits.values())))
        engine.refinement = None
        assert len(list(engine.run(tasks))) == len(IDS)
    assert all(after - before <= 1 for before, after in pairwise(counts[:-1])), counts
