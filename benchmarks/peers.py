"""The same network elsewhere and in its methods' own settings, side by side: ``python benchmarks/peers.py``.

A call: seconds of a network call for one image in diffusers' ``RePaintPipeline`` and in a float32 loop of one image a
call, against the engine. An image: DDNM and RePaint as published (resampled, float32, one image a call) against DDNM +
IS-Diff in the engine, with the paired difference of distances to the truth. Writes ``benchmarks/results/peers.json``.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
import torch
from diffusers import RePaintPipeline, RePaintScheduler
from ladder import Rung, pictures
from rich.console import Console
from rich.table import Table

from isdiff import environment
from isdiff.data.images import to_tensor
from isdiff.engine import Engine
from isdiff.io.files import atomic_open
from isdiff.metrics.intervals import estimate
from isdiff.metrics.lite0 import Lite0Features
from isdiff.metrics.samples import MeanStatistic

ONE = ["runtime.precision=fp32", "runtime.batch_size=1", "runtime.pad_to=1"]


class Answering(torch.nn.Module):
    """Our network with the face of diffusers' ``UNet2DModel``."""

    def __init__(self, net: torch.nn.Module, size: int) -> None:
        super().__init__()
        self.net, self.calls = net, 0
        self.config = SimpleNamespace(in_channels=3, sample_size=size)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def forward(self, x, timestep):
        self.calls += 1
        answer = self.net(x, torch.full((len(x),), int(timestep)), None)
        return SimpleNamespace(sample=answer[:, :3])


def diffusers_seconds_per_call(rung: Rung, batch: int, steps: int) -> float:
    """Of one network call for one image in the stock pipeline, without resampling."""
    unet = Answering(rung.experiment.prior.net, 64)
    pipeline = RePaintPipeline(unet=unet, scheduler=RePaintScheduler(beta_schedule="linear"))
    pipeline.set_progress_bar_config(disable=True)
    tasks = rung.tasks[:batch]
    images = torch.stack([to_tensor(rung.experiment.read(task.id).pixels) for task in tasks])
    masks = torch.stack([(~task.hole).float() for task in tasks])
    begun = time.perf_counter()
    pipeline(
        images, masks, num_inference_steps=steps, eta=0.0, jump_length=1, jump_n_sample=1, output_type="np",
        generator=[torch.Generator().manual_seed(i) for i in range(batch)],
    )  # fmt: skip
    return (time.perf_counter() - begun) / unet.calls / batch


def distances(rung: Rung) -> np.ndarray:
    """To the truth, (N,), of the images that the rung made."""
    truths = [rung.experiment.read(result.task.id).pixels for result in rung.results]
    return Lite0Features().extract(pictures(rung), truths).values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="the compiled network too")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "peers.json")
    args = parser.parse_args()
    common = [
        "dataset=photos", "mask=half", f"sampler.steps={args.steps}", f"limit={args.images}", "metrics.names=[]",
        "runtime.device=cpu",
    ]  # fmt: skip
    nchw, many = torch.contiguous_format, min(16, args.images)
    plain = {"one image a call, float32": ["method=repaint", "sampler.repeat=1", *ONE]}
    ours = {
        "engine, RePaint": ["method=repaint", "sampler.repeat=1", f"runtime.batch_size={many}"],
        "engine, DDNM + IS-Diff": ["method=ddnm+isdiff", f"runtime.batch_size={many}"],
    }
    if args.compile:
        ours["engine, RePaint, compiled"] = [*ours["engine, RePaint"], "runtime.compile=true"]
    published = {"DDNM as published": ["method=ddnm", *ONE], "RePaint as published": ["method=repaint", *ONE]}
    rungs = {name: Rung(name, overrides, memory_format=nchw) for name, overrides in (plain | published).items()}
    rungs |= {name: Rung(name, overrides, Engine) for name, overrides in ours.items()}
    for rung in rungs.values():
        rung.prepare(common)
    stock: dict[str, list[float]] = {}
    for repeat in range(args.repeats):
        for name, rung in rungs.items():
            if name not in published or not repeat:  # these take minutes
                print(f"running: {name}", file=sys.stderr)
                rung.run()
        for batch in (1, min(8, args.images)):
            found = diffusers_seconds_per_call(rungs["one image a call, float32"], batch, args.steps)
            stock.setdefault(f"diffusers' RePaintPipeline, {batch} a call", []).append(found)
    calls = {name: sum(result.calls for result in rung.results) for name, rung in rungs.items()}
    per_call = {name: median(found) for name, found in stock.items()}
    per_call |= {name: median(rung.times) / calls[name] for name, rung in rungs.items() if name not in published}
    reference = rungs["engine, DDNM + IS-Diff"]
    images = {}
    for name in [*published, reference.name]:
        change = estimate(MeanStatistic(distances(reference) - distances(rungs[name])))
        images[name] = {
            "seconds": round(median(rungs[name].times) / args.images, 4), "calls": calls[name] / args.images,
            "times_ours": round(median(rungs[name].times) / median(reference.times), 2),
            "distance_of_ours_minus_this": [round(v, 4) for v in (change.value, change.low, change.high)],
        }  # fmt: skip
    best = per_call["engine, RePaint"]
    report = {
        "command": "python benchmarks/peers.py " + " ".join(sys.argv[1:]), "images": args.images, "steps": args.steps,
        "milliseconds_per_image_and_call": {name: round(1000 * spent, 3) for name, spent in per_call.items()},
        "times_the_engine": {name: round(spent / best, 2) for name, spent in per_call.items()},
        "an_image": images, "precision": reference.experiment.precision,
        "device": environment.device_name(torch.device("cpu")), "threads": torch.get_num_threads(),
        "versions": environment.package_versions(),
    }  # fmt: skip
    with atomic_open(args.out) as stream:
        json.dump(report, stream, indent=1)
    table = Table(title=f"{args.images} photographs, {args.steps} steps, {report['device']}")
    for heading in ("", "ms a call", "x engine", "s an image", "calls", "x ours", "distance, ours - this"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name in dict.fromkeys([*per_call, *images]):
        call = [str(report[key].get(name, "")) for key in ("milliseconds_per_image_and_call", "times_the_engine")]
        image = images.get(name, {})
        table.add_row(
            name,
            *call,
            *(str(image.get(key, "")) for key in ("seconds", "calls", "times_ours", "distance_of_ours_minus_this")),
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
