"""The numbers of a table: run what is missing, take up what is there, compare rows."""

from __future__ import annotations

import errno
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from isdiff.config.composing import compose_run
from isdiff.errors import Missing, UserError, explained, summed_up
from isdiff.metrics.base import Metric, Unavailable
from isdiff.metrics.contrast import Contrast, contrast
from isdiff.metrics.diversity import Diversity
from isdiff.metrics.intervals import estimate
from isdiff.metrics.samples import MeanSample, SeedsSample
from isdiff.models.base import RANDOM
from isdiff.progress import clock
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import result_features, sources
from isdiff.tables.compare import Row, run_row, seeded
from isdiff.tables.plan import CellPlan, RowPlan, TablePlan
from isdiff.tables.sheet import Column, Comparison, Cost, Gaps, Line, Sheet, Value

Cells = dict[tuple[str, str], Row]  # what was measured, by row and mask
NOT_YET = "not run yet"
RUNS = "runs, which the same command makes without --no-run"
FINAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what other cells would meet as well


class NoRun(UserError):
    """There is no run and is not to be: nothing failed."""


def fill(plan: TablePlan, metrics: list[Metric], run: bool = True) -> tuple[Sheet, Cells]:
    """The table with its numbers, and the rows that they come from.

    Args:
        metrics: those of ``plan.metrics``, in its order.
        run: sample what is missing; otherwise only cells whose runs are done get values.
    """
    columns = [
        Column(mask, metric.name, metric.title, paper, paper == metric.name and plan.own_data)
        for mask in plan.masks
        for paper, metric in zip(plan.metrics, metrics, strict=True)
    ]
    sheet = Sheet(
        plan.name, plan.title, plan.profile, plan.setting, columns, [], dataset=plan.dataset, times=plan.times
    )
    sheet.notes += plan.notes
    cells: Cells = {}
    reasons: dict[tuple[str, str], str] = {}
    for row, cell in announced(plan, run):
        named = f"{row.label} ({cell.mask})"
        try:
            found = measure(row, cell, metrics, run, plan.name)
            cells[row.name, cell.mask] = found
            if found.failed:
                what = f"without {len(found.failed)} of its images: {'; '.join(summed_up(found.failed))}"
                sheet.gaps.failed.setdefault(what, []).append(named)
        except Missing as error:
            reasons[row.name, cell.mask] = "; ".join(error.things)
            for thing in error.things:
                sheet.gaps.waits.setdefault(thing, []).append(named)
        except NoRun as error:
            reasons[row.name, cell.mask] = str(error)
            if not cell.impossible:
                sheet.gaps.waits.setdefault(RUNS, []).append(named)
        except (UserError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FINAL:
                raise
            reasons[row.name, cell.mask] = explained(error)
            sheet.gaps.failed.setdefault(explained(error), []).append(named)
    for row in plan.rows:
        sheet.lines.append(line(row, plan, metrics, cells, reasons))
    sheet.comparisons = list(comparisons(plan, metrics, cells))
    sheet.notes += other_papers(plan)
    sheet.notes += without_values(plan, reasons, sheet.gaps)
    sheet.rank()
    return sheet, cells


def announced(plan: TablePlan, run: bool) -> Iterator[tuple[RowPlan, CellPlan]]:
    """Cells one by one; says which comes, and from the second on how long the rest may take."""
    todo = [(row, cell) for row in plan.rows for cell in row.cells]
    begun = time.monotonic()
    for place, (row, cell) in enumerate(todo, 1):
        if run and not cell.impossible:
            spent = time.monotonic() - begun
            left = f", about {clock(spent / (place - 1) * (len(todo) - place + 1))} left" if spent > 60 else ""
            where = f"{plan.name} ({plan.profile}), cell {place}/{len(todo)}"
            print(f"{where}: {row.label}, {cell.mask}{left}", file=sys.stderr)
        yield row, cell


def measure(row: RowPlan, cell: CellPlan, metrics: list[Metric], run: bool, table: str = "") -> Row:
    """
    Args:
        table: its name, under which loggers group the runs of its rows.
    Raises:
        Missing: weights or images are not here.
        NoRun: the cell cannot exist, or has not been run and ``run`` is off.
        UserError: the run failed.
    """
    if cell.impossible:
        raise NoRun(cell.impossible)
    if not run and not finished(cell):
        raise NoRun(NOT_YET)
    seeds = cell.seeds
    measured, _ = run_row(row.label, cell.mask, cell.overrides, metrics, seeds, group=table, name=row.name)
    for metric in metrics:
        if isinstance(metric, Diversity) and len(cell.seeds) > 1:
            with suppress(Unavailable):  # then the cell says that it cannot be measured here
                measured.samples[metric.name] = SeedsSample([diversity(measured, cell, metric.name)])
    return measured


def diversity(row: Row, cell: CellPlan, name: str) -> MeanSample:
    """Of the runs with the first two seeds.

    Raises:
        Unavailable: the metric's weights are not where the runs' configuration has them.
    """
    metric = next(each for each in row.experiment.setup.metrics if each.name == name)
    assert isinstance(metric, Diversity)
    features = []
    for seed in cell.seeds[:2]:
        experiment = row.experiment.with_seed(seed)
        records = experiment.store.records()
        features.append(result_features(experiment, [records[i] for i in row.ids], metric.observer))
    found = metric.between_runs(*features)
    found.groups = sources(row.experiment, row.records)
    return found


def finished(cell: CellPlan) -> bool:
    """Whether all its images are there, with every seed.

    Raises:
        Missing: the images or weights of the cell are not here.
    """
    for cfg in seeded(compose_run(cell.overrides), cell.seeds):
        experiment = Experiment.of(cfg)
        experiment.require(experiment.ids())
        if not set(experiment.ids()) <= set(experiment.store.records()):
            return False
    return True


def line(
    row: RowPlan, plan: TablePlan, metrics: list[Metric], cells: Cells, reasons: dict[tuple[str, str], str]
) -> Line:
    values = []
    for cell in row.cells:
        found = cells.get((row.name, cell.mask))
        for place, metric in enumerate(metrics):
            value = Value(paper=cell.paper[place] if place < len(cell.paper) else None)
            value.cost = cost([found]) if found is not None else None
            if found is None:
                value.missing = reasons[row.name, cell.mask]
            elif metric.name in found.samples:
                sample = found.samples[metric.name]
                value.ours = estimate(sample, plan.bootstrap)
                value.seed_sd = sample.spread() if len(sample.seeds) > 1 else None
            else:
                value.missing = "this metric cannot measure such images"
            values.append(value)
    return Line(row.name, row.label, values, cost([cells[key] for key in cells if key[0] == row.name]), row.paper_time)


def cost(rows: list[Row]) -> Cost | None:
    """Means over the cells of a row, under the circumstances that most of them name."""
    if not rows:
        return None
    protocols = Counter(protocol(row.experiment.store.read_json("summary.json"), row.experiment) for row in rows)
    calls, seconds = (float(np.mean([row.means[key] for row in rows])) for key in ("network_calls", "seconds"))
    return Cost(calls, seconds, protocols.most_common(1)[0][0])


def protocol(summary: dict[str, Any], experiment: Experiment) -> str:
    network = experiment.network
    random = [RANDOM] if network["weights"] == RANDOM else []
    parts = [network["model"], network["size"], *random, *(str(summary[k]) for k in ("precision",) if k in summary)]
    return ", ".join([*parts, f"batch {summary.get('batch_size')}", str(summary.get("device"))])


def comparisons(plan: TablePlan, metrics: list[Metric], cells: Cells) -> Iterator[Comparison]:
    labels = {row.name: row.label for row in plan.rows}
    for row in plan.rows:
        for partner in row.against:
            found: list[Contrast | None] = []
            for mask in plan.masks:
                first, second = cells.get((partner, mask)), cells.get((row.name, mask))
                for metric in metrics:
                    if first is None or second is None:
                        found.append(None)
                        continue
                    one, two = (each.samples.get(metric.name) for each in (first, second))
                    higher = metric.title.endswith("↑")
                    found.append(
                        None if one is None or two is None
                        else contrast(one, two, plan.bootstrap, (first.ids, second.ids), higher)
                    )  # fmt: skip
            if any(found):
                yield Comparison(row.label, labels[partner], tuple(found))


def other_papers(plan: TablePlan) -> list[str]:
    """One sentence for every paper but the main one that printed values are of."""
    grouped = defaultdict(list)
    for row in plan.rows:
        if row.source and any(value is not None for cell in row.cells for value in cell.paper):
            grouped[row.source].append(row.label)
    return [f"The paper's values of {'; '.join(labels)} were {source}." for source, labels in grouped.items()]


def without_values(plan: TablePlan, reasons: dict[tuple[str, str], str], gaps: Gaps) -> list[str]:
    """One sentence for every reason that neither a download nor a run mends, for cells and for single images."""
    masks = defaultdict[tuple[str, str], list[str]](list)
    for (name, mask), reason in reasons.items():
        if reason != NOT_YET and not any(thing in reason for thing in gaps.waits):
            masks[reason, name].append(mask)
    labels = {row.name: row.label for row in plan.rows}
    grouped = defaultdict[str, list[str]](list)
    for (reason, name), its in masks.items():
        grouped[reason].append(labels[name] if its == list(plan.masks) else f"{labels[name]} ({', '.join(its)})")
    grouped |= gaps.failed
    return [f"{reason}: {'; '.join(cells)}." for reason, cells in grouped.items()]
