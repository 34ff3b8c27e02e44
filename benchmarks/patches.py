"""What ``model=patches`` takes beside others that fill holes: ``python benchmarks/patches.py``.

One photograph at several sizes, all ways in turn and repeatedly: DDNM + IS-Diff with the picture's own patches,
OpenCV's Telea, PatchMatch in a pyramid (``pip install patchmatch-cython``), the shipped network of photographs where
the picture is of its size, and, once, patches by brute force (all windows compared at all scales) where that ends.

- ``huge``: 12 megapixels with an object of 3 %, each way in a fresh process, with its most memory; patches through
  ``isdiff.inpaint``.
- ``small``, ``medium``, ``large``: half of 64x64 and of 256x256, and 640x480 with 37 % hidden.
- ``holes``: 256x256 with holes of 2 to 50 %.

Writes ``patches.json`` and ``patches.md`` into ``benchmarks/results``.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from isdiff import environment
from isdiff.config.composing import compose_run
from isdiff.data.images import load_rgb, to_tensor
from isdiff.engine import Engine
from isdiff.io.files import atomic_open
from isdiff.priors.patches.prior import PatchPrior, Pyramid
from isdiff.runs.experiment import Experiment
from isdiff.trajectory import Task

PHOTO = Path(__file__).parents[1] / "data" / "photos" / "test" / "explore-monuments-egypt-meidumpyramid.webp"
OURS, BRUTE, NETWORK, TELEA, PATCHMATCH = "patches", "brute force", "photos64", "Telea", "PatchMatch"
FAST = (OURS, TELEA, PATCHMATCH)
WAYS = (*FAST, NETWORK, BRUTE)


@dataclass(frozen=True)
class Case:
    """A picture (H, W, 3) uint8 with a hole (H, W), and who fills it."""

    name: str
    pixels: np.ndarray
    hole: np.ndarray
    ways: tuple[str, ...]

    def task(self) -> Task:
        return Task(self.name, to_tensor(self.pixels), torch.from_numpy(self.hole)[None])


def photograph(width: int, height: int) -> np.ndarray:
    """The middle of the photograph, in this size."""
    image = load_rgb(PHOTO)
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
    box = (left, top, left + scale * width, top + scale * height)
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC, box=box))


def right_half(width: int, height: int) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[:, width // 2 :] = True
    return hole


def middle(width: int, height: int, share: float) -> np.ndarray:
    """A box in the middle that is this share of the picture."""
    hole = np.zeros((height, width), bool)
    high, wide = (round(size * share**0.5) for size in (height, width))
    top, left = (height - high) // 2, (width - wide) // 2
    hole[top : top + high, left : left + wide] = True
    return hole


def ellipse(width: int, height: int, share: float) -> np.ndarray:
    rows, columns = (axis.astype(np.float32) for axis in np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    return rows**2 + columns**2 < 4 * share / np.pi


def small() -> list[Case]:
    return [Case("64x64, half", photograph(64, 64), right_half(64, 64), WAYS)]


def medium() -> list[Case]:
    return [Case("256x256, half", photograph(256, 256), right_half(256, 256), (*FAST, BRUTE))]


def large() -> list[Case]:
    return [Case("640x480, 37 %", photograph(640, 480), middle(640, 480, 0.37), FAST)]


def holes() -> list[Case]:
    shares = (0.02, 0.05, 0.1, 0.2, 0.5)
    return [Case(f"256x256, {share:.0%}", photograph(256, 256), middle(256, 256, share), FAST) for share in shares]


def huge() -> Case:
    return Case("4000x3000, 3 %", photograph(4000, 3000), ellipse(4000, 3000, 0.03), FAST)


CASES: dict[str, Callable[[], list[Case]]] = {"small": small, "medium": medium, "large": large, "holes": holes}
PARTS = ("huge", *CASES)  # before this process has grown, which its children's memory would begin with


def engine_of(way: str, steps: int) -> Engine:
    model = NETWORK if way == NETWORK else "patches"
    engine = Experiment.of(compose_run([
        f"model={model}", "method=ddnm+isdiff", f"sampler.steps={steps}", "dataset=photos", "mask=half",
        "runtime.device=cpu", "metrics.names=[]",
    ])).engine()  # fmt: skip
    if way == BRUTE:
        assert isinstance(engine.prior, PatchPrior)
        engine.prior = PatchPrior(engine.prior.levels, replace(engine.prior.settings, compared=10**12, depth=1e9))
    return engine


class Fillers:
    """Each way as a function of a case; what can be loaded before is not counted."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.engines: dict[str, Engine] = {}

    def prepare(self, way: str) -> None:
        if way in (OURS, BRUTE, NETWORK) and way not in self.engines:
            self.engines[way] = engine_of(way, self.steps)

    def fill(self, way: str, case: Case) -> None:
        if way in self.engines:
            engine = self.engines[way]
            (result,) = engine.run([engine.prior.prepare(case.task())])
            if result.failure:
                raise SystemExit(f"{way} cannot fill {case.name}: {result.failure}")
        else:
            classical(way, case)


