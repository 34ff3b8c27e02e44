"""A table or the whole report of a profile, from plan to files; and all runs behind them, to be computed before."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.table import Table

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics
from isdiff.errors import UserError
from isdiff.loggers.base import Logger, Subject
from isdiff.paths import placed
from isdiff.tables.cells import RUNS, Cells, fill
from isdiff.tables.figures import as_table, draw, figure_names
from isdiff.tables.plan import NothingChosen, TablePlan, load, names, plan
from isdiff.tables.render import logged_tables, write
from isdiff.tables.report import Spent, draw_strips, write_page
from isdiff.tables.rows import Costs, row_configs
from isdiff.tables.sheet import Gaps, Sheet


def plans_of(asked: Sequence[str], profile: str, alone: bool = False, **options: Any) -> list[TablePlan]:
    """The tables among ``asked`` and the tables behind its figures.

    With ``report`` all that a report runs, without those of which the options leave nothing.

    Args:
        alone: also figures that a report shows but does not run.
    Raises:
        UserError: as :func:`isdiff.tables.plan.plan`.
    """
    only, whole = [name for name in asked if name != "report"], "report" in asked
    found: list[TablePlan] = []
    nothing: list[NothingChosen] = []
    for group, there in (("table", names("table")), ("figure", figure_names())):
        for name in [name for name in there if name in only or (whole and not only)]:
            tables: list[Any] = [None]
            if group == "figure":
                figure = load("figure", name)
                if whole and figure.get("alone") and not alone:
                    continue
                tables = [as_table(figure, dataset, profile) for dataset in figure.datasets]
            try:
                found += [plan(name, profile, table=table, **options) for table in tables]
            except NothingChosen as error:
                if not whole:
                    raise
                nothing.append(error)
    if nothing and not found:
        raise nothing[0] if len(nothing) == 1 else NothingChosen("; ".join(map(str, nothing)))
    return found


def configs_of(plans: Sequence[TablePlan]) -> Iterator[tuple[str, DictConfig]]:
    """All runs behind these tables, with what each is called; what cannot be run is left to the tables to explain."""
    for table in plans:
        for row, cell in [(each, cell) for each in table.rows for cell in each.cells]:
            if cell.impossible:
                continue
            metrics = list(table.metrics.values())
            try:
                configs = row_configs(cell.mask, cell.overrides, metrics, cell.seeds, table.name, row.name)
            except UserError:
                continue
            for cfg in configs:
                yield f"{table.name}, {row.label}, {cell.mask}, seed {cfg.seed}", cfg


def is_logging(override: str) -> bool:
    """Whether an override says how runs are reported, which no result depends on."""
    return override.lstrip("+~").partition("=")[0].split(".")[0] == "logger"


def logger_of(overrides: Sequence[str]) -> Logger:
    """The logger that runs with these overrides have.

    Raises:
        UserError: there is no such logger, or it refuses a value.
    """
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


def fill_and_write(
    name: str, profile: str, run: bool, folder: Path, options: dict[str, Any]
) -> tuple[TablePlan, Sheet, Cells]:
    """Run a table, write it, and report it to the logger of its runs, in their group."""
    table = plan(name, profile, **options)
    sheet, cells = fill(table, run)
    write(sheet, folder)
    config = {"table": name, "profile": profile, "title": sheet.title, "setting": sheet.setting}
    subject = Subject(f"{name}-{profile}", folder, config, group=name, job_type="table", tags=("table", profile))
    logger_of(options.get("extra", ())).tables(subject, logged_tables(sheet))
    return table, sheet, cells


def make_table(name: str, profile: str, run: bool = True, **options: Any) -> tuple[Path, list[Table], Gaps]:
    """Run and write one table; returns its folder, the ``rich`` tables, and what it lacks."""
    folder = folder_of(profile, options)
    _, sheet, _ = fill_and_write(name, profile, run, folder, options)
    return folder, [table for grid in sheet.grids() for table in grid.terminal()], sheet.gaps


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
    whole, own = folder_of(profile, options | {"only": list(only)}), folder_of(profile, options)
    there = {plan.name for plan in plans_of(["report", *only], profile, alone=True, **options)}
    sheets: list[Sheet] = []
    figures = []
    pictures: dict[str, list[dict[str, str]]] = {}
    costs: Costs = {}
    gaps = Gaps()
    for name in [name for name in names("table") if name in there]:
        table, sheet, cells = fill_and_write(name, profile, run, own, options)
        sheets.append(sheet)
        gaps.add(sheet.gaps, name)
        for row in cells.values():
            costs |= row.costs()
        (metric, *_) = build_metrics(list(table.metrics.values()))
        pictures[name] = draw_strips(table, cells, metric, whole / "strips")
    for name in [name for name in figure_names() if name in there]:
        alone = load("figure", name).get("alone")
        drawn = draw(name, profile, whole, run=run and not alone, **options)
        if alone:
            drawn.gaps.waits.pop(RUNS, None)  # a report asks for none
        gaps.add(drawn.gaps, name)
        costs |= drawn.costs
        if drawn.svg:
            figures.append(drawn)
    command = " ".join(["isdiff table report", *only, f"profile={profile}", *as_typed(options)])
    title = f"IS-Diff and what it is compared with: {load('profile', profile).title}"
    spent = Spent.of(costs)
    path = write_page(whole / "report.html", title, sheets, pictures, figures, command, spent)
    print(spent, file=sys.stderr)
    return path, gaps


def as_typed(options: dict[str, Any]) -> list[str]:
    """The options as they are typed."""
    given = {key: value for key, value in options.items() if key != "extra" and value not in (None, [])}
    typed = [f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}" for k, v in given.items()]
    return [*typed, *options.get("extra", ())]
