"""Time per image of full-size networks on one device: ``python benchmarks/throughput.py [--device cuda]``.

For each model: the time of one network call by batch size, its floating-point operations as torch counts them, and the
share of what the device reaches in plain matrix products; then whole runs of each method at the best batch size, on
drawn images with half of each hidden. Weights do not change the time, so they are random. Writes
``benchmarks/results/throughput_<device>.json``.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from isdiff import environment
from isdiff.config.composing import compose_run
from isdiff.devices import DTYPES, resolve_device
from isdiff.io.files import atomic_open
from isdiff.runs.experiment import Experiment, ModelCache
from isdiff.trajectory import Task

RESULTS = Path(__file__).parent / "results"


def seconds(action, device: torch.device, repeats: int) -> float:
    """Of one call, after one to warm up."""
    action()
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    begun = time.perf_counter()
    for _ in range(repeats):
        action()
    wait()
    return (time.perf_counter() - begun) / repeats


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """The most TFLOP/s of three sizes of square matrix products."""
    rates = []
    for n in (2048, 4096, 8192) if device.type == "cuda" else (512, 1024, 2048):
        a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
        rates.append(2 * n**3 / seconds(lambda a=a, b=b: a @ b, device, 20) / 1e12)
    return max(rates)


def overrides(model: str, weights: str | None, device: str, batch: int, images: int) -> list[str]:
    """A run of ``model`` on drawn images of its size."""
    size = compose_run([f"model={model}"]).model.image_size
    return [
        "dataset=landscapes", f"dataset.size={size}", "dataset.split=dev", "mask=half", f"model={model}",
        f"runtime.device={device}", f"runtime.batch_size={batch}", f"limit={images}", "metrics.names=[]",
        *([] if weights is None else [f"model.weights={weights}"]),
    ]  # fmt: skip


@torch.inference_mode()
def calls(experiment: Experiment, batches: list[int], repeats: int) -> tuple[dict[int, float], float]:
    """Seconds of a network call for one image, by batch size as far as memory goes; TFLOP of it."""
    prior, size = experiment.prior, experiment.setup.model.image_size
    dtype = DTYPES[experiment.precision]

    def ask(batch: int) -> None:
        x = torch.zeros(batch, 3, size, size, device=prior.device, dtype=dtype)
        x = x.to(memory_format=torch.channels_last)
        prior.net(x, torch.full((batch,), 500, device=prior.device), None)

    with FlopCounterMode(display=False) as counter:
        ask(1)
    found: dict[int, float] = {}
    for batch in batches:
        try:
            found[batch] = seconds(lambda batch=batch: ask(batch), prior.device, repeats) / batch
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
    return found, counter.get_total_flops() / 1e12


def whole_run(common: list[str], method: str, steps: int, model_cache: ModelCache) -> dict:
    """All images of ``common`` through the engine, without saving them."""
    experiment = Experiment.of(compose_run([*common, f"method={method}", f"sampler.steps={steps}"]))
    experiment.model_cache = model_cache  # the model is loaded already
    tasks: list[Task] = [experiment.task(i) for i in experiment.ids()]
    begun = time.perf_counter()
    results = list(experiment.engine().run(tasks))
    spent = time.perf_counter() - begun
    made = sum(r.calls for r in results) / len(results)
    return {"seconds_per_image": round(spent / len(tasks), 4), "network_calls_per_image": made}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["adm256_uncond", "celeba_hq"])
    parser.add_argument("--methods", nargs="+", default=["ddnm", "ddnm+isdiff"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--weights", default="random", help="'random', or 'own' for the model's")
    parser.add_argument("--images", type=int, help="in whole runs; default: the best batch size")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("benchmarks/throughput.py: there is no CUDA device here; give --device cpu, or run it where there is")
    device = resolve_device(args.device)
    report = {
        "command": "python benchmarks/throughput.py " + " ".join(sys.argv[1:]),
        "device": environment.device_name(device), "versions": environment.package_versions(), "models": {},
    }  # fmt: skip
    for model in args.models:
        weights = None if args.weights == "own" else args.weights
        experiment = Experiment.of(compose_run(overrides(model, weights, args.device, 1, 1)))
        rate = matmul_rate(device, DTYPES[experiment.precision])
        times, tflop = calls(experiment, args.batches, args.repeats)
        best = min(times, key=times.__getitem__)
        common = overrides(model, weights, args.device, best, args.images or best)
        report["models"][model] = {
            "precision": experiment.precision, "tflop_per_call": round(tflop, 5),
            "milliseconds_per_image_and_call": {str(b): round(1000 * t, 3) for b, t in times.items()},
            "best_batch_size": best, "tflop_per_second": round(tflop / times[best], 3),
            "matmul_tflop_per_second": round(rate, 3), "share_of_matmul": round(tflop / times[best] / rate, 3),
            "steps": args.steps, "images": args.images or best,
            "runs": {method: whole_run(common, method, args.steps, experiment.model_cache) for method in args.methods},
        }  # fmt: skip
        out = args.out or RESULTS / f"throughput_{device.type}.json"
        with atomic_open(out) as stream:
            json.dump(report, stream, indent=1)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
