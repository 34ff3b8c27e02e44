"""What docs/promises.md says: that each promise has its test, and the ones that had none elsewhere."""

import ast
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
import torch
import yaml
from configured import run_quietly, tiny_images, tiny_run
from conftest import ROOT, Answers

from isdiff import Engine, Task
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, resampling_plan
from isdiff.known import KnownRegion, NullSpace, Renoised
from isdiff.prediction import Prediction
from isdiff.runs.run import execute
from isdiff.samplers.lanpaint import LanPaint
from isdiff.samplers.solvers import DDIM, Ancestral


def is_left_out(file: str, function: str) -> bool:
    """Whether ``make test`` leaves this test out: it, or its whole file, is marked ``slow`` or ``long``."""
    module = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    (test,) = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == function]
    whole = [node.value for node in module.body if isinstance(node, ast.Assign) and names_marks(node.targets[0])]
    marked = [mark for node in whole for mark in (node.elts if isinstance(node, ast.List) else [node])]
    return any(ast.unparse(mark) in ("pytest.mark.slow", "pytest.mark.long") for mark in test.decorator_list + marked)


def names_marks(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == "pytestmark"


def test_every_promise_names_a_test_that_there_is():
    """And is marked where ``make test`` runs none of its tests."""
    page = (ROOT / "docs" / "promises.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| Promise", "| ---"))]
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"`tests/([\w/]+\.py)::(\w+)`", row)
        assert named, f"no test in: {row}"
        promise = row.split(" | ")[0]
        assert promise.endswith(" †") == all(is_left_out(*each) for each in named), f"† is not as the tests are: {row}"
    assert re.search("^† ", page, re.M), "a mark needs its legend"


def test_what_the_pull_requests_leave_out_runs_every_week():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    job = workflow["jobs"]["slow"]
    assert {"make test-full", "make test-long"} <= {step.get("run") for step in job["steps"]}
    assert workflow[True].keys() >= {"schedule", "workflow_dispatch"}
    assert job["if"] == "github.event_name == 'schedule' || github.event_name == 'workflow_dispatch'"


ASK = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
REFUSED = "tests run without a network, and something asks for 192.0.2.1"


def test_the_network_is_blocked_in_tests():
    """In this process however it is asked for, and in one that is started; this machine's own servers answer."""
    with pytest.raises(OSError, match=REFUSED):
        exec(ASK)
    with socket.socket() as asking, pytest.raises(OSError, match=REFUSED):
        asking.connect_ex(("192.0.2.1", 80))
    with socket.socket(type=socket.SOCK_DGRAM) as asking, pytest.raises(OSError, match=REFUSED):
        asking.sendto(b"a name?", ("192.0.2.1", 53))
    started = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)
    assert started.returncode and REFUSED in started.stderr
    with pytest.raises(OSError, match=f"refused|{REFUSED}"):  # a proxy of this machine's would lead out
        urllib.request.urlopen("http://192.0.2.1", timeout=1)
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_the_network_is_blocked_in_sampling_processes():
    """Which are started by ``spawn``."""
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(OSError, match=REFUSED):
        pool.apply(exec, (ASK,))


KILLS = 30


def written(folder) -> int:
    """Records in all files below."""
    return sum(file.read_bytes().count(b"\n") for file in folder.rglob("per_image.jsonl"))


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are started by fork here, to have many of them soon")
def test_killed_thirty_times_at_random_moments(tmp_path, golden_net):
    """Nothing that was finished is lost or made again, no file is torn, and the end is that of a run in one go."""
    count = 60
    tiny_images(tmp_path, golden_net, count)
    whole = execute(tiny_run(tmp_path, "whole", count)).experiment.store
    rng, context, finished, stages = random.Random(0), multiprocessing.get_context("fork"), {}, set()
    for n in range(KILLS):
        process = context.Process(target=run_quietly, args=(tiny_run(tmp_path, "killed", count),))
        process.start()
        if n % 3 == 0:  # in the middle of its images, however slow the machine is
            while process.is_alive() and written(tmp_path / "killed") <= len(finished):
                process.join(0.005)
        process.join(rng.uniform(0, 0.05) if n % 3 == 0 else rng.uniform(0.02, 0.5))
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        records = {}
        for file in (tmp_path / "killed").rglob("per_image.jsonl"):
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    record = json.loads(line)
                    records[record["id"]] = (file.parent / "images" / f"{record['id']}.png").stat().st_mtime_ns
        assert finished.items() <= records.items(), "what was finished is there, and was not made again"
        finished = records
        stages.add(len(finished))
    assert len(stages) > 5, "some were killed between images"
    execute(tiny_run(tmp_path, "killed", count))
    for path in (tmp_path / "killed").rglob(".*.tmp"):  # of those killed while they wrote: found an hour later
        os.utime(path, (0, 0))
    store, _ = (execute(tiny_run(tmp_path, out, count)).experiment.store for out in ("killed", "whole"))
    found, wanted = ([each | {"seconds": 0, "stamps": 0} for each in it.records().values()] for it in (store, whole))
    assert found == wanted
    for image_id in whole.records():
        assert store.image_path(image_id).read_bytes() == whole.image_path(image_id).read_bytes()
    left = {path.name for path in store.path.rglob("*") if path.is_file()}
    assert left == {path.name for path in whole.path.rglob("*") if path.is_file()}, "no torn or forgotten file"


