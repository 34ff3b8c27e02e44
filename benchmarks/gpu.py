"""What batches, CUDA graphs and refilling bring on a GPU: ``python benchmarks/gpu.py [--device cuda]``.

- ``memory``: the most memory that a network call takes, and milliseconds an image, by batch size, until it runs out.
  On a CPU it is the peak of the process so far.
- ``graphs``: runs with ``runtime.compile`` true and graphs in turn; on a CPU the sentence that refuses graphs.
- ``refill``: DDNM + IS-Diff with 10, 30 and 60 % of attempts failing by the image's name, slots refilled against waves
  in turn, beside what the number of network batches would make of it.

Writes ``benchmarks/results/gpu_<device>.json``.
"""

import argparse
import hashlib
import json
import resource
import sys
import time
from pathlib import Path
from statistics import median

import torch
from engine import Waves
from throughput import overrides, seconds

from isdiff import environment
from isdiff.config.composing import compose_run
from isdiff.devices import resolve_device
from isdiff.engine import Engine
from isdiff.errors import UserError
from isdiff.io.files import atomic_open
from isdiff.refine import Refinement
from isdiff.runs.experiment import Experiment
from isdiff.trajectory import Task

SHARES = (0.1, 0.3, 0.6)


class Fails(Refinement):
    """Attempts that fail by the image's name and their number, a given share of them, whatever they look like."""

    def failing(self, share: float) -> "Fails":
        self.share, self.seen = share, {}
        return self

    def judge(self, task: Task, picture: torch.Tensor) -> float:
        self.seen[task.id] = attempt = self.seen.get(task.id, -1) + 1
        drawn = hashlib.sha256(f"{task.id}/{attempt}".encode()).digest()[0] / 256
        return self.tau + 1 if drawn < self.share else 0.0


def experiment_of(args: argparse.Namespace, batch: int, *more: str) -> Experiment:
    common = overrides(args.model, args.weights, args.device, batch, args.images)
    return Experiment.of(compose_run([*common, f"sampler.steps={args.steps}", *more, *args.overrides]))


@torch.inference_mode()
def memory(args: argparse.Namespace) -> dict:
    experiment, found = experiment_of(args, 1), {}
    prior, task = experiment.prior, experiment.task(experiment.ids()[0])
    for batch in args.batches:
        if prior.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(prior.device)
        columns = [task.image] * batch, [500] * batch, [task.condition] * batch
        try:
            spent = seconds(lambda columns=columns: prior.batch(*columns), prior.device, args.repeats)
        except torch.cuda.OutOfMemoryError:
            break
        found[str(batch)] = {
            "peak_mib": round(peak(prior.device)), "milliseconds_per_image": round(1000 * spent / batch, 3)
        }  # fmt: skip
    return found


def peak(device: torch.device) -> float:
    """MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def timed(engine: Engine, tasks: list[Task]) -> tuple[float, int]:
    """Seconds of a run, and its network batches."""
    batches = []
    engine.progress = batches.append
    begun = time.perf_counter()
    for result in engine.run([Task(t.id, t.image, t.hole, t.condition) for t in tasks]):
        result.picture.cpu()
    return time.perf_counter() - begun, len(batches)


def graphs(args: argparse.Namespace) -> dict:
    ways, times = {}, {}
    try:
        for way in ("graphs", "true"):  # the refusal comes before anything is compiled
            experiment = experiment_of(args, args.batch, "method=ddnm", f"runtime.compile={way}")
            ways[way] = experiment.engine(), [experiment.task(i) for i in experiment.ids()]
            timed(ways[way][0], ways[way][1][:1])  # compiles
    except UserError as error:
        return {"refused": str(error)}
    for _ in range(args.repeats):
        for way, run in ways.items():
            times.setdefault(way, []).append(timed(*run)[0])
    return {"seconds": times, "times_faster": round(median(times["true"]) / median(times["graphs"]), 3)}


def refill(args: argparse.Namespace) -> dict:
    experiment, found = experiment_of(args, args.batch, "method=ddnm+isdiff"), {}
    tasks = [experiment.task(i) for i in experiment.ids()]
    for share in SHARES:
        made: dict[type, list] = {Waves: [], Engine: []}
        for _ in range(args.repeats):
            for kind, runs in made.items():
                engine = experiment.engine()
                engine.__class__ = kind
                rule = engine.refinement
                engine.refinement = Fails(rule.criterion, rule.attempts, rule.tau, rule.checkpoint).failing(share)
                runs.append(timed(engine, tasks))
        waves, slots = made[Waves], made[Engine]
        found[f"{share:.0%}"] = {
            "times_faster": round(median(a / b for (a, _), (b, _) in zip(waves, slots, strict=True)), 3),
            "network_batches": {"waves": waves[0][1], "refilled": slots[0][1]},
            "seconds": {"waves": [round(t, 3) for t, _ in waves], "refilled": [round(t, 3) for t, _ in slots]},
        }
    return found


PARTS = {"memory": memory, "graphs": graphs, "refill": refill}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="adm256_uncond")
    parser.add_argument("--weights", default="random", help="'random', or 'own' for the model's")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", help="of the run")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py: there is no CUDA device here; give --device cpu, or run it where there is")
    args.weights = None if args.weights == "own" else args.weights
    device = resolve_device(args.device)
    report = {
        "command": "python benchmarks/gpu.py " + " ".join(sys.argv[1:]),
        "device": environment.device_name(device), "versions": environment.package_versions(),
    }  # fmt: skip
    for part in args.parts:
        report[part] = PARTS[part](args)
        out = args.out or Path(__file__).parent / "results" / f"gpu_{device.type}.json"
        with atomic_open(out) as stream:
            json.dump(report, stream, indent=1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
