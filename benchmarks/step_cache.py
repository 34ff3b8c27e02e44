"""Measure whether it pays to reuse deep features between steps (DeepCache, Ma et al. 2024).

``python benchmarks/step_cache.py``. In every second (or third) call only the outermost level of the U-Net is run, on
top of what the levels below answered in the call before. The alternative at the same cost is to take fewer steps. Both
are held against all steps with the whole network, on deterministic DDNM: seconds, and the paired difference of
distances to the truth with its 95 % interval. All ways sample the same few images in turn, so that what else the
machine does falls on all of them; times are the median of those ratios. Writes ``benchmarks/results/step_cache.json``.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from isdiff import environment
from isdiff.config.composing import compose_run
from isdiff.io.files import atomic_open
from isdiff.metrics.intervals import estimate
from isdiff.metrics.lite0 import Lite0Features
from isdiff.metrics.samples import MeanStatistic
from isdiff.nets.unet import Downsample, UNet, run_stage
from isdiff.runs.experiment import Experiment


def reusing(net: UNet, every: int):
    """What ``run_stage`` is to be while only every so many calls run the stages below the outermost level.

    For images that go in step: the engine has a slot for each of them, and none is tried again.
    """
    outer = next(
        place for place, stage in enumerate(net.input_blocks) if any(isinstance(m, Downsample) for m in stage.modules())
    )
    deep = {id(stage) for stage in [*net.input_blocks[outer:], net.middle_block, *net.output_blocks[:-outer]]}
    kept: dict[int, torch.Tensor] = {}
    calls = 0

    def run(stage, h, emb):
        nonlocal calls
        calls += stage is net.input_blocks[0]
        if id(stage) not in deep:
            return run_stage(stage, h, emb)
        if (calls - 1) % every == 0:
            kept[id(stage)] = run_stage(stage, h, emb)
        return kept[id(stage)]

    return run


class Way:
    """So many steps with the deep stages run in every so-manieth call."""

    def __init__(self, mask: str, steps: int, every: int, args: argparse.Namespace) -> None:
        self.experiment = Experiment.of(
            compose_run(
                [
                    f"model={args.model}64", f"dataset={args.model}", f"mask={mask}", "method=ddnm", "sampler.repeat=1",
                    "sampler.eta=0", f"sampler.steps={steps}", f"limit={args.images}", "metrics.names=[]",
                    f"runtime.batch_size={args.group}", "runtime.device=cpu",
                ]
            )
        )  # fmt: skip
        self.every = every
        self.seconds: list[float] = []
        self.distances: list[float] = []

    def sample(self, ids: list[str]) -> None:
        experiment = self.experiment
        tasks = [experiment.task(image_id) for image_id in ids]
        with patch("isdiff.nets.unet.run_stage", reusing(experiment.prior.net, self.every)):
            begun = time.perf_counter()
            results = list(experiment.engine().run(tasks))
            self.seconds.append(time.perf_counter() - begun)
        inputs = [experiment.read(result.task.id) for result in results]
        truths = [given.pixels for given in inputs]
        pictures = [experiment.finish(result, given) for result, given in zip(results, inputs, strict=True)]
        self.distances += Lite0Features().extract(pictures, truths).values.tolist()

    def against(self, whole: "Way") -> dict:
        change = estimate(MeanStatistic(np.subtract(self.distances, whole.distances)))
        return {
            "times_faster": round(median(a / b for a, b in zip(whole.seconds, self.seconds, strict=True)), 2),
            "distance": round(float(np.mean(self.distances)), 4),
            "difference": [round(v, 4) for v in (change.value, change.low, change.high)],
        }


def compared(mask: str, args: argparse.Namespace) -> dict[str, dict]:
    """Every way against the first, which is the whole network in all steps."""
    plans = {
        "whole network": (args.steps, 1), "deep features every 2nd call": (args.steps, 2),
        "every 3rd": (args.steps, 3), "2/3 of the steps": (2 * args.steps // 3, 1),
        "half of the steps": (args.steps // 2, 1),
    }  # fmt: skip
    ways = {name: Way(mask, *plan, args) for name, plan in plans.items()}
    ids = ways["whole network"].experiment.ids()
    for first in range(0, len(ids), args.group):
        for way in ways.values():
            way.sample(ids[first : first + args.group])
    return {name: way.against(ways["whole network"]) for name, way in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--group", type=int, default=4, help="images at a time")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--model", default="photos", help="and dataset: photos or avatars")
    parser.add_argument("--masks", nargs="+", default=["half", "expand"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "step_cache.json")
    args = parser.parse_args()
    table = Table(title=f"{args.model}, {args.images} images, {args.steps} steps")
    for heading in ("mask", "", "x faster", "distance", "difference"):
        table.add_column(heading)
    found = {mask: compared(mask, args) for mask in args.masks}
    for mask, lines in found.items():
        for name, line in lines.items():
            table.add_row(mask, name, str(line["times_faster"]), str(line["distance"]), str(line["difference"]))
    report = {
        "command": "python benchmarks/step_cache.py " + " ".join(sys.argv[1:]), "images": args.images,
        "steps": args.steps, "device": environment.device_name(torch.device("cpu")), "threads": torch.get_num_threads(),
        "versions": environment.package_versions(), "found": found,
    }  # fmt: skip
    with atomic_open(args.out) as stream:
        json.dump(report, stream, indent=1)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
