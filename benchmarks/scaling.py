"""What the paper's tables cost on 1, 8 and 64 GPUs: ``python benchmarks/scaling.py [--seconds NETWORK=S ...]``.

Plans the tables of the profile ``paper`` without their data and weights, and counts images and network calls of every
run exactly, as the engine does; a run that several tables show is counted once. Hours follow from the seconds of one
call for one image, by network, which ``benchmarks/throughput.py`` measures on a GPU. For networks without ``--seconds``
the paper's printed seconds per image (one RTX 4090) stand in, divided by our calls of the rows that have some.
Writes ``benchmarks/results/scaling.md``.
"""

import argparse
import heapq
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from isdiff.config.search_path import config_names
from isdiff.engine import Engine
from isdiff.errors import Missing
from isdiff.io.files import atomic_open
from isdiff.runs.experiment import Experiment
from isdiff.tables.cells import cell_config, cell_setups
from isdiff.tables.plan import plan

RESULTS = Path(__file__).parent / "results"
GPUS = (1, 8, 64)
EDITBENCH = 240  # images, which only its own files list
RECORD = 700  # bytes of an image's line in per_image.jsonl, rounded up


@dataclass(frozen=True)
class Run:
    """One run of a table.

    ``calls`` and ``most`` are of an image whose first attempt passes, and one of which none does; ``printed`` are the
    paper's seconds per image.
    """

    table: str
    mask: str
    row: str
    folder: str
    network: str
    side: int
    images: int
    calls: int
    most: int
    printed: float | None

    @property
    def disk(self) -> int:
        """Bytes of results at most: pictures that do not compress, and their records."""
        return self.images * (3 * self.side**2 + RECORD)


def calls_of(engine: Engine, attempts: int, passed: bool = True) -> int:
    """Network calls of an image that took so many attempts, by the engine's own plans.

    Args:
        passed: whether the last attempt passed; otherwise the first is taken up again where it was judged.
    """

    def steps_down(attempt: int, judged: bool) -> int:
        walk = engine.plan(engine.start.begin_index(attempt, engine.grid) + 1)
        asked = [here for here, after in pairwise(walk) if after < here]
        if judged and engine.refinement:
            due = next(i for i, index in enumerate(asked, 1) if engine.refinement.due(index, engine.grid))
            asked = asked[:due]
        return len(asked) * engine.sampler.calls_per_step

    judged = sum(steps_down(attempt, True) for attempt in range(attempts - passed))
    return judged + (steps_down(attempts - 1, False) if passed else steps_down(0, False) - steps_down(0, True))


def runs_of(tables: Sequence[str]) -> list[Run]:
    """All runs of these tables in the profile ``paper``, none twice."""
    found: dict[str, Run] = {}
    for name in tables:
        table = plan(name, "paper")
        for row in table.rows:
            for cell in row.cells:
                if cell.impossible:
                    continue
                for setup in cell_setups(cell_config(cell, []), cell):
                    experiment = Experiment(setup)
                    engine, model = experiment.setup.engine(None), experiment.setup.model
                    try:
                        images = len(experiment.ids())
                    except Missing:
                        images = EDITBENCH
                    attempts = engine.refinement.attempts if engine.refinement else 0
                    calls = engine.calls_expected()
                    most = calls_of(engine, attempts, passed=False) if attempts else calls
                    folder = str(experiment.store.path)
                    found.setdefault(folder, Run(
                        name, cell.mask, row.name, folder, model.name,
                        model.image_size or int(setup.config["dataset"]["size"]), images, calls, most,
                        row.paper_time and float(row.paper_time),
                    ))  # fmt: skip
    return list(found.values())


