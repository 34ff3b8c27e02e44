"""How much memory measuring takes: ``python benchmarks/measure_memory.py --images 5000``.

Writes synthetic 512x512 results, truths and records of a run into a temporary folder (about 50 KB an image, no two
alike) and measures them with the metrics that need no download. Reports the memory of the process at its peak and fails
above ``--limit`` GiB. ``--growth`` measures half of the images as well and reports what each further one took. With
``--different K`` only K pictures differ, so that the networks look at no more than those (in portions, as ever) while
all else holds as many images as are asked for: minutes instead of an hour, and the same peak.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

METRICS = ["lite0_perceptual", "lite0_frechet", "lite0_kid", "ssim"]


def picture(number: int, size: int, shift: int) -> np.ndarray:
    """A smooth picture with a noisy square, other for every number and shift; (size, size, 3) uint8."""
    rng = np.random.default_rng([number, shift])
    slopes = rng.uniform(-1, 1, (2, 3))
    ramp = np.linspace(0, 1, size)[:, None, None]
    pixels = 127 + 60 * (slopes[0] * ramp + slopes[1] * ramp.transpose(1, 0, 2))
    edge = size // 8
    left, top = rng.integers(size - edge, size=2)
    pixels[top : top + edge, left : left + edge] += rng.normal(0, 30, (edge, edge, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def make_run(folder: Path, images: int, size: int, metrics: list[str], different: int | None = None):
    """A finished run and its truths, as ``scripts/run.py`` would have left them; the experiment and its records."""
    from isdiff.config.composing import compose_run
    from isdiff.data.images import pixels_hash
    from isdiff.runs.experiment import Experiment

    different = different or images
    truths = folder / "truths"
    truths.mkdir()
    for i in range(images):
        Image.fromarray(picture(i % different, size, 0)).save(truths / f"{i:05d}.png", compress_level=1)
    settings = ["dataset=folder", f"dataset.path={truths}", f"dataset.size={size}", f"output_root={folder / 'out'}"]
    names = f"metrics.names=[{','.join(metrics)}]"
    experiment = Experiment.of(compose_run([*settings, "model=avatars64", "method=ddnm", names]))
    records = []
    for image_id in experiment.ids():
        result = picture(int(image_id) % different, size, 1)
        record = {
            "id": image_id, "run": experiment.hash, "seed": 0, **experiment.network,
            "network_calls": 1, "attempts": 1, "chosen_attempt": 0, "seconds": 0.0, "dce": [],
            "start_timesteps": [999], "image_sha": pixels_hash(experiment.dataset.image(image_id)),
            "mask_sha": "0" * 16, "picture_sha": pixels_hash(result), "stamps": experiment.stamps(image_id),
        }  # fmt: skip
        experiment.store.add(result, record)
        records.append(record)
    return experiment, records


def measured(images: int, size: int, metrics: list[str], bootstrap: int, different: int, pipe) -> None:
    """Body of a process of its own, whose peak is then that of measuring: values, peak in MiB before and after."""
    from isdiff.metrics.intervals import estimate
    from isdiff.runs.measure import samples

    with tempfile.TemporaryDirectory() as folder:
        experiment, records = make_run(Path(folder), images, size, metrics, different)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        begun = time.perf_counter()
        found, skipped = samples(experiment, records, experiment.setup.metrics)
        assert not skipped, skipped
        values = {name: estimate(sample, bootstrap).value for name, sample in found.items()}
        spent = time.perf_counter() - begun
        pipe.send((values, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, spent))


def in_a_process(*args) -> tuple[dict[str, float], float, float, float]:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measured, args=(*args, theirs))
    process.start()
    theirs.close()
    found = mine.recv()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--metrics", nargs="+", default=METRICS)
    parser.add_argument("--bootstrap", type=int, default=10)
    parser.add_argument("--limit", type=float, default=4.0, help="GiB")
    parser.add_argument("--growth", action="store_true", help="also measure half of the images")
    parser.add_argument("--different", type=int, help="pictures that are not alike; all")
    args = parser.parse_args()
    different = args.different or args.images
    values, before, peak, spent = in_a_process(args.images, args.size, args.metrics, args.bootstrap, different)
    report = {
        "images": args.images, "different": different, "size": args.size, "values": values, "seconds": round(spent, 1),
        "peak_mib_before_measuring": round(before), "peak_mib": round(peak),
    }  # fmt: skip
    if args.growth:
        half = in_a_process(args.images // 2, args.size, args.metrics, args.bootstrap, different)
        report["kib_for_each_further_image"] = round((peak - half[2]) * 1024 / (args.images - args.images // 2), 1)
    print(json.dumps(report, indent=1))
    if peak > args.limit * 1024:
        sys.exit(f"isdiff: measuring took {peak / 1024:.1f} GiB, more than {args.limit}")


if __name__ == "__main__":
    main()
