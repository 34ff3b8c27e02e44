"""Choices that make a run faster and must not change what it finds: sizes of batches, compiled networks."""

import shutil

import numpy as np
import pytest
import torch
from conftest import Answers

from isdiff import Task, UserError
from isdiff.config.composing import compose_run
from isdiff.config.settings import REPAID, Runtime
from isdiff.devices import compiled
from isdiff.priors.base import best_batch_size
from isdiff.runs.experiment import Experiment
from isdiff.runs.run import execute

TASK = Task("a", torch.zeros(3, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool))


def times(*milliseconds: float):
    """Seconds of a call by batch size: of 1, 2, 4, ... images."""
    return lambda prior, task, timestep, size: milliseconds[size.bit_length() - 1] / 1000


@pytest.mark.parametrize(
    "milliseconds, most, best",
    [
        ([10, 11, 13, 26, 52, 104], 32, 4),  # from 4 on an image costs as much as before
        ([10, 20, 40, 80], 8, 1),
        ([10, 12, 14, 16], 3, 2),  # no more than there are images
        ([10, 20, 24, 30], 8, 8),  # one doubling that brings nothing is no end
        ([10], 1, 1),
    ],
)
def test_the_smallest_of_the_fastest_batches_is_taken(milliseconds, most, best):
    assert best_batch_size(Answers(None), TASK, 500, most, times(*milliseconds)) == best


def test_batches_that_do_not_fit_are_not_taken():
    def measured(prior, task, timestep, size):
        if size > 4:
            raise torch.cuda.OutOfMemoryError
        return 1.0

    assert best_batch_size(Answers(None), TASK, 500, 64, measured) == 4


@pytest.fixture
def config(tiny, tmp_path):
    """Composes a run of three images with further overrides."""
    given = [*tiny, "method=ddnm", "sampler.steps=5", "metrics.names=[]", "limit=3", f"output_root={tmp_path}"]
    return lambda *overrides: compose_run([*given, *overrides])


def pictures(outcome) -> dict[str, np.ndarray]:
    store = outcome.experiment.store
    return {i: store.image(i).astype(int) for i in store.records()}


def test_a_run_finds_its_batch_size_and_gives_the_same_pictures(config, tmp_path):
    plain = pictures(execute(config()))
    outcome = execute(config("runtime.batch_size=auto", f"output_root={tmp_path}/auto"))
    assert outcome.summary["batch_size"] == "auto" and outcome.experiment.hash == Experiment.of(config()).hash
    found = pictures(outcome)
    assert len(found) == 3 and all((found[i] == plain[i]).all() for i in plain)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_answers_the_same_within_rounding():
    """A small one, for it takes its time; benchmarks/ladder.py compares whole runs."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.SiLU(), torch.nn.Conv2d(8, 3, 1)).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(net, torch.device("cpu"))(x), net(x), rtol=1e-5, atol=1e-6)


def test_a_compiled_run_is_another_result_and_has_one_shape_of_batches(config):
    plain, fast = (Experiment.of(config(*more)) for more in ([], ["runtime.compile=true"]))
    assert plain.hash != fast.hash, "other kernels, other last bits"
    assert (plain.kept["pad_to"], fast.kept["pad_to"]) == (4, 16), "or it would compile again for what is left over"


def test_cuda_graphs_are_for_cuda_devices(config):
    with pytest.raises(UserError, match=r"runtime.compile is graphs, which needs a CUDA device, not cpu; give true"):
        Experiment.of(config("runtime.compile=graphs", "runtime.device=cpu"))
    assert not Runtime(compile="auto").compiled("mps", lambda: REPAID["cpu"]), "nobody measured it there"
    runtime = Runtime(compile="graphs")
    assert runtime.compiled("cuda", lambda: 1) and runtime.slots == 16
    for compile in ("graphs", True):
        with pytest.raises(UserError, match=r"batch_size is auto; with compile it must be a number"):
            Runtime(batch_size="auto", compile=compile)
    with pytest.raises(ValueError, match="compile is 'graph'"):
        Runtime(compile="graph")


def test_whether_a_run_compiles_follows_from_its_configuration(config, monkeypatch):
    calls = 3 * Experiment.of(config("runtime.compile=auto")).setup.calls_expected()
    assert calls >= 3 * 4
    for threshold, repaid in ((calls, True), (calls + 1, False)):
        monkeypatch.setitem(REPAID, "cpu", threshold)
        assert Experiment.of(config("runtime.compile=auto")).compiled is repaid