def classical(way: str, case: Case) -> np.ndarray:
    """Filled by OpenCV or by PatchMatch, (H, W, 3) uint8."""
    if way == TELEA:
        return cv2.inpaint(case.pixels, case.hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    import patchmatch_cython

    return patchmatch_cython.inpaint_pyramid(case.pixels, case.hole, seed=0, em_loops=3)


def known_windows(case: Case, prior: PatchPrior) -> int:
    """Of the finest scale, mirrored ones included."""
    pyramid = prior.prepare(case.task()).condition
    assert isinstance(pyramid, Pyramid)
    return len(pyramid.levels[1].windows)


def measure(case: Case, fillers: Fillers, repeats: int) -> dict:
    """Seconds of each way, all of them in turn."""
    seconds: dict[str, list[float]] = {way: [] for way in case.ways}
    for way in case.ways:
        fillers.prepare(way)
    if NETWORK in case.ways:
        fillers.fill(NETWORK, case)  # warm
    for repeat in range(repeats):
        for way, spent in seconds.items():
            if way == BRUTE and repeat:  # takes minutes
                continue
            print(f"running: {case.name}, {way}", file=sys.stderr)
            begun = time.perf_counter()
            fillers.fill(way, case)
            spent.append(time.perf_counter() - begun)
    prior = fillers.engines[OURS].prior
    assert isinstance(prior, PatchPrior)
    return described(case, known_windows(case, prior), seconds)


def described(case: Case, windows: int | None, seconds: dict[str, list[float]]) -> dict:
    ours = seconds.get(OURS)
    return {
        "case": case.name, "hole_pixels": int(case.hole.sum()), "known_windows": windows,
        "seconds": {way: [round(value, 4) for value in spent] for way, spent in seconds.items()},
        "times_ours": {
            way: round(median(a / b for a, b in zip(spent, ours, strict=False)), 3)
            for way, spent in seconds.items() if ours
        },
    }  # fmt: skip


def alone(way: str, steps: int) -> None:
    """The huge picture in this process; says what it took."""
    case = huge()
    cv2.setNumThreads(torch.get_num_threads())
    before = peak_mib()
    begun = time.perf_counter()
    if way == OURS:
        import isdiff

        isdiff.inpaint(case.pixels, case.hole, model="patches", steps=steps)
    else:
        classical(way, case)
    print(json.dumps({"seconds": time.perf_counter() - begun, "before": before, "peak": peak_mib()}))


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure_huge(repeats: int, steps: int) -> dict:
    """Each way in fresh processes; of one that fails its last line."""
    case, seconds, memory, failed = huge(), {}, {}, {}
    for _ in range(repeats):
        for way in case.ways:
            if way in failed:
                continue
            print(f"running: {case.name}, {way}", file=sys.stderr)
            command = [sys.executable, __file__, "--alone", way, "--steps", str(steps)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                failed[way] = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
                seconds.pop(way, None)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            seconds.setdefault(way, []).append(found["seconds"])
            memory[way] = {"peak_mib": round(found["peak"]), "peak_mib_before": round(found["before"])}
    return described(case, None, seconds) | {"memory": memory, "failed": failed}


HEADINGS = ("picture", "hole, pixels", "known windows", *(f"{way}, s" for way in WAYS), "x patches", "peak, MiB")


def row(found: dict) -> list[str]:
    seconds, memory = found["seconds"], found.get("memory", {})
    windows = found["known_windows"]
    return [
        found["case"], f"{found['hole_pixels']:,}", "" if windows is None else f"{windows:,}",
        *(f"{median(seconds[way]):.3f}" if way in seconds else "" for way in WAYS),
        ", ".join(f"{way} {ratio:.2f}" for way, ratio in found["times_ours"].items() if way != OURS),
        ", ".join(f"{way} {each['peak_mib']:,}" for way, each in memory.items()),
    ]  # fmt: skip


def written(report: dict) -> str:
    """As Markdown."""
    lines = [
        "# Time of model=patches", "", f"`{report['command']}`", "",
        f"{report['device']}; medians of {report['repeats']}, all ways in turn (brute force once); DDNM + IS-Diff, "
        f'{report["steps"]} steps. "x patches" is the time of others over that of patches.{said_of_memory(report)}', "",
        "| " + " | ".join(HEADINGS) + " |", "| " + " | ".join("---" for _ in HEADINGS) + " |",
        *("| " + " | ".join(row(found)) + " |" for found in report["cases"]),
    ]  # fmt: skip
    failed = [(found["case"], *each) for found in report["cases"] for each in found.get("failed", {}).items()]
    lines += ["", *(f"{case}, {way}: {why}" for case, way, why in failed)] if failed else []
    return "\n".join(lines) + "\n"


def said_of_memory(report: dict) -> str:
    begun = [each["peak_mib_before"] for found in report["cases"] for each in found.get("memory", {}).values()]
    if not begun:
        return ""
    what = " Where a peak is given, every way had fresh processes: their time has what they load,"
    return f"{what} and {max(begun):,} MiB of the peak is what is there before."


def shown(cases: Sequence[dict], title: str) -> Table:
    table = Table(title=title)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in (HEADINGS[0], *HEADINGS[-2:]) else "right")
    for found in cases:
        table.add_row(*row(found))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder")
    parser.add_argument("--alone", choices=FAST, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        return alone(args.alone, args.steps)
    try:
        import patchmatch_cython  # noqa: F401
    except ImportError:
        sys.exit("benchmarks/patches.py: patchmatch_cython is not installed; pip install patchmatch-cython")
    report = {
        "command": " ".join(["python benchmarks/patches.py", *sys.argv[1:]]), "repeats": args.repeats,
        "steps": args.steps, "device": environment.device_name(torch.device("cpu")),
        "threads": torch.get_num_threads(), "cases": [],
        "versions": environment.package_versions() | {"patchmatch-cython": version("patchmatch-cython")},
    }  # fmt: skip
    cv2.setNumThreads(torch.get_num_threads())
    fillers = Fillers(args.steps)
    for part in sorted(args.parts, key=PARTS.index):
        if part == "huge":
            report["cases"].append(measure_huge(args.repeats, args.steps))
        else:
            report["cases"] += [measure(case, fillers, args.repeats) for case in CASES[part]()]
        for name, text in (("patches.json", json.dumps(report, indent=1)), ("patches.md", written(report))):
            with atomic_open(args.out / name) as stream:
                stream.write(text)
    Console(width=200).print(shown(report["cases"], f"{report['device']}, {args.steps} steps"))


if __name__ == "__main__":
    main()
