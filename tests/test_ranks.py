"""``torchrun -m isdiff run``: several processes make what one makes, also where some of them die."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from configured import tiny_pixel_model, write_images
from conftest import ROOT
from PIL import Image
from torch.distributed import HashStore

from isdiff.cli import main
from isdiff.errors import UserError
from isdiff.experiments import ranks
from isdiff.experiments.compare import compose_run
from isdiff.experiments.report import CIRCUMSTANCES
from isdiff.experiments.run import execute
from isdiff.experiments.sampling import own_gpu, sample_for_leader
from isdiff.experiments.writing import Writer

TIMES = ("seconds_per_image", "images_per_second", *CIRCUMSTANCES)


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_net):
    path = tmp_path_factory.mktemp("ranks")
    tiny_pixel_model(path / "tiny.safetensors", golden_net)
    write_images(path / "images", 16, 9)
    for name in ("broken", "im3"):  # one more that cannot be read, and one in the middle
        (path / "images" / f"{name}.png").write_bytes(b"no image")
    (path / "good").mkdir()
    for i in (0, 1, 2, 4, 5, 6, 7, 8):
        Image.open(path / "images" / f"im{i}.png").save(path / "good" / f"im{i}.png")
    return path


def overrides(place: Path, out: Path, images: str, *more: str) -> list[str]:
    return [
        "dataset=folder", f"dataset.path={place / images}", "dataset.size=16", "mask=half", "model=avatars64",
        "model.image_size=16", f"model.weights={place}/tiny.safetensors", "method=ddnm+isdiff", "sampler.steps=10",
        "metrics.names=[ssim]", "metrics.bootstrap=20", f"output_root={out}", *more,
    ]  # fmt: skip


def left(folder: Path) -> dict:
    """What a run leaves, without times and places."""
    (path,) = folder.rglob("summary.json")
    summary = json.loads(path.read_text())
    for key in TIMES:
        del summary[key]
    records = [json.loads(line) for line in (path.parent / "per_image.jsonl").read_text().splitlines()]
    for record in records:
        del record["seconds"]
    files = {p.name: p.read_bytes() for p in path.parent.rglob("*") if p.suffix in (".png", ".yaml", ".npy")}
    return {"summary": json.dumps(summary), "records": json.dumps(records), "folder": path.parent.name} | files


# Ranks as threads


@pytest.fixture
def team():
    """Makes ranks that share a store; the leader leads this process until the test is over."""
    store = HashStore()
    yield lambda rank, size=2, **options: ranks.Team(store, rank, size, **options)
    ranks._team.clear()


def test_a_queue_gives_everything_once_to_whoever_asks(team, monkeypatch):
    monkeypatch.setattr(ranks, "PART", 7)  # what is said travels in parts
    things = [f"thing {i}" for i in range(500)]
    taken: dict[int, list] = {}

    def follow(rank):
        for queue, asked in team(rank, 4).follow():
            assert asked == {"things": things}
            taken[rank] = list(queue.take(asked["things"]))
            queue.end(len(taken[rank]))

    threads = [threading.Thread(target=follow, args=(rank,)) for rank in (1, 2, 3)]
    leader = team(0, 4)
    for thread in threads:
        thread.start()
    queue = leader.ask({"things": things})
    taken[0] = list(queue.take(things))
    assert queue.gather(lambda: None) == [len(taken[rank]) for rank in (1, 2, 3)]
    assert sorted(thing for some in taken.values() for thing in some) == sorted(things)
    leader.finish()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_nobody_waits_for_ever(team):
    leader = team(0, silence=1.0)
    begun = time.monotonic()
    assert leader.ask([]).gather(lambda: None) == [None], "rank 1 was never there"
    leader.left.set()
    with pytest.raises(ranks.Lost, match="rank 0 has given no sign of life for 1 s"):
        next(iter(ranks.Team(HashStore(), 1, 2, silence=1.0).follow()))
    assert time.monotonic() - begun < 20


def together(leader: ranks.Team, follower: ranks.Team, *configs) -> tuple:
    """The outcome (or error) of each run at the leader, and the threads that made images."""
    makers, add = {}, Writer.add

    def noted(self, image, record):
        makers[record["id"]] = threading.current_thread().name
        add(self, image, record)

    thread = threading.Thread(target=sample_for_leader, args=(follower,), name="follower")
    thread.start()
    ranks.lead(leader)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "add", noted)
        patch.setenv("TORCHELASTIC_RUN_ID", "threads")
        outcomes: list = []
        for cfg in configs:
            try:
                outcomes.append(execute(cfg))
            except UserError as error:
                outcomes.append(error)
    leader.finish()
    thread.join(20)
    assert not thread.is_alive()
    return *outcomes, set(makers.values())


def test_ranks_make_what_one_process_makes(place, tmp_path, team):
    alone = execute(compose_run(overrides(place, tmp_path / "alone", "images")))
    cfg = compose_run(overrides(place, tmp_path / "ranks", "images"))
    shared, makers = together(team(0), team(1), cfg)
    assert len(makers) == 2, "both have made some"
    assert list(shared.failed) == list(alone.failed) == ["broken", "im3"]
    assert left(tmp_path / "ranks") == left(tmp_path / "alone")


def test_what_stops_a_rank_is_said_by_the_leader(place, tmp_path, team, monkeypatch):
    monkeypatch.setattr("isdiff.experiments.sampling.own_gpu", lambda cfg, place: 1 / 0)
    outcome, makers = together(team(0), team(1), compose_run(overrides(place, tmp_path, "good")))
    assert isinstance(outcome, UserError) and "ZeroDivisionError" in str(outcome) and "to go on" in str(outcome)
    assert makers == {"MainThread"} and len(list(tmp_path.rglob("im*.png"))) == 8, "the leader has made what was left"


def test_processes_are_started_by_one_of_the_two(place, tmp_path, team):
    outcome, _ = together(team(0), team(1), compose_run(overrides(place, tmp_path, "good", "runtime.workers=2")))
    assert "runtime.workers is 2, but torchrun starts the processes" in str(outcome)


def test_runs_follow_each_other_also_where_one_fails(place, tmp_path, team):
    """As in a multirun, a table or a comparison: no rank is left behind at the run before."""
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    bad = overrides(place, tmp_path / "bad", "good", f"model.weights={tmp_path}/bad.safetensors")
    more = [compose_run(overrides(place, tmp_path / str(seed), "good", f"seed={seed}")) for seed in (1, 2)]
    error, *good, makers = together(team(0), team(1), compose_run(bad), *more)
    assert isinstance(error, UserError) and [run.summary["n"] for run in good] == [8, 8] and len(makers) == 2
    alone = execute(compose_run(overrides(place, tmp_path / "alone", "good", "seed=2")))
    assert left(tmp_path / "2") == left(tmp_path / "alone") and not alone.failed


def test_each_rank_has_the_gpu_of_its_place(monkeypatch):
    monkeypatch.setattr("isdiff.experiments.sampling.resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for named, place, found in (("auto", 2, "cuda:2"), ("cuda", 5, "cuda:1"), ("cuda:3", 0, "cuda:3")):
        cfg = compose_run([f"runtime.device={named}"])
        own_gpu(cfg, place)
        assert cfg.runtime.device == found


# Real processes


def torchrun(count: int, *arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def rank_pids(agent: int) -> dict[int, int]:
    """The processes of a torchrun by their ranks."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                variables = (entry / "environ").read_bytes().split(b"\0") if parent == agent else []
            except OSError:
                continue
            found |= {int(v[5:]): int(entry.name) for v in variables if v.startswith(b"RANK=")}
    return found


