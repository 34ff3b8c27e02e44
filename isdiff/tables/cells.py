"""The numbers of a table: run what is missing, take up what is there, compare rows."""

import errno
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics
from isdiff.config.nodes import Config
from isdiff.config.setup import Setup
from isdiff.errors import Missing, UserError, explained, summed_up
from isdiff.loggers.base import set_group
from isdiff.metrics.base import Unavailable
from isdiff.metrics.intervals import Estimate, contrast, estimate
from isdiff.metrics.samples import SeedsStatistic
from isdiff.metrics.sets import Diversity
from isdiff.models.base import RANDOM
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import Records, result_features, samples, sources
from isdiff.runs.run import execute
from isdiff.tables.plan import CellPlan, RowPlan, TablePlan
from isdiff.tables.sheet import Column, Gaps, Pair, Sheet, Value, printed_difference


@dataclass
class Row:
    """One method on one mask, with one or several seeds over the same images."""

    label: str
    runs: list[tuple[Experiment, Records]]  # each seed's experiment, with the records of the images
    samples: dict[str, SeedsStatistic]  # what was measured, by the metrics' names
    skipped: dict[str, str] = field(default_factory=dict)  # why a metric could not be, by its name
    failed: dict[str, str] = field(default_factory=dict)  # why images could not be made, by id
    estimates: dict[tuple[str, int], Estimate] = field(default_factory=dict)

    @property
    def experiment(self) -> Experiment:
        """The first seed's."""
        return self.runs[0][0]

    @property
    def ids(self) -> list[str]:
        """The images, in the dataset's order."""
        return [record["id"] for record in self.runs[0][1]]

    def mean(self, key: str) -> float:
        """The mean of a number of the records, such as ``network_calls``, over images and seeds."""
        return float(np.mean([record[key] for _, records in self.runs for record in records]))

    def estimate(self, metric: str, bootstrap: int) -> Estimate:
        """Its value with an interval, worked out once."""
        if (metric, bootstrap) not in self.estimates:
            self.estimates[metric, bootstrap] = estimate(self.samples[metric], bootstrap)
        return self.estimates[metric, bootstrap]


Cells = dict[tuple[str, str], Row]  # what was measured, by row and mask
Reasons = dict[tuple[str, str], str]  # why there is nothing, by row and mask
NOT_YET = "not run yet"
RUNS = "runs, which the same command makes without --no-run"
FINAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what other cells would meet as well


def fill(
    plan: TablePlan, run: bool = True, known: dict[object, Row] | None = None, paired: bool = True
) -> tuple[Sheet, Cells]:
    """The table with its numbers, and the rows that they come from; ``paired``: and with comparisons of rows.

    Without ``run`` only cells whose runs are done get values. ``known`` rows of other tables, by what they were made
    with, are taken as they are; this table's are added.
    """
    known = {} if known is None else known
    metrics = build_metrics(list(plan.metrics.values()))
    columns = [
        Column(mask, metric, paper, paper == metric.name and plan.own_data)
        for mask in plan.masks
        for paper, metric in zip(plan.metrics, metrics, strict=True)
    ]
    sheet = Sheet(plan, columns)
    cells: Cells = {}
    reasons: Reasons = {}
    todo = plan.cells()
    for place, (row, cell) in enumerate(todo, 1):
        key, named = (row.name, cell.mask), f"{row.label} ({cell.mask})"
        made_with = (cell.mask, cell.seeds, *sorted(cell.overrides), *plan.metrics.values())
        try:
            if cell.impossible:
                reasons[key] = cell.impossible
                continue
            if run:
                where = f"{plan.name}{f' ({plan.profile})' if plan.profile else ''}, cell {place}/{len(todo)}"
                print(f"{where}: {row.label}, {cell.mask}", file=sys.stderr)
            if made_with not in known:
                setups = cell_setups(cell_config(cell, [m.name for m in metrics], plan.name, row.name), cell)
                if not run and not all(map(is_finished, setups)):
                    reasons[key] = NOT_YET
                    sheet.gaps.waits.setdefault(RUNS, []).append(named)
                    continue
                known[made_with] = measure(f"{row.label} on {cell.mask} masks", setups)
            found = cells[key] = replace(known[made_with], label=row.label)
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
    sheet.values = [
        value_of(row, cell, column, plan, cells.get((row.name, cell.mask)), reasons)
        for row, cell in todo
        for column in columns
        if column.mask == cell.mask
    ]
    sheet.here = describe(cells.values())
    sheet.pairs = list(compare_rows(plan, columns, cells)) if paired else []
    sheet.notes = [*plan.notes, *name_papers(plan), *explain_gaps(plan, sheet.gaps)]
    sheet.rank()
    return sheet, cells


def cell_setups(composed: Config, cell: CellPlan) -> list[Setup]:
    """The runs of a cell, one for each seed. They differ in the seed, and in values that refer to it: ``${seed}``."""
    if "seed}" in str(composed):  # as written: OmegaConf resolves nothing here
        return [Setup.of(seeded(composed, seed)) for seed in cell.seeds]
    first = Setup.of(composed)
    return [replace(first, seed=seed, config={**first.config, "seed": seed}) for seed in cell.seeds]


def seeded(composed: Any, seed: int) -> Config:
    cfg: Any = composed.copy()
    cfg.seed = seed
    return cfg


def is_finished(setup: Setup) -> bool:
    """Whether all images of a run are there; ``Missing`` where its images or weights are not here."""
    experiment = Experiment(setup)
    ids = experiment.ids()
    experiment.require(ids)
    return set(ids) <= set(experiment.store.records())


