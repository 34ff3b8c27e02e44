"""Every full-size experiment for two steps on untrained networks: ``python benchmarks/fullsize.py [--only TEXT]``.

{celeba, imagenet, places2} x {wide, half, expand} x {ddnm, repaint} x {plain, +isdiff}, and the latent methods on the
sizes of Stable Diffusion 2 and 1.5 at 512x512; one image each, on the CPU in bf16, each in its own process. Shows that
the paper's experiments compose, load and fit into memory, before anyone has fetched weights or images: images are drawn
and laid out as the datasets have them. Writes
``benchmarks/results/fullsize.json``; an experiment that is in it already is not run again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from PIL import Image

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.data.files import BenchmarkDataset
from isdiff.devices import resolve_device
from isdiff.environment import device_name
from isdiff.io.files import atomic_open

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "scripts"))
from training.drawn import draw, split_ids

DATASETS, MASKS = ("celeba", "imagenet", "places2"), ("wide", "half", "expand")
METHODS = ("ddnm", "ddnm+isdiff", "repaint", "repaint+isdiff")
LATENT_METHODS = ("si", "si+isdiff", "powerpaint", "powerpaint+isdiff", "hd_painter")
LATENT_MODELS = ("sd2_inpainting", "sd15_inpainting")
EXPERIMENTS = [
    *((*which, None) for which in product(DATASETS, MASKS, METHODS)),
    *(("places2", "wide", method, model) for model, method in product(LATENT_MODELS, LATENT_METHODS)),
]


def lay_out(name: str, folder: Path) -> None:
    """The benchmark's first image, drawn, under the name that the real one has."""
    data = build(compose_run([f"dataset={name}", f"dataset.path={folder}"]).dataset, BenchmarkDataset)
    number = data.numbers[data.ids()[0]]
    pixels = draw(split_ids("landscapes", "dev", 1)[0], 512).pixels
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / data.patterns[0].format(number=number))


def run(dataset: str, mask: str, method: str, model: str | None, scratch: Path) -> dict:
    """One experiment in its own process; its summary, with the seconds of the whole command."""
    command = [
        sys.executable, str(ROOT / "scripts" / "run.py"), f"dataset={dataset}", f"mask={mask}", f"method={method}",
        f"dataset.path={scratch / dataset}", f"output_root={scratch / 'out'}", "model.weights=random", "limit=1",
        "sampler.steps=2", "metrics.names=[]", "runtime.device=cpu", "runtime.precision=bf16", "runtime.pad_to=1",
        *([] if model is None else [f"model={model}"]),
    ]  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    summary = next((scratch / "out" / dataset / mask / method).glob("*/summary.json"))
    return json.loads(summary.read_text()) | {"command_seconds": time.perf_counter() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run experiments whose name holds this, e.g. celeba/half")
    args = parser.parse_args()
    target = ROOT / "benchmarks" / "results" / "fullsize.json"
    found = json.loads(target.read_text()) if target.exists() else {}
    for dataset, mask, method, model in EXPERIMENTS:
        name = "/".join(filter(None, (dataset, mask, method, model)))
        if args.only not in name or name in found:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            lay_out(dataset, Path(scratch) / dataset)
            summary = run(dataset, mask, method, model, Path(scratch))
        found[name] = {
            "network_calls": summary["network_calls_per_image"],
            "peak_memory_mib": summary["peak_memory_mib"],
            "seconds": round(summary["command_seconds"], 1),
            "device": device_name(resolve_device("cpu")),
        }
        print(f"{name}: {found[name]}", flush=True)
        with atomic_open(target) as stream:
            json.dump(found, stream, indent=1)


if __name__ == "__main__":
    main()