def seconds_of(runs: list[Run], given: dict[str, float]) -> dict[str, tuple[float, str]]:
    """Seconds of a call for one image by network, and where they come from."""
    printed = defaultdict(list)
    for run in runs:
        if run.printed:
            printed[run.network].append(run.printed / run.calls)
    everything = [value for values in printed.values() for value in values]
    found = {}
    for network in dict.fromkeys(run.network for run in runs):
        if network in given:
            found[network] = given[network], "given"
        elif values := printed[network]:
            found[network] = median(values), f"printed, {min(values):.3f} to {max(values):.3f}"
        else:
            found[network] = median(everything), "nothing printed: the median of the others"
    return found


def makespan(durations: list[float], workers: int) -> float:
    """When the last of these jobs ends, each handed to the first free worker, the longest first."""
    free = [0.0] * workers
    for duration in sorted(durations, reverse=True):
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def table(heads: Sequence[str], rows: list[Sequence[object]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def counted(runs: list[Run]) -> list[str]:
    groups = defaultdict(list)
    for run in runs:
        groups[run.table, run.network, run.mask].append(run)
    rows = []
    for (name, network, mask), some in groups.items():
        calls, most = (sum(r.images * getattr(r, key) for r in some) for key in ("calls", "most"))
        rows.append([name, network, mask, len(some), sum(r.images for r in some), f"{calls:,}", f"{most:,}"])
    return table(
        ["table", "network", "mask", "runs", "images", "calls, first attempts pass", "calls, none passes"], rows
    )


def hours(runs: list[Run], seconds: dict[str, tuple[float, str]]) -> list[str]:
    """Hours by table: one GPU; images shared among several; runs shared among several (a GPU has a run for itself)."""
    rows = []
    for name in [*dict.fromkeys(run.table for run in runs), "all"]:
        some = [run for run in runs if name in (run.table, "all")]
        low, high = ([r.images * c * seconds[r.network][0] / 3600 for r, c in zip(some, cs, strict=True)]
                     for cs in ([r.calls for r in some], [r.most for r in some]))  # fmt: skip
        cells = [f"{sum(low):.1f} to {sum(high):.1f}"]
        cells += [f"{sum(low) / n:.2f} to {sum(high) / n:.2f}" for n in GPUS[1:]]
        cells += [f"{makespan(low, n):.2f}" for n in GPUS[1:]]
        rows.append([name, len(some), *cells, f"{sum(run.disk for run in some) / 1e9:.2f}"])
    shared = [f"{n} GPUs, {what}" for what in ("images shared", "runs shared") for n in GPUS[1:]]
    return table(["table", "runs", "1 GPU", *shared, "GB of results at most"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", nargs="*", default=[], metavar="NETWORK=S", help="of one call for one image")
    parser.add_argument("--tables", nargs="*", default=list(config_names("table")))
    parser.add_argument("--out", type=Path, default=RESULTS / "scaling.md")
    args = parser.parse_args()
    given = {name: float(value) for name, _, value in (item.partition("=") for item in args.seconds)}
    runs = runs_of(args.tables)
    seconds = seconds_of(runs, given)
    calls = defaultdict(lambda: [0, 0])
    for run in runs:
        for place, each in enumerate((run.calls, run.most)):
            calls[run.network][place] += run.images * each
    text = [
        "# Costs of the paper's tables", "", f"`{' '.join(['python benchmarks/scaling.py', *sys.argv[1:]])}`", "",
        "## Images and network calls", "", *counted(runs), "", "## By network", "",
        *table(
            ["network", "calls", "seconds a call and image", "from", "hours on one GPU"],
            [[n, f"{low:,} to {high:,}", f"{s:.4f}", why, f"{low * s / 3600:.1f} to {high * s / 3600:.1f}"]
             for n, (s, why) in seconds.items() for low, high in [calls[n]]],
        ), "", "## Hours", "",
        "From first attempts that pass to none that passes; \"runs shared\" with first attempts that pass.", "",
        *hours(runs, seconds), "",
    ]  # fmt: skip
    with atomic_open(args.out) as stream:
        stream.write("\n".join(text))
    print("\n".join(text))
    print(json.dumps({"runs": len(runs), "images": sum(r.images for r in runs)}))


if __name__ == "__main__":
    main()
