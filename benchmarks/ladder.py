"""From what published code does to what this one does, one step at a time: ``make bench``, or ``make bench-gpu``.

Each rung runs the same images with DDNM + IS-Diff, all rungs in turn and repeatedly. For each: images a second, the
ratio to the rung before, the time over that of the bare network for as many calls (1 is the floor), and the share of
what this machine reaches in plain matrix products of that precision. Each is held against the first rung: how many
images were decided otherwise (attempts, the one chosen), how far pictures are apart in 8-bit levels, and the difference
of distances to the truth with its 95 % interval. Writes ``benchmarks/results/ladder_<device>.json``.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch
from engine import Waves
from rich.console import Console
from rich.table import Table
from throughput import matmul_rate
from torch.utils.flop_counter import FlopCounterMode

from isdiff import environment
from isdiff.config.composing import compose_run
from isdiff.devices import DTYPES, resolve_device, resolve_precision
from isdiff.engine import Engine, Result
from isdiff.io.files import atomic_open
from isdiff.metrics.intervals import estimate
from isdiff.metrics.lite0 import Lite0Features
from isdiff.metrics.samples import MeanStatistic
from isdiff.runs.experiment import Experiment
from isdiff.runs.sampling import Writer
from isdiff.runs.store import RunFolder
from isdiff.trajectory import Task


@dataclass
class Rung:
    """One way to run the images."""

    name: str
    overrides: list[str]
    kind: type[Engine] = Waves
    memory_format: torch.memory_format = torch.channels_last
    times: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def prepare(self, common: list[str]) -> None:
        self.experiment = Experiment.of(compose_run([*common, *self.overrides]))
        prior = self.experiment.prior
        if self.memory_format != prior.memory_format:
            prior.net.to(memory_format=self.memory_format)
            prior.memory_format = self.memory_format
        self.engine = self.experiment.engine()
        self.engine.__class__ = self.kind
        self.tasks = [self.experiment.task(i) for i in self.experiment.ids()]
        self.bare()  # warm, and compiled

    def run(self) -> None:
        fresh = [Task(t.id, t.image, t.hole, t.condition, t.truth) for t in self.tasks]  # mixtures are fitted anew
        begun = time.perf_counter()
        self.results = sorted(self.engine.run(fresh), key=lambda result: result.task.id)
        self.wait()
        self.times.append(time.perf_counter() - begun)
        calls = sum(result.calls for result in self.results)
        self.floors.append(self.bare() * calls)

    @torch.inference_mode()
    def bare(self, repeats: int = 3) -> float:
        """Seconds of the network alone for one image."""
        prior, size, count = self.experiment.prior, self.tasks[0].image.shape[-1], self.engine.batch_size
        x = torch.zeros(count, 3, size, size, device=prior.device).to(memory_format=self.memory_format)
        t = torch.full((count,), 500, device=prior.device)
        prior.net(x, t, None)
        self.wait()
        begun = time.perf_counter()
        for _ in range(repeats):
            prior.net(x, t, None)
        self.wait()
        return (time.perf_counter() - begun) / repeats / count

    def wait(self) -> None:
        if self.experiment.device.type == "cuda":
            torch.cuda.synchronize()

    def flop(self) -> float:
        """Floating-point operations of a network call for one image, as torch counts them."""
        prior, size = self.experiment.prior, self.tasks[0].image.shape[-1]
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            prior.net(
                torch.zeros(1, 3, size, size, device=prior.device), torch.full((1,), 500, device=prior.device), None
            )
        return counter.get_total_flops()


@dataclass
class Stored(Rung):
    """From the images on the disk to the pictures on the disk, which are written beside the network or in turn."""

    beside: bool = True

    def run(self) -> None:
        experiment, self.results, inputs = self.experiment, [], {}

        def tasks() -> Iterator[Task]:
            for image_id in experiment.ids():
                task, inputs[image_id] = experiment.ready(image_id)
                yield task

        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, Writer(RunFolder(Path(folder)), lambda image_id: None) as writer:
            for result in self.engine.run(tasks()):
                self.results.append(result)
                given = inputs[result.task.id]
                writer.add(experiment.finish(result, given), experiment.record(result, given))
                if not self.beside:
                    writer.settle(0)
            writer.settle(0)
            self.times.append(time.perf_counter() - begun)
        self.results.sort(key=lambda result: result.task.id)
        self.floors.append(self.bare() * sum(result.calls for result in self.results))


def rungs(precision: str, batch: int, compile: bool) -> list[Rung]:
    """``precision`` is the fastest that the device computes in."""
    plain, many = "runtime.precision=fp32", [f"runtime.batch_size={batch}"]
    nchw = torch.contiguous_format
    found = [
        Rung("float32, one image a call", [plain, "runtime.batch_size=1", "runtime.pad_to=1"], memory_format=nchw),
        Rung(f"{batch} images a call", [plain, *many], memory_format=nchw),
        Rung("channels last", [plain, *many]),
    ]
    fast = f"runtime.precision={precision}"
    if precision != "fp32":
        found.append(Rung(precision, [fast, *many]))
    found.append(Rung("slots refilled", [fast, *many], Engine))
    found.append(Stored("disk to disk, in turn", [fast, *many], Engine, beside=False))
    found.append(Stored("disk to disk, overlap", [fast, *many], Engine))
    if compile:
        found.append(Rung("compiled", [fast, *many, "runtime.compile=true"], Engine))
    return found


def pictures(rung: Rung) -> list[np.ndarray]:
    return [rung.experiment.finish(result, rung.experiment.read(result.task.id)) for result in rung.results]


def compared(rung: Rung, first: Rung) -> dict:
    """Against the first rung, image by image."""
    decided = [(len(r.attempts), r.chosen) for r in rung.results]
    otherwise = sum(a != (len(r.attempts), r.chosen) for a, r in zip(decided, first.results, strict=True))
    mine, reference = pictures(rung), pictures(first)
    apart = np.array([np.abs(a.astype(int) - b.astype(int)).mean() for a, b in zip(mine, reference, strict=True)])
    truths = [first.experiment.read(result.task.id).pixels for result in first.results]
    look = Lite0Features()
    change = estimate(MeanStatistic(look.extract(mine, truths).values - look.extract(reference, truths).values))
    return {
        "decided_otherwise": otherwise, "levels_apart_median": round(float(np.median(apart)), 4),
        "levels_apart_most": round(float(apart.max()), 3),
        "distance_change": [round(v, 5) for v in (change.value, change.low, change.high)],
    }  # fmt: skip


def report(ladder: list[Rung], rates: dict[str, float]) -> list[dict]:
    found, before = [], 0.0
    flop = ladder[0].flop()
    for rung in ladder:
        spent, images = median(rung.times), len(rung.results)
        calls = sum(result.calls for result in rung.results)
        precision = rung.experiment.precision
        rate = flop * calls / spent / 1e12
        found.append({
            "rung": rung.name, "precision": precision, "images_per_second": round(images / spent, 4),
            "ratio_to_the_one_before": round(before and before / spent, 3),
            "seconds": [round(t, 3) for t in rung.times],
            "ratio_to_the_bare_network": round(median(t / f for t, f in zip(rung.times, rung.floors, strict=True)), 3),
            "calls_per_image": round(calls / images, 2), "tflop_per_second": round(rate, 4),
            "share_of_matmul": round(rate / rates[precision], 3), **compared(rung, ladder[0]),
        })  # fmt: skip
        before = spent
    return found


def shown(found: list[dict], title: str) -> Table:
    table = Table(title=title)
    columns = {
        "": "rung", "images/s": "images_per_second", "x before": "ratio_to_the_one_before",
        "x network": "ratio_to_the_bare_network", "of matmul": "share_of_matmul",
        "decided otherwise": "decided_otherwise", "levels apart": "levels_apart_most",
    }  # fmt: skip
    for heading in [*columns, "distance, change"]:
        table.add_column(heading, justify="left" if not heading else "right")
    for line in found:
        mean, low, high = line["distance_change"]
        table.add_row(*(str(line[key]) for key in columns.values()), f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="of the run, such as model=adm256_uncond")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("benchmarks/ladder.py: there is no CUDA device here; give --device cpu, or run it where there is")
    device = resolve_device(args.device)
    common = [
        "dataset=avatars", "mask=half", "method=ddnm+isdiff", f"sampler.steps={args.steps}", f"limit={args.images}",
        f"runtime.device={args.device}", "metrics.names=[]", *args.overrides,
    ]  # fmt: skip
    ladder = rungs(resolve_precision("auto", device), args.batch, not args.no_compile)
    for rung in ladder:
        print(f"preparing: {rung.name}", file=sys.stderr)
        rung.prepare(common)
    for _ in range(args.repeats):
        for rung in ladder:
            print(f"running: {rung.name}", file=sys.stderr)
            rung.run()
    rates = {p: matmul_rate(device, DTYPES[p]) for p in {rung.experiment.precision for rung in ladder}}
    found = {
        "command": "python benchmarks/ladder.py " + " ".join(sys.argv[1:]),
        "images": args.images, "steps": args.steps, "repeats": args.repeats, "overrides": common,
        "device": environment.device_name(device), "threads": torch.get_num_threads(),
        "matmul_tflop_per_second": {p: round(rate, 4) for p, rate in rates.items()},
        "versions": environment.package_versions(), "rungs": report(ladder, rates),
    }  # fmt: skip
    out = args.out or Path(__file__).parent / "results" / f"ladder_{device.type}.json"
    with atomic_open(out) as stream:
        json.dump(found, stream, indent=1)
    console = Console(width=150)
    console.print(shown(found["rungs"], f"DDNM + IS-Diff, {args.images} images, {args.steps} steps, {found['device']}"))


if __name__ == "__main__":
    main()
