"""What the engine's batching and the seed cost or save, measured side by side: ``python benchmarks/engine.py``.

Four ways to run the same images (DDNM + IS-Diff, shipped model) in turn, repeated; and the share of the time that
seeds and refinement take. Writes ``benchmarks/results/engine.json``.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from isdiff import environment
from isdiff.criteria.cross_entropy import CrossEntropy
from isdiff.engine import Engine
from isdiff.experiments.compare import compose_run
from isdiff.experiments.experiment import Experiment
from isdiff.seeds.distributions import DistributionSeed
from isdiff.trajectory import Task


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


def timed(cls: type, name: str, spent: dict[str, float]):
    """Count the seconds spent in ``cls.name``; returns what undoes it."""
    original = getattr(cls, name)

    def wrapper(self, *args):
        begun = time.perf_counter()
        try:
            return original(self, *args)
        finally:
            spent[cls.__name__] = spent.get(cls.__name__, 0.0) + time.perf_counter() - begun

    setattr(cls, name, wrapper)
    return lambda: setattr(cls, name, original)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    common = ["method=ddnm+isdiff", f"sampler.steps={args.steps}", f"limit={args.images}", *args.overrides]
    ways = {
        "one image at a time": (Engine, ["runtime.batch_size=1"]),
        "batches of 16 in waves": (Waves, ["runtime.batch_size=16"]),
        "16 slots, refilled": (Engine, ["runtime.batch_size=16"]),
        "16 slots, refilled, float32": (Engine, ["runtime.batch_size=16", "runtime.precision=fp32"]),
    }
    runs, experiment = {}, None
    for name, (kind, overrides) in ways.items():
        experiment = Experiment.of(compose_run([*common, *overrides]))
        engine = experiment.engine()
        engine.__class__ = kind
        runs[name] = (engine, [experiment.task(i) for i in experiment.ids()])
        seconds(engine, runs[name][1][:4])  # warm-up
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, (engine, tasks) in runs.items():
            times[name].append(seconds(engine, tasks))
    spent: dict[str, float] = {}
    undo = [timed(DistributionSeed, "fill", spent), timed(CrossEntropy, "__call__", spent)]
    engine, tasks = runs["16 slots, refilled"]
    # Fresh tasks, so that every mixture is fitted anew.
    fresh = [Task(t.id, t.image, t.hole, t.condition, t.truth) for t in tasks]
    whole = seconds(engine, fresh)
    for restore in undo:
        restore()
    base = median(times["one image at a time"])
    report = {
        "command": "python benchmarks/engine.py " + " ".join(sys.argv[1:]),
        "images": args.images, "steps": args.steps, "repeats": args.repeats,
        "seconds_per_image": {k: [round(t / args.images, 4) for t in v] for k, v in times.items()},
        "speed_against_one_at_a_time": {k: round(base / median(v), 2) for k, v in times.items()},
        "share_of_time": {
            "seed": round(spent["DistributionSeed"] / whole, 4), "refinement": round(spent["CrossEntropy"] / whole, 4)
        },
        "device": environment.device_name(experiment.device), "threads": torch.get_num_threads(),
        "versions": environment.package_versions(),
    }  # fmt: skip
    out = Path(__file__).parent / "results" / "engine.json"
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
