"""A table where its runs are reported: one table as people read it, one with every number, one with the comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.loggers.base import Logger, Subject, Tables
from isdiff.metrics.intervals import Estimate
from isdiff.tables.sheet import Sheet, any_times

KEY = "logger"


def is_logging(override: str) -> bool:
    """Whether an override says how runs are reported, which no result depends on."""
    return override.lstrip("+~").partition("=")[0].split(".")[0] == KEY


def logger_of(overrides: Sequence[str]) -> Logger:
    """The logger that runs with these overrides have.

    Raises:
        UserError: there is no such logger, or it refuses a value.
    """
    return build(compose_run([each for each in overrides if is_logging(each)]).logger, Logger)


def report_table(sheet: Sheet, folder: Path, overrides: Sequence[str]) -> None:
    """Report a table to the logger of its runs, in their group."""
    subject = Subject(
        name=f"{sheet.name}-{sheet.profile}",
        folder=folder,
        config={"table": sheet.name, "profile": sheet.profile, "title": sheet.title, "setting": sheet.setting},
        group=sheet.name,
        job_type="table",
        tags=("table", sheet.profile),
    )
    logger_of(overrides).tables(subject, as_tables(sheet))


def as_tables(sheet: Sheet) -> Tables:
    return {"table": overview(sheet), "values": values(sheet), "comparisons": comparisons(sheet)}


def overview(sheet: Sheet) -> tuple[list[str], list[list[Any]]]:
    """A row for each of the table's, with numbers that can be sorted by."""
    timed = any_times(sheet.lines)
    columns = ["method", *(f"{c.mask}: {c.title}" for c in sheet.columns), "network_calls", "seconds_per_image"]
    rows: list[list[Any]] = []
    for line in sheet.lines:
        found = [None if value.ours is None else finite(value.ours.value) for value in line.values]
        cost = [None, None] if line.cost is None else [line.cost.calls, line.cost.seconds]
        rows.append([line.label, *found, *cost, *([line.paper_time] if timed else [])])
    return [*columns, *(["paper_seconds"] if timed else [])], rows


def values(sheet: Sheet) -> tuple[list[str], list[list[Any]]]:
    """A row for every cell and metric: with interval, spread between seeds and what the paper printed."""
    columns = [
        "row", "method", "mask", "metric", "value", "low", "high", "n", "seed_sd", "paper_metric", "paper", "missing",
    ]  # fmt: skip
    rows = []
    for line in sheet.lines:
        for value, column in zip(line.values, sheet.columns, strict=True):
            ours = [*interval(value.ours), value.ours and value.ours.n]
            given = [value.seed_sd, column.paper_metric, value.paper and float(value.paper), value.missing]
            rows.append([line.name, line.label, column.mask, column.metric, *ours, *given])
    return columns, rows


def comparisons(sheet: Sheet) -> tuple[list[str], list[list[Any]]]:
    """A row for every paired difference over images."""
    columns = [
        "method", "against", "mask", "metric", "difference", "low", "high", "relative_percent", "p", "n", "verdict",
    ]  # fmt: skip
    rows = []
    for each in sheet.comparisons:
        for column, found in zip(sheet.columns, each.contrasts, strict=True):
            if found is not None:
                where = [each.label, each.against, column.mask, column.metric]
                sizes = [*interval(found.difference), finite(found.relative), finite(found.p), found.difference.n]
                rows.append([*where, *sizes, found.verdict])
    return columns, rows


def interval(found: Estimate | None) -> list[float | None]:
    return [None] * 3 if found is None else [finite(found.value), finite(found.low), finite(found.high)]


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
