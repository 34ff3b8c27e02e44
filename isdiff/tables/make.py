"""A table or the whole report of a profile, from plan to files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isdiff.metrics.base import Metric
from isdiff.paths import placed
from isdiff.runs.measure import build_metrics
from isdiff.tables.ahead import plans_of
from isdiff.tables.cells import RUNS, Cells, fill
from isdiff.tables.compare import UNUSED
from isdiff.tables.figures import draw, figure_names
from isdiff.tables.logged import is_logging, report_table
from isdiff.tables.plan import TablePlan, load, names, plan
from isdiff.tables.render import terminal, write
from isdiff.tables.report import page, strips
from isdiff.tables.sheet import Gaps, Sheet
from isdiff.tables.spent import Spent, costs_of


def folder_of(profile: str, options: dict[str, Any]) -> Path:
    """Narrowed tables lie apart, so that no fuller one is overwritten. How runs are reported narrows nothing."""
    options = options | {"extra": [each for each in options.get("extra", ()) if not is_logging(each)]}
    narrowed = [f"{k}-{v}" for k, v in sorted(options.items()) if v not in (None, [], ())]
    if not narrowed:
        return placed("outputs/tables") / profile
    whole = "_".join(narrowed)
    readable = "".join(letter if letter.isalnum() else "-" for letter in whole)[:60]
    return placed("outputs/tables") / f"{profile}_{readable}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def metrics_of(table: TablePlan) -> list[Metric]:
    return build_metrics(list(table.metrics.values()), UNUSED)  # for their titles; each run builds its own


def filled(name: str, profile: str, run: bool, options: dict[str, Any]) -> tuple[TablePlan, Sheet, Cells]:
    table = plan(name, profile, **options)
    sheet, cells = fill(table, metrics_of(table), run)
    write(sheet, folder_of(profile, options))
    report_table(sheet, folder_of(profile, options), options.get("extra", ()))
    return table, sheet, cells


def make_table(name: str, profile: str, run: bool = True, **options: Any) -> tuple[Path, list, Gaps]:
    """Run and write one table; returns its folder, the ``rich`` tables, and what it lacks."""
    _, sheet, _ = filled(name, profile, run, options)
    return folder_of(profile, options), terminal(sheet), sheet.gaps


def make_figure(name: str, profile: str, run: bool = True, **options: Any) -> tuple[Path | None, Gaps]:
    """Run and draw one figure; returns the SVG's path, None where nothing could be drawn, and what it lacks."""
    folder = folder_of(profile, options)
    drawn = draw(name, profile, folder, run=run, **options)
    return folder / f"{name}.svg" if drawn.svg else None, drawn.gaps


def make_report(profile: str, only: Sequence[str] = (), run: bool = True, **options: Any) -> tuple[Path, Gaps]:
    """All tables, figures and picture strips in one page; returns its path, and what its tables and figures lack.
    Figures that stand alone are drawn from the runs that are there.

    Args:
        only: these tables and figures instead of all.
    """
    folder = folder_of(profile, options | {"only": list(only)})
    there = {plan.name for plan in plans_of(["report", *only], profile, alone=True, **options)}
    sheets: list[Sheet] = []
    pictures: dict[str, list[dict[str, str]]] = {}
    costs: dict[tuple[str, str], tuple[int, float]] = {}
    for name in [name for name in names("table") if name in there]:
        table, sheet, cells = filled(name, profile, run, options)
        sheets.append(sheet)
        costs |= costs_of(table, cells)
        pictures[name] = strips(table, cells, metrics_of(table)[0], folder / "strips")
    figures = [
        draw(name, profile, folder, run=run and not load("figure", name).get("alone"), **options)
        for name in figure_names()
        if name in there
    ]
    command = " ".join(["isdiff table report", *only, f"profile={profile}", *shown(options)])
    title = f"IS-Diff and what it is compared with: {load('profile', profile).title}"
    for drawn in [drawn for drawn in figures if load("figure", drawn.name).get("alone")]:
        drawn.gaps.waits.pop(RUNS, None)  # a report asks for none
    gaps = Gaps()
    for name, its in [(sheet.name, sheet.gaps) for sheet in sheets] + [(drawn.name, drawn.gaps) for drawn in figures]:
        gaps.add(its, name)
    for drawn in figures:
        costs |= drawn.costs
    spent = Spent.of(costs)
    path = page(folder / "report.html", title, sheets, pictures, [f for f in figures if f.svg], [command], spent)
    print(spent, file=sys.stderr)
    return path, gaps


def shown(options: dict[str, Any]) -> list[str]:
    """The options as they are typed."""
    given = {key: value for key, value in options.items() if key != "extra" and value not in (None, [])}
    typed = [f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}" for k, v in given.items()]
    return [*typed, *options.get("extra", ())]