def value_of(
    row: RowPlan, cell: CellPlan, column: Column, plan: TablePlan, found: Row | None, reasons: Reasons
) -> Value:
    """One cell's value of one metric, or why there is none."""
    place, name = list(plan.metrics).index(column.paper_metric), column.metric.name
    value = Value(row, column, paper=cell.paper[place] if cell.paper else None)
    if found is None:
        value.missing = reasons[row.name, cell.mask]
        return value
    value.calls, value.seconds = found.mean("network_calls"), found.mean("seconds")
    value.protocol, value.missing = protocol(found.experiment), found.skipped.get(name, "")
    if (sample := found.samples.get(name)) is not None:
        value.ours, value.missing = found.estimate(name, plan.bootstrap), ""
        value.seed_sd = sample.spread() if len(sample.seeds) > 1 else None
    return value


def protocol(experiment: Experiment) -> str:
    """Network, precision, batch size and device of a run."""
    summary, network = experiment.store.read_json("summary.json"), experiment.network
    random = [RANDOM] if network["weights"] == RANDOM else []
    parts = [network["model"], network["size"], *random, summary.get("precision"), f"batch {summary.get('batch_size')}"]
    return ", ".join(map(str, [*parts, summary.get("device")]))


def describe(rows: Iterable[Row]) -> str:
    """What pictures these rows show, and which networks made them; empty without rows."""
    shown: dict[str, None] = {}
    networks: dict[str, None] = {}
    for row in rows:
        height, width = row.experiment.store.image(row.ids[0]).shape[:2]
        shown[f"{row.experiment.setup.names[0]}, {width}x{height}"] = None
        if row.experiment.setup.asks:
            networks[row.experiment.network["model"]] = None
    return "; ".join([*shown, *([f"networks {', '.join(networks)}"] if networks else [])])


def compare_rows(plan: TablePlan, columns: Sequence[Column], cells: Cells) -> Iterator[Pair]:
    """Each row against each of its partners, where there is a difference of ours or of the paper's."""
    rows, metrics = {row.name: row for row in plan.rows}, list(plan.metrics)
    for row, partner in [(each, rows[name]) for each in plan.rows for name in each.against]:
        for column in columns:
            name, found = column.metric.name, None
            both = [cells.get((each.name, column.mask)) for each in (partner, row)]
            measured = [each for each in both if each is not None and name in each.samples]
            if len(measured) == 2:
                first, second = measured
                ids, higher = (first.ids, second.ids), column.metric.higher_is_better
                found = contrast(first.samples[name], second.samples[name], plan.bootstrap, ids, higher)
            printed = printed_difference(row, partner, column.mask, metrics.index(column.paper_metric))
            if found is not None or printed is not None:
                yield Pair(row, partner, column, found, printed)


def name_papers(plan: TablePlan) -> list[str]:
    """One sentence for every paper but the main one that printed values are of."""
    grouped = defaultdict(list)
    for row in plan.rows:
        if row.source and any(value is not None for cell in row.cells for value in cell.paper):
            grouped[row.source].append(row.label)
    return [f"The paper's values of {'; '.join(labels)} were {source}." for source, labels in grouped.items()]


def explain_gaps(plan: TablePlan, gaps: Gaps) -> list[str]:
    """One sentence for every reason that neither a download nor a run mends, for cells and for single images."""
    masks = defaultdict[tuple[str, str], list[str]](list)
    for row, cell in plan.cells():
        if cell.impossible:
            masks[cell.impossible, row.label].append(cell.mask)
    grouped = defaultdict[str, list[str]](list)
    for (reason, label), its in masks.items():
        grouped[reason].append(label if its == list(plan.masks) else f"{label} ({', '.join(its)})")
    return [f"{reason}: {'; '.join(cells)}." for reason, cells in (grouped | gaps.failed).items()]


def cell_config(cell: CellPlan, metrics: Sequence[str], group: str = "", name: str = "") -> Config:
    """The runs of a cell, which differ in their seeds; loggers show them in a ``group`` under ``name``."""
    composed = compose_run([f"mask={cell.mask}", f"metrics.names=[{','.join(metrics)}]", *cell.overrides])
    if group:
        set_group(composed, group, name)
    return composed


def configs_of(plans: Iterable[TablePlan], strict: bool = False) -> Iterator[tuple[str, Config]]:
    """All runs behind these tables, with what each is called.

    What does not compose is left to the tables to explain, unless ``strict``.
    """
    for table in plans:
        for row, cell in table.cells():
            if cell.impossible:
                continue
            try:
                composed = cell_config(cell, list(table.metrics.values()), table.name, row.name)
            except UserError:
                if strict:
                    raise
                continue
            for seed in cell.seeds:
                yield f"{table.name}, {row.label}, {cell.mask}, seed {seed}", seeded(composed, seed)


def measure(name: str, setups: Sequence[Setup]) -> Row:
    """Run (or take up) a cell and measure it."""
    outcomes = [execute(setup) for setup in setups]
    found = [outcome.experiment.store.records() for outcome in outcomes]
    # An image that failed with one seed is left out with all, or seeds would be compared on other images.
    common = set.intersection(*map(set, found))
    ids = [image_id for image_id in outcomes[0].experiment.ids() if image_id in common]
    if not ids:
        raise UserError(f"{name}: no image could be made with every seed")
    made = Row(name, [], {})
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
        if isinstance(metric, Diversity) and len(setups) > 1:  # of the runs with the first two seeds
            with suppress(Unavailable):  # then the cell says that it cannot be measured here
                between = metric.between_runs(*(result_features(*each, metric.extractor) for each in made.runs[:2]))
                between.groups = sources(*made.runs[0])
                made.samples[metric.name] = SeedsStatistic([between])
    return made
