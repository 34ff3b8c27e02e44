"""The numbers of a table: run what is missing, take up what is there, compare rows."""

from __future__ import annotations

import errno
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics
from isdiff.config.nodes import Config
from isdiff.errors import Missing, UserError, explained, summed_up
from isdiff.loggers.base import set_group
from isdiff.metrics.base import Metric, Unavailable
from isdiff.metrics.contrast import Contrast, contrast
from isdiff.metrics.diversity import Diversity
from isdiff.metrics.intervals import estimate
from isdiff.metrics.samples import SeedsStatistic
from isdiff.models.base import RANDOM
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import Records, result_features, samples, sources
from isdiff.runs.run import execute
from isdiff.tables.plan import CellPlan, RowPlan, TablePlan
from isdiff.tables.sheet import Column, Comparison, Cost, Gaps, Line, Sheet, Value

Costs = dict[tuple[str, str], tuple[int, float]]  # network calls and seconds, by a run's folder and image


@dataclass
class Row:
    """One method on one mask, with one or several seeds over the same images.

    Attributes:
        runs: each seed's experiment, with the records of the images.
        samples: what was measured, by the metrics' names.
        skipped: why a metric could not be, by its name.
        failed: why images could not be made, by id.
    """

    label: str
    runs: list[tuple[Experiment, Records]]
    samples: dict[str, SeedsStatistic]
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def experiment(self) -> Experiment:
        """The first seed's."""
        return self.runs[0][0]

    @property
    def records(self) -> Records:
        """The first seed's."""
        return self.runs[0][1]

    @property
    def ids(self) -> list[str]:
        """The images, in the dataset's order."""
        return [record["id"] for record in self.records]

    def mean(self, key: str) -> float:
        """The mean of a number of the records, such as ``network_calls``, over images and seeds."""
        return float(np.mean([record[key] for _, records in self.runs for record in records]))

    def costs(self) -> Costs:
        """What each image cost with each seed; a run that several tables have is the same entry in all."""
        return {
            (str(experiment.store.path), record["id"]): (record["network_calls"], record["seconds"])
            for experiment, records in self.runs
            for record in records
        }


Cells = dict[tuple[str, str], Row]  # what was measured, by row and mask
Reasons = dict[tuple[str, str], str]  # why there is nothing, by row and mask
NOT_YET = "not run yet"
RUNS = "runs, which the same command makes without --no-run"
FINAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what other cells would meet as well


