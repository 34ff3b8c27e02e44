"""Runs in processes that others start: Hydra's launchers for clusters, and Ray's pool."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from process_parts import below, needs_proc

from isdiff.cli import main
from isdiff.config.composing import compose_run
from isdiff.errors import UserError
from isdiff.parallel.runner import compute, jobs_of, run_locally, run_on_ray, split
from isdiff.runs.run import execute

QUICK = ["metrics.bootstrap=20", "sampler.repeat=1", "sampler.steps=4"]


def test_packages_that_are_not_installed_are_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "hydra_plugins.hydra_submitit_launcher", None)
    assert main(["run", "-m", "hydra/launcher=submitit_slurm", "seed=0,1"]) == 1
    assert "hydra-submitit-launcher: pip install 'isdiff[cluster]'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["table", "table1", "profile=demo", "masks=half", "rows=ddnm_plain", "limit=1", "runner=ray"]) == 1
    assert capsys.readouterr().err == "isdiff: runner=ray needs the package ray: pip install 'isdiff[ray]'\n"


def test_what_a_runner_is_asked_with():
    assert split(["a=b", "c"]) == (None, ["a=b", "c"])
    for words, run, values in (
        (["runner=ray", "runner.gpus=0.5"], run_on_ray, {"gpus": 0.5}),
        (["runner=local"], run_locally, {}),
        (["runner=local", "runner.workers=2"], run_locally, {"workers": 2}),
    ):
        runner, rest = split(["seed=1", *words])
        assert (runner.func, runner.keywords, rest) == (run, values, ["seed=1"])
    for wrong in (
        "runner=slurm", "runner.workers=2",
        "runner=local runner.address=auto", "runner=local runner.workers=0", "runner=local runner.workers=x",
        "runner=ray runner.gpus=2", "runner=ray runner.gpus=nan", "runner=ray runner.colour=red",
    ):  # fmt: skip
        with pytest.raises(
            UserError, match=r"=\w+: runner=local may have runner\.workers, a whole number of at least 1; "
        ):
            split(wrong.split())


def test_no_run_is_computed_twice_and_none_that_cannot_be(tiny, tmp_path):
    common = [*tiny, *QUICK, "method=ddnm", f"output_root={tmp_path}"]
    runs = [("a", compose_run(common)), ("b", compose_run(common)), ("c", compose_run([*common, "limit=2"]))]
    runs += [("d", compose_run([*common, "seed=1"])), ("e", compose_run([*common, "model.weights=nowhere.pt"]))]
    jobs = jobs_of(runs)
    assert [(job.name, len(job.configs)) for job in jobs] == [("a", 2), ("d", 1)], "one folder, one process"
    assert [job.calls for job in jobs] == [6 * 4, 6 * 4]
    execute(runs[2][1])
    assert [(job.name, job.calls) for job in jobs_of(runs)] == [("d", 6 * 4), ("a", 4 * 4)], "two images are there"


def test_a_process_tells_its_network_calls_and_leaves_what_it_cannot_make(tiny, tmp_path):
    told = []
    common = [*tiny, *QUICK, "method=ddnm", f"output_root={tmp_path}", "runtime.batch_size=4", "limit=5"]
    compute([compose_run([*common, more]) for more in ("seed=0", "model.weights=nowhere.pt", "seed=1")], 0, told.append)
    assert told[-1] == float("inf") and sum(told[:-1]) == 2 * 5 * 4 and len(told) > 4
    assert len(list(tmp_path.rglob("images/*.png"))) == 10


@pytest.mark.parametrize(
    "runner",
    [
        pytest.param(["runner=local", "runner.workers=2"], marks=pytest.mark.slow, id="local"),
        pytest.param(["runner=ray"], marks=pytest.mark.long, id="ray"),
    ],
)
@needs_proc
def test_a_table_from_two_workers_of_which_one_is_killed(tiny, tmp_path, runner):
    if runner == ["runner=ray"]:
        pytest.importorskip("ray", reason="ray is not installed (extra ray)")
    words = [
        "table", "table1", "profile=demo", "masks=half", "rows=ddnm_plain,ddnm+isdiff", "seeds=0",
        *(word for word in tiny if word != "mask=half"),
        "sampler.repeat=1", "sampler.steps=60", "runtime.batch_size=1", "metrics.bootstrap=20",
    ]  # fmt: skip
    environment = os.environ | {"ISDIFF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "isdiff", *words, *runner],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    before: dict[str, int] = {}
    deadline = time.monotonic() + 150
    while len(before) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
        before = {str(p): p.stat().st_mtime_ns for p in tmp_path.rglob("images/im*.png")}
    marks = (b"ray::compute_there", b"--multiprocessing-fork")
    workers = [pid for pid, (line, _) in below(process.pid).items() if any(mark in line for mark in marks)]
    os.kill(workers[0], signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0 and len(workers) == 2, err
    after = {str(p): p.stat().st_mtime_ns for p in tmp_path.rglob("images/im*.png")}
    assert len(after) == 12 and before.items() <= after.items(), "nothing was made twice"
    (table,) = tmp_path.rglob("table1.csv")
    assert all(label in table.read_text() for label in ("DDNM + IS-Diff", "DDNM"))