def once_under_way(process: subprocess.Popen, out: Path, count: int) -> dict[int, int]:
    """The ranks, once some images are there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        lists = list(out.rglob("per_image.jsonl"))
        if lists and lists[0].read_text().count("\n") >= count:
            return rank_pids(process.pid)
        time.sleep(0.1)
    raise AssertionError(f"no images: {process.communicate()}")


def stamps(out: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in out.rglob("images/*.png") if not p.name.startswith(".")}


proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
LONG = ("method=ddnm", "sampler.steps=60", "sampler.repeat=1", "runtime.batch_size=1")


@pytest.mark.long
def test_a_multirun_of_several_ranks(place, tmp_path):
    """Two runs, of which one is not possible; four ranks, of which one speaks."""
    words = overrides(place, tmp_path / "ranks", "images", "sampler.steps=10,0")
    process = torchrun(4, "-m", "isdiff", "run", "-m", *words)
    out, err = process.communicate(timeout=150)
    assert process.returncode and "sampler.steps is 0" in err
    assert out.count("results:") == 1 and out.count(": 8 images, 2 failed") == 1
    execute(compose_run(overrides(place, tmp_path / "alone", "images")))
    assert left(tmp_path / "ranks") == left(tmp_path / "alone")


@pytest.mark.long
@proc
def test_torchrun_goes_on_where_a_killed_rank_left_it(place, tmp_path):
    words = overrides(place, tmp_path / "ranks", "good", *LONG)
    process = torchrun(2, "--max-restarts=1", "-m", "isdiff", "run", *words)
    pids = once_under_way(process, tmp_path, 2)
    os.kill(pids[1], signal.SIGKILL)
    before = stamps(tmp_path)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert out.count("results:") == 1 and "8 images" in out
    after = stamps(tmp_path)
    assert len(after) == 8 and 2 <= len(before) < 8 and before.items() <= after.items(), "nothing was made twice"
    execute(compose_run(overrides(place, tmp_path / "alone", "good", *LONG)))
    assert left(tmp_path / "ranks") == left(tmp_path / "alone")


@pytest.mark.long
@proc
def test_ranks_end_with_torchrun_and_one_process_goes_on(place, tmp_path):
    words = overrides(place, tmp_path, "good", *LONG)
    process = torchrun(2, "-m", "isdiff", "run", *words)
    pids = once_under_way(process, tmp_path, 2)
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any((Path("/proc") / str(pid)).exists() for pid in pids.values()):
        time.sleep(0.2)
    assert len(pids) == 2 and not any((Path("/proc") / str(pid)).exists() for pid in pids.values())
    before = stamps(tmp_path)
    outcome = execute(compose_run(words))
    assert outcome.summary["n"] == 8 and before.items() <= stamps(tmp_path).items()


def test_commands_that_are_one_process_say_so(team, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "threads")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks.Team, "joined", lambda: team(0))
    monkeypatch.setattr(ranks.Team, "finish", lambda self: self.left.set())
    assert main(["methods"]) == 1
    said = capsys.readouterr()
    assert not said.out and "isdiff methods is one process; start it without torchrun" in said.err


def test_without_torchrun_nothing_more_is_imported():
    code = "import sys; from isdiff.cli import main; main(['methods']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "isdiff.cli.methods" in done.stderr
    assert "isdiff.experiments.ranks" not in done.stderr and "isdiff.cli.together" not in done.stderr
