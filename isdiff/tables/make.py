"""A table, a figure or the whole report of a profile, from plan to files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics
from isdiff.loggers.base import Logger, Subject
from isdiff.paths import placed
from isdiff.tables.cells import RUNS, Cells, Costs, fill
from isdiff.tables.figures import as_table, draw, figure_names
from isdiff.tables.plan import NothingChosen, TablePlan, load, names, plan
from isdiff.tables.render import logged_tables, write
from isdiff.tables.report import draw_strips, spent, spent_text, write_page
from isdiff.tables.sheet import Gaps, Sheet


def plans_of(asked: Sequence[str], profile: str, alone: bool = False, **options: Any) -> dict[str, list[TablePlan]]:
    """What is asked for by name: one plan of a table, and of a figure one for each dataset.

    With ``report`` all that a report runs, without what the options leave nothing of.

    Args:
        alone: also figures that a report shows but does not run.
        options: as of :func:`isdiff.tables.plan.plan`.
    """
    only, whole = [name for name in asked if name != "report"], "report" in asked
    found: dict[str, list[TablePlan]] = {}
    nothing: list[str] = []
    for name in [name for name in (*names("table"), *figure_names()) if name in only or (whole and not only)]:
        tables: list[Any] = [None]
        if name in figure_names():
            figure = load("figure", name)
            if whole and figure.get("alone") and not alone:
                continue
            tables = [as_table(figure, dataset, profile) for dataset in figure.datasets]
        try:
            found[name] = [plan(name, profile, table=table, **options) for table in tables]
        except NothingChosen as error:
            nothing.append(str(error))
    if nothing and not (whole and found):
        raise NothingChosen("; ".join(nothing))
    return found


def is_logging(override: str) -> bool:
    """Whether an override says how runs are reported, which no result depends on."""
    return override.lstrip("+~").partition("=")[0].split(".")[0] == "logger"


def logger_of(overrides: Sequence[str]) -> Logger:
    """The logger that runs with these overrides have."""
    return build(compose_run([each for each in overrides if is_logging(each)]).logger, Logger)


def folder_of(profile: str, options: dict[str, Any]) -> Path:
    """Narrowed tables lie apart, so that no fuller one is overwritten. How runs are reported narrows nothing."""
    options = options | {"extra": [each for each in options.get("extra", ()) if not is_logging(each)]}
    narrowed = [f"{k}-{v}" for k, v in sorted(options.items()) if v not in (None, [], ())]
    if not narrowed:
        return placed("outputs/tables") / profile
    whole = "_".join(narrowed)
    readable = "".join(letter if letter.isalnum() else "-" for letter in whole)[:60]
    return placed("outputs/tables") / f"{profile}_{readable}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def fill_and_write(table: TablePlan, run: bool, options: dict[str, Any]) -> tuple[Path, Sheet, Cells]:
    """Run a table, write it, and report it to the logger of its runs, in their group."""
    folder = folder_of(table.profile, options)
    sheet, cells = fill(table, run)
    write(sheet, folder)
    config = {"table": table.name, "profile": table.profile, "title": table.title, "setting": table.setting}
    tags = ("table", table.profile)
    subject = Subject(f"{table.name}-{table.profile}", folder, config, table.name, job_type="table", tags=tags)
    logger_of(options.get("extra", ())).tables(subject, logged_tables(sheet))
    return folder, sheet, cells


def make_table(table: TablePlan, run: bool, options: dict[str, Any]) -> tuple[Path, list[Table], Gaps]:
    """Run and write one table; returns its folder, the ``rich`` tables, and what it lacks."""
    folder, sheet, _ = fill_and_write(table, run, options)
    return folder, [each for grid in sheet.grids() for each in grid.terminal()], sheet.gaps


def make_figure(name: str, plans: Sequence[TablePlan], run: bool, options: dict[str, Any]) -> tuple[Path | None, Gaps]:
    """Run and draw one figure; returns the SVG's path, None where nothing could be drawn, and what it lacks."""
    folder = folder_of(plans[0].profile, options)
    drawn = draw(name, plans, folder, run, options.get("limit"))
    return folder / f"{name}.svg" if drawn.svg else None, drawn.gaps


def make_report(
    plans: dict[str, list[TablePlan]], profile: str, only: Sequence[str], run: bool, options: dict[str, Any]
) -> tuple[Path, Gaps]:
    """Tables, figures and picture strips in one page; returns its path, and what its tables and figures lack.

    Figures that stand alone are drawn from the runs that are there.

    Args:
        only: the tables and figures that were asked for instead of all.
    """
    folder = folder_of(profile, options | {"only": list(only)})
    sheets: list[Sheet] = []
    figures = []
    pictures: dict[str, list[dict[str, str]]] = {}
    costs: Costs = {}
    gaps = Gaps()
    for name, its in plans.items():
        if name in figure_names():
            alone = load("figure", name).get("alone")
            drawn = draw(name, its, folder, run and not alone, options.get("limit"))
            if alone:
                drawn.gaps.waits.pop(RUNS, None)  # a report asks for none
            gaps.add(drawn.gaps, name)
            costs |= drawn.costs
            figures += [drawn] if drawn.svg else []
            continue
        (table,) = its
        _, sheet, cells = fill_and_write(table, run, options)
        sheets.append(sheet)
        gaps.add(sheet.gaps, name)
        for row in cells.values():
            costs |= row.costs()
        (metric, *_) = build_metrics(list(table.metrics.values()))
        pictures[name] = draw_strips(table, cells, metric, folder / "strips")
    command = " ".join(["isdiff table report", *only, f"profile={profile}", *as_typed(options)])
    title = f"IS-Diff and what it is compared with: {load('profile', profile).title}"
    path = write_page(folder / "report.html", title, sheets, pictures, figures, command, costs)
    print(spent_text(spent(costs)), file=sys.stderr)
    return path, gaps


def as_typed(options: dict[str, Any]) -> list[str]:
    """The options as they are typed."""
    given = {key: value for key, value in options.items() if key != "extra" and value not in (None, [])}
    typed = [f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}" for k, v in given.items()]
    return [*typed, *options.get("extra", ())]
