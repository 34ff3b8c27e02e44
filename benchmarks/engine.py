"""What the engine's batching and the seed cost or save, measured side by side: ``python benchmarks/engine.py``.

Four ways to run the same images (DDNM + IS-Diff, shipped model) in turn, repeated. Then whole samplings, from the image
on the disk to the picture on the disk, with their time over that of the network's calls in them, and what seeds, noise,
DCE and reading take; the files are written beside. On a GPU every network call is waited for here, so that what is
hidden behind it elsewhere counts in full. The same with the compiled network. Writes ``engine.json``,
``beside_the_network.json`` and ``beside_the_compiled_network.json`` into ``benchmarks/results``.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from isdiff import environment
from isdiff.config.composing import compose_run
from isdiff.devices import resolve_device
from isdiff.engine import Engine
from isdiff.refine import CrossEntropy
from isdiff.runs import sampling
from isdiff.runs.experiment import Experiment
from isdiff.runs.store import RunFolder
from isdiff.seeds.distributions import DistributionSeed
from isdiff.trajectory import Stream, Task

ISA = "ONEDNN_MAX_CPU_ISA"  # AVX512_CORE_BF16: as on processors without AMX


class Waves(Engine):
    """The usual alternative to refilling: a new batch starts only when the whole last one is through."""

    def run(self, tasks):
        waiting = list(tasks)
        for start in range(0, len(waiting), self.batch_size):
            yield from super().run(waiting[start : start + self.batch_size])


def seconds(engine: Engine, tasks: list[Task]) -> float:
    begun = time.perf_counter()
    for _ in engine.run(tasks):
        pass
    return time.perf_counter() - begun


@contextmanager
def timed(spent: dict[str, float], **places: tuple[Any, str]) -> Iterator[None]:
    """Count in ``spent`` the seconds in these functions of an object or class: ``noise=(Stream, "normal")``."""

    def wrapper(name: str, original: Callable) -> Callable:
        def counted(*args, **kwargs):
            begun = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - begun

        return counted

    originals = {name: getattr(*place) for name, place in places.items()}
    try:
        for name, (owner, function) in places.items():
            setattr(owner, function, wrapper(name, originals[name]))
        yield
    finally:
        for name, (owner, function) in places.items():
            setattr(owner, function, originals[name])


def batching(common: list[str], args: argparse.Namespace) -> dict:
    ways = {
        "one image at a time": (Engine, ["runtime.batch_size=1"]),
        "batches of 16 in waves": (Waves, ["runtime.batch_size=16"]),
        "16 slots, refilled": (Engine, ["runtime.batch_size=16"]),
        "16 slots, refilled, float32": (Engine, ["runtime.batch_size=16", "runtime.precision=fp32"]),
    }
    runs = {}
    for name, (kind, overrides) in ways.items():
        experiment = Experiment.of(compose_run([*common, "method=ddnm+isdiff", *overrides]))
        engine = experiment.engine()
        engine.__class__ = kind
        runs[name] = (engine, [experiment.task(i) for i in experiment.ids()])
        seconds(engine, runs[name][1][:4])  # warm-up
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, (engine, tasks) in runs.items():
            times[name].append(seconds(engine, tasks))
    base = median(times["one image at a time"])
    return {
        "seconds_per_image": {k: [round(t / args.images, 4) for t in v] for k, v in times.items()},
        "speed_against_one_at_a_time": {k: round(base / median(v), 2) for k, v in times.items()},
    }


class Waited(torch.nn.Module):
    """A network that has answered when its call returns, which on a GPU it otherwise has not."""

    def __init__(self, net: Callable[..., Tensor]) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, timesteps: Tensor, y: Tensor | None) -> Tensor:
        out = self.net(x, timesteps, y)
        if out.is_cuda:
            torch.cuda.synchronize()
        return out


def whole_sampling(common: list[str], method: str, limit: int) -> dict[str, float]:
    """Seconds of a sampling into an empty folder: ``whole``, and parts of it by name."""
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"method={method}", "sampler.repeat=1", "runtime.batch_size=16", f"output_root={folder}"]
        experiment = Experiment.of(compose_run([*common, *settings, f"limit={limit}"]))
        prior: Any = experiment.prior
        prior.net = Waited(prior.net)
        parts = {
            "network": (prior.net, "forward"), "seeds": (DistributionSeed, "fill"), "noise": (Stream, "normal"),
            "DCE": (CrossEntropy, "__call__"), "reading": (Experiment, "read"), "writing": (RunFolder, "add"),
        }  # fmt: skip
        with timed(spent, whole=(sampling, "sample"), **parts):
            sampling.sample(experiment, experiment.ids(), lambda kind, content: None)
    return spent


def beside_the_network(common: list[str], args: argparse.Namespace) -> dict:
    """By method: the whole time over the network's, and shares of the whole; writing goes on beside it."""
    found: dict[str, list[dict[str, float]]] = {method: [] for method in ("ddnm", "ddnm+isdiff")}
    for method in found:
        whole_sampling(common, method, 2)  # warm-up, and imports
    for _ in range(args.repeats):
        for method, runs in found.items():
            runs.append(whole_sampling(common, method, args.images))
    return {
        method: {
            "times_the_network": [round(run["whole"] / run["network"], 4) for run in runs],
            "share_of_time": {
                part: round(median(run.get(part, 0.0) / run["whole"] for run in runs), 4)
                for part in ("seeds", "noise", "DCE", "reading", "writing")
            },
        }
        for method, runs in found.items()
    }


def beside_the_compiled_network(common: list[str], args: argparse.Namespace) -> dict:
    return beside_the_network([*common, "runtime.compile=true"], args)


PARTS = {
    "engine": batching,
    "beside_the_network": beside_the_network,
    "beside_the_compiled_network": beside_the_compiled_network,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    common = [f"sampler.steps={args.steps}", f"limit={args.images}", *args.overrides]
    # Where to write says nothing of what was measured.
    command = re.sub(r" --out \S+", "", " ".join(["python benchmarks/engine.py", *sys.argv[1:]]))
    for part in args.parts:
        report = {
            "command": command,
            "images": args.images, "steps": args.steps, "repeats": args.repeats,
            **PARTS[part](common, args),
            "device": environment.device_name(resolve_device(compose_run(common).runtime.device)),
            "threads": torch.get_num_threads(), "versions": environment.package_versions(),
            **({ISA: os.environ[ISA]} if ISA in os.environ else {}),
        }  # fmt: skip
        (args.out / f"{part}.json").write_text(json.dumps(report, indent=1) + "\n")
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