SPREAD, ALIKE = 0.3, 0.8  # standard deviation of every pixel, correlation of a pixel with its partner


class Pairs(Answers):
    """The exact prior of images whose pixels are Gaussian, each correlated with its partner in the other half."""

    def __init__(self, grid: Grid) -> None:
        self.levels = {t: alpha**2 for t, alpha in zip(grid.timesteps, grid.alphas, strict=True)}
        self.values, self.vectors = torch.linalg.eigh(SPREAD**2 * torch.tensor([[1.0, ALIKE], [ALIKE, 1.0]]))

    def predict(self, states, timesteps, tasks):
        return [Prediction(self.noise(x, self.levels[t])) for x, t in zip(states, timesteps, strict=True)]

    def noise(self, x: torch.Tensor, alphas_cumprod: float) -> torch.Tensor:
        pairs = torch.stack(x.chunk(2, dim=2))
        along = torch.einsum("pk,pchw->kchw", self.vectors, pairs)
        kept = alphas_cumprod**0.5 * self.values / (alphas_cumprod * self.values + 1 - alphas_cumprod)
        x0 = torch.einsum("pk,kchw->pchw", self.vectors, kept.view(2, 1, 1, 1) * along)
        return (x - alphas_cumprod**0.5 * torch.cat([*x0], dim=2)) / (1 - alphas_cumprod) ** 0.5


def posterior(sampler, known, steps: int, *loop: int) -> tuple[float, float]:
    """Return the slope of the hidden half on the known one, from 4,096 pairs, and the variance about it.

    The variance is a share of the true one: the exact answer is (``ALIKE``, 1).
    """
    grid = Grid.of(named_betas("linear"), leading_timesteps(1000, steps))
    hole = torch.zeros(1, 64, 128, dtype=torch.bool)
    hole[:, :, 64:] = True
    shown = SPREAD * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
    task = Task("pairs", torch.cat([shown, torch.zeros_like(shown)], dim=2), hole)
    (result,) = Engine(Pairs(grid), grid, sampler, known, lambda n: resampling_plan(n, *loop)).run([task])
    hidden = result.x[:, :, 64:]
    slope = float((hidden * shown).sum() / shown.square().sum())
    return slope, float((hidden - slope * shown).var()) / (SPREAD**2 * (1 - ALIKE**2))


def test_long_langevin_iterations_reach_the_posterior():
    slope, variance = posterior(LanPaint(30), KnownRegion(), 100)
    assert slope == pytest.approx(ALIKE, abs=0.03) and variance == pytest.approx(1, abs=0.1)


def test_resampling_brings_repaint_towards_the_posterior():
    """Without it the hole hardly listens: known pixels are noised anew at every step, and the network sees no hole."""
    slopes = [posterior(Ancestral(), Renoised(), 100, *loop)[0] for loop in ((), (10, 10), (1, 10))]
    assert slopes == sorted(slopes) and slopes[0] < 0.55 < 0.7 < slopes[-1] < ALIKE + 0.03


def test_ddnm_comes_near_the_posterior_mean():
    slope, variance = posterior(DDIM(0.0), NullSpace(), 100)
    assert slope == pytest.approx(ALIKE, abs=0.05) and variance == pytest.approx(1, abs=0.2)
