"""The paper's tables: ``isdiff table table1 profile=demo limit=8 masks=half rows=ddnm*``.

Names: tables, or ``report`` for all of them with the figures in one page. ``profile=paper|demo|smoke``, ``limit=``,
``seeds=3`` (0, 1 and 2; or those listed: ``seeds=0,7``), ``masks=``, ``rows=`` (patterns, or ``printed``: the paper's
own rows alone) narrow it; ``runner=local`` computes its runs in a process for every GPU or CPU (or
``runner.workers=8``), ``runner=ray`` also on a cluster (``runner.gpus=1``, ``runner.address=auto``); further KEY=VALUE
arguments are overrides of every run, of which ``logger=wandb`` reports runs and tables, each table as a group. What has
been run already is reused; the same command goes on after a stop.

Exit codes: 0 all is there; 1 it cannot be made; 2 weights or images are missing, or with ``--no-run`` runs; 3 some
cells or images failed, the others are there.
"""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from isdiff.cli.command import Parser
from isdiff.config.composing import compose_run
from isdiff.errors import Missing, SomeFailed, UserError, printable
from isdiff.parallel.runner import jobs_of, split
from isdiff.tables.cells import configs_of
from isdiff.tables.figures import figure_names
from isdiff.tables.make import Maker, logger_of, plans_of, table_names
from isdiff.tables.render import show
from isdiff.tables.sheet import Gaps

OWN = ("profile", "limit", "seeds", "masks", "rows", "runner")  # keys that are no overrides of runs


def main(arguments: list[str]) -> int:
    parser = Parser("isdiff table", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"report, {', '.join(table_names())}; then KEY=VALUE")
    parser.add_argument("--no-run", action="store_true", help="show what is there, run nothing")
    args, given = parser.parse_with_overrides(arguments)
    if not arguments:
        parser.error("give a table's name, or report")
    asked, run, there = args.names or ["report"], not args.no_run, ["report", *table_names(), *figure_names()]
    if unknown := [name for name in asked if name not in there]:
        raise UserError(f"there is no table or figure {unknown[0]!r}; there are {', '.join(there)}")
    runner, given = split(given)
    options = read_options(given)
    profile = options.pop("profile")
    logger_of(options["extra"]).prepare()  # once, before its refusal becomes every cell's
    plans = plans_of(asked, profile, **options)
    every = [plan for its in plans.values() for plan in its]
    first = next((cell for plan in every for _, cell in plan.cells() if not cell.impossible), None)
    if first is not None:
        compose_run(first.overrides, also=OWN)  # before a mistyped key becomes every cell's failure
    if runner and run:
        runner(jobs_of(configs_of(every)))
    gaps, maker = Gaps(), Maker(profile, run, options)
    if "report" in asked:
        only = [name for name in asked if name != "report"]
        path, gaps = maker.report(plans, only, shlex.join(["isdiff", "table", *arguments]))
        print(f"report: {path}")
        return conclude(gaps)
    for name in asked:
        if name in figure_names():
            drawn = maker.figure(name, plans[name])
            gaps.add(drawn.gaps, name if len(asked) > 1 else "")
            made = maker.folder / f"{name}.svg" if drawn.svg else "none of its runs is there"
        else:
            part, sheet = maker.table(name, plans[name])
            gaps.add(sheet.gaps if sheet else Gaps(), name if len(asked) > 1 else "")
            show(part)
            made = f"{maker.folder / name}.md, .csv, .tex, .html"
        print(f"{name}: {made}")
    return conclude(gaps)


def read_options(given: Sequence[str]) -> dict[str, Any]:
    """Read the keys of :data:`OWN` from KEY=VALUE; the rest, ``extra``, are overrides of runs."""
    found: dict[str, Any] = {"profile": "demo", "extra": []}
    for item in given:
        key, _, value = item.partition("=")
        try:
            if key in ("profile", "masks", "rows"):
                found[key] = value if key == "profile" else value.strip("[]").split(",")
            elif key == "limit":
                found[key] = int(value)
            elif key == "seeds":
                numbers = [int(part) for part in value.strip("[]").split(",")]
                found[key] = list(range(numbers[0])) if value.isdigit() and numbers[0] > 0 else numbers
            else:
                found["extra"].append(item)
            seeds = found.get("seeds", [0])
            if found.get("limit", 1) < 1 or min(seeds) < 0 or len(set(seeds)) < len(seeds):
                raise ValueError
        except ValueError:
            rule = "limit is a whole number of at least 1, seeds are different whole numbers of at least 0, as 0,1,2"
            raise UserError(f"{item}: {rule}") from None
    return found


def conclude(gaps: Gaps) -> int:
    """Say what is lacking, a line for each reason; returns the exit code."""
    for thing, cells in gaps.waits.items():
        print(f"isdiff: {len(cells)} cells wait: {thing}", file=sys.stderr)
    for reason, cells in gaps.failed.items():
        print(printable(f"isdiff: {', '.join(cells)}: {' '.join(reason.split())}"), file=sys.stderr)
    return SomeFailed.exit_code if gaps.failed else Missing.exit_code if gaps.waits else 0