def fill(plan: TablePlan, run: bool = True) -> tuple[Sheet, Cells]:
    """The table with its numbers, and the rows that they come from.

    Args:
        run: sample what is missing; otherwise only cells whose runs are done get values.
    """
    metrics = build_metrics(list(plan.metrics.values()))
    columns = [
        Column(mask, metric, paper, paper == metric.name and plan.own_data)
        for mask in plan.masks
        for paper, metric in zip(plan.metrics, metrics, strict=True)
    ]
    sheet = Sheet(plan, columns)
    cells: Cells = {}
    reasons: Reasons = {}
    for row, cell in announce(plan, run):
        key, named = (row.name, cell.mask), f"{row.label} ({cell.mask})"
        try:
            if cell.impossible:
                reasons[key] = cell.impossible
            elif not run and not is_finished(cell):
                reasons[key] = NOT_YET
                sheet.gaps.waits.setdefault(RUNS, []).append(named)
            else:
                found = cells[key] = measure(row, cell, metrics, plan.name)
                if found.failed:
                    what = f"without {len(found.failed)} of its images: {'; '.join(summed_up(found.failed))}"
                    sheet.gaps.failed.setdefault(what, []).append(named)
        except Missing as error:
            reasons[key] = "; ".join(error.things)
            for thing in error.things:
                sheet.gaps.waits.setdefault(thing, []).append(named)
        except (UserError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FINAL:
                raise
            reasons[key] = explained(error)
            sheet.gaps.failed.setdefault(explained(error), []).append(named)
    sheet.lines = [line(row, plan, metrics, cells, reasons) for row in plan.rows]
    sheet.comparisons = list(compare_rows(plan, columns, cells))
    sheet.notes = [*plan.notes, *name_papers(plan), *explain_gaps(plan, reasons, sheet.gaps)]
    sheet.rank()
    return sheet, cells


def announce(plan: TablePlan, run: bool) -> Iterator[tuple[RowPlan, CellPlan]]:
    """Cells one by one; says which comes."""
    todo = [(row, cell) for row in plan.rows for cell in row.cells]
    for place, (row, cell) in enumerate(todo, 1):
        if run and not cell.impossible:
            where = f"{plan.name}{f' ({plan.profile})' if plan.profile else ''}, cell {place}/{len(todo)}"
            print(f"{where}: {row.label}, {cell.mask}", file=sys.stderr)
        yield row, cell


def is_finished(cell: CellPlan) -> bool:
    """Whether all its images are there, with every seed; ``Missing`` where its images or weights are not here."""
    for cfg in row_configs(cell, []):
        experiment = Experiment.of(cfg)
        experiment.require(experiment.ids())
        if not set(experiment.ids()) <= set(experiment.store.records()):
            return False
    return True


def line(row: RowPlan, plan: TablePlan, metrics: Sequence[Metric], cells: Cells, reasons: Reasons) -> Line:
    """A row's values in the order of the columns."""
    values = []
    for cell in row.cells:
        found = cells.get((row.name, cell.mask))
        for place, metric in enumerate(metrics):
            value = Value(paper=cell.paper[place] if cell.paper else None)
            if found is None:
                value.missing = reasons[row.name, cell.mask]
            else:
                value.cost = cost([found])
                value.missing = found.skipped.get(metric.name, "")
                if (sample := found.samples.get(metric.name)) is not None:
                    value.ours, value.missing = estimate(sample, plan.bootstrap), ""
                    value.seed_sd = sample.spread() if len(sample.seeds) > 1 else None
            values.append(value)
    whole = cost([cells[key] for key in cells if key[0] == row.name])
    return Line(row, values, whole)


def cost(rows: list[Row]) -> Cost | None:
    """Means over the cells of a row, under the circumstances that most of them name."""
    if not rows:
        return None
    protocols = Counter(protocol(row.experiment) for row in rows)
    network_calls, seconds = (float(np.mean([row.mean(key) for row in rows])) for key in ("network_calls", "seconds"))
    return Cost(network_calls, seconds, protocols.most_common(1)[0][0])


def protocol(experiment: Experiment) -> str:
    """Network, precision, batch size and device of a run."""
    summary, network = experiment.store.read_json("summary.json"), experiment.network
    random = [RANDOM] if network["weights"] == RANDOM else []
    parts = [network["model"], network["size"], *random, summary.get("precision"), f"batch {summary.get('batch_size')}"]
    return ", ".join(map(str, [*parts, summary.get("device")]))


def compare_rows(plan: TablePlan, columns: Sequence[Column], cells: Cells) -> Iterator[Comparison]:
    """Each row against each of its partners, where some column has values of both."""
    rows = {row.name: row for row in plan.rows}
    for row, partner in [(each, rows[name]) for each in plan.rows for name in each.against]:
        found: list[Contrast | None] = []
        for column in columns:
            name = column.metric.name
            both = [
                each for n in (partner.name, row.name) if (each := cells.get((n, column.mask))) and name in each.samples
            ]
            if len(both) < 2:
                found.append(None)
                continue
            first, second = both
            ids, higher = (first.ids, second.ids), column.metric.higher_is_better
            found.append(contrast(first.samples[name], second.samples[name], plan.bootstrap, ids, higher))
        if any(found):
            yield Comparison(row, partner, tuple(found))


def name_papers(plan: TablePlan) -> list[str]:
    """One sentence for every paper but the main one that printed values are of."""
    grouped = defaultdict(list)
    for row in plan.rows:
        if row.source and any(value is not None for cell in row.cells for value in cell.paper):
            grouped[row.source].append(row.label)
    return [f"The paper's values of {'; '.join(labels)} were {source}." for source, labels in grouped.items()]


def explain_gaps(plan: TablePlan, reasons: Reasons, gaps: Gaps) -> list[str]:
    """One sentence for every reason that neither a download nor a run mends, for cells and for single images."""
    masks = defaultdict[tuple[str, str], list[str]](list)
    for (name, mask), reason in reasons.items():
        if reason != NOT_YET and not any(thing in reason for thing in gaps.waits):
            masks[reason, name].append(mask)
    labels = {row.name: row.label for row in plan.rows}
    grouped = defaultdict[str, list[str]](list)
    for (reason, name), its in masks.items():
        grouped[reason].append(labels[name] if its == list(plan.masks) else f"{labels[name]} ({', '.join(its)})")
    return [f"{reason}: {'; '.join(cells)}." for reason, cells in (grouped | gaps.failed).items()]


def row_configs(cell: CellPlan, metrics: Sequence[str], group: str = "", name: str = "") -> list[Config]:
    """The runs of a cell, one for each seed.

    Args:
        metrics: names of those that the runs measure.
        group: of all rows of a table in a logger, where each goes by its ``name``.
    """
    composed: Any = compose_run([f"mask={cell.mask}", f"metrics.names=[{','.join(metrics)}]", *cell.overrides])
    if group:
        set_group(composed, group, name)
    configs = [composed.copy() for _ in cell.seeds]  # composing takes much longer
    for cfg, seed in zip(configs, cell.seeds, strict=True):
        cfg.seed = seed
    return configs


def configs_of(plans: Iterable[TablePlan], strict: bool = False) -> Iterator[tuple[str, Config]]:
    """All runs behind these tables, with what each is called.

    What does not compose is left to the tables to explain, unless ``strict``.
    """
    for table in plans:
        for row, cell in [(each, cell) for each in table.rows for cell in each.cells if not cell.impossible]:
            try:
                configs = row_configs(cell, list(table.metrics.values()), table.name, row.name)
            except UserError:
                if strict:
                    raise
                continue
            for cfg in configs:
                yield f"{table.name}, {row.label}, {cell.mask}, seed {cfg.seed}", cfg


def measure(row: RowPlan, cell: CellPlan, metrics: Sequence[Metric], group: str) -> Row:
    """Run (or take up) a cell and measure it; ``group`` as of :func:`row_configs`."""
    configs = row_configs(cell, [metric.name for metric in metrics], group, row.name)
    outcomes = [execute(cfg) for cfg in configs]
    found = [outcome.experiment.store.records() for outcome in outcomes]
    # An image that failed with one seed is left out with all, or seeds would be compared on other images.
    common = set.intersection(*map(set, found))
    ids = [image_id for image_id in outcomes[0].experiment.ids() if image_id in common]
    if not ids:
        raise UserError(f"{row.label} on {cell.mask} masks: no image could be made with every seed")
    made = Row(row.label, [], {})
    measured = []
    for outcome, records in zip(outcomes, found, strict=True):
        made.runs.append((outcome.experiment, [records[image_id] for image_id in ids]))
        made.failed |= outcome.failed
        kept, why = samples(*made.runs[-1], outcome.experiment.setup.metrics)
        measured.append(kept)
        made.skipped |= why
    everywhere = [key for key in measured[0] if all(key in kept for kept in measured)]
    made.samples = {key: SeedsStatistic([kept[key] for kept in measured]) for key in everywhere}
    for metric in made.experiment.setup.metrics:
        if isinstance(metric, Diversity) and len(cell.seeds) > 1:  # of the runs with the first two seeds
            with suppress(Unavailable):  # then the cell says that it cannot be measured here
                between = metric.between_runs(*(result_features(*each, metric.extractor) for each in made.runs[:2]))
                between.groups = sources(made.experiment, made.records)
                made.samples[metric.name] = SeedsStatistic([between])
    return made
