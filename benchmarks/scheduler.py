"""A million images on a thousand GPUs, simulated: ``python benchmarks/scheduler.py [--images N --gpus N]``.

Static shares ``ids[rank::world]`` against a shared queue from which every GPU takes the next image when it has
room. An image costs the network calls that DDNM + IS-Diff makes for its number of attempts, from the engine's own
plan; 10, 30 or 60 % of images are retried, and of those as many once more. Three cases: which images are retried is
chance; it goes by the image's place (ten variants of each, of which the first are hard and retried once); chance again,
and one GPU in a hundred runs at half speed. Then what else grows: ids, records, pictures, and how many takes a second
the store behind torchrun's queue serves here. Writes ``benchmarks/results/scheduler.md``.
"""

import argparse
import heapq
import json
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
from scaling import calls_of, table
from torch.distributed import TCPStore

from isdiff.experiments.compare import compose_run
from isdiff.experiments.config import Setup
from isdiff.experiments.records import parsed
from isdiff.io.files import atomic_open

RESULTS = Path(__file__).parent / "results"
SHARES = (0.1, 0.3, 0.6)
CASES = ("chance", "by place", "slow GPUs")


def calls_by_attempts() -> list[int]:
    """Network calls of an image with one attempt, two, ...; the last of these passed."""
    engine = Setup.of(compose_run(["dataset=imagenet", "method=ddnm+isdiff"])).engine(None)  # type: ignore[arg-type]
    assert engine.refinement is not None
    return [calls_of(engine, attempts) for attempts in range(1, engine.refinement.attempts + 1)]


def work(case: str, share: float, images: int, calls: list[int], rng: np.random.Generator) -> np.ndarray:
    """Network calls of every image, (images,)."""
    if case == "by place":
        return np.where(np.arange(images) % 10 < 10 * share, calls[1], calls[0]).astype(float)
    attempts = np.minimum(rng.geometric(1 - share, images), len(calls))
    return np.array(calls, float)[attempts - 1]


def static(costs: np.ndarray, speeds: np.ndarray) -> np.ndarray:
    """When each GPU ends that has ``costs[rank::world]``, (gpus,)."""
    return np.array([costs[rank :: len(speeds)].sum() for rank in range(len(speeds))]) / speeds


def queued(costs: np.ndarray, speeds: np.ndarray) -> np.ndarray:
    """When each GPU ends that takes the next image as soon as it is free, (gpus,)."""
    free = [(0.0, rank) for rank in range(len(speeds))]
    slowness = (1 / speeds).tolist()
    for cost in costs.tolist():
        until, rank = free[0]
        heapq.heapreplace(free, (until + cost * slowness[rank], rank))
    return np.array([until for until, _ in free])


def simulated(images: int, gpus: int) -> list[list[str]]:
    calls, rows = calls_by_attempts(), []
    for case in CASES:
        for share in SHARES:
            costs = work(case, share, images, calls, np.random.default_rng(0))
            speeds = np.ones(gpus)
            if case == "slow GPUs":
                speeds[::100] = 0.5
            best = costs.sum() / speeds.sum()
            for name, ends in (("static", static(costs, speeds)), ("queue", queued(costs, speeds))):
                occupied = best / ends.max()
                tail = (ends.max() - ends.min()) / calls[0]
                rows.append([case, f"{share:.0%}", name, f"{occupied:.2%}", f"{ends.max() / best:.4f}", f"{tail:.1f}"])
    return rows


def grown(images: int) -> dict[str, float]:
    """Sizes and times of what a run keeps for so many images, extrapolated from a part of them."""
    part = min(images, 50_000)
    record = {
        "id": "imagenet-00000001", "seed": 0, "network_calls": 100, "attempts": 1, "chosen_attempt": 0,
        "dce": [1.234567], "start_timesteps": [990.0], "seconds": 12.3456, "image_sha": "0" * 16, "mask_sha": "0" * 16,
        "stamps": ["1700000000000000000-123456", "generated", ""],
    }  # fmt: skip
    line = json.dumps(record)
    begun = time.perf_counter()
    for _ in range(part):
        parsed(line)
    return {
        "ids that rank 0 sends, MB": images * len(json.dumps(record["id"]) + ", ") / 1e6,
        "per_image.jsonl, MB": images * (len(line) + 1) / 1e6,
        "reading per_image.jsonl, s": (time.perf_counter() - begun) * images / part,
        "pictures of 256x256 at most, GB": images * 3 * 256**2 / 1e9,
    }


def takes(count: int = 5000) -> float:
    """How many images a second one rank can take from a store on this machine."""
    store = TCPStore("localhost", 0, is_master=True, timeout=timedelta(seconds=30), wait_for_workers=False)
    begun = time.perf_counter()
    for _ in range(count):
        store.add("next", 1)
    return count / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10**6)
    parser.add_argument("--gpus", type=int, default=10**3)
    parser.add_argument("--out", type=Path, default=RESULTS / "scheduler.md")
    args = parser.parse_args()
    heads = ["retries", "retried", "shares", "GPUs at work", "time (least: 1)", "last minus first end, in images"]
    text = [
        f"# {args.images:,} images on {args.gpus:,} GPUs, simulated", "",
        f"Network calls with one attempt, two, ...: {calls_by_attempts()}.", "",
        *table(heads, simulated(args.images, args.gpus)), "",
        *table(["what grows", "here"], [[k, f"{v:,.1f}"] for k, v in grown(args.images).items()]), "",
        f"Takes from a queue, a second: {takes():,.0f}.", "",
    ]  # fmt: skip
    with atomic_open(args.out) as stream:
        stream.write("\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
