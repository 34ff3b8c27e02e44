"""A row of a table on one mask: its runs, one for each seed, and what was measured of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from omegaconf import DictConfig

from isdiff.config.composing import compose_run
from isdiff.errors import UserError
from isdiff.loggers.base import set_group
from isdiff.metrics.base import Metric
from isdiff.metrics.samples import SeedsStatistic
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import Records, samples
from isdiff.runs.run import execute
from isdiff.tables.plan import CellPlan, RowPlan, TablePlan

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
    mask: str
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


def row_configs(cell: CellPlan, metrics: Sequence[str], group: str = "", name: str = "") -> list[DictConfig]:
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


def configs_of(plans: Iterable[TablePlan], strict: bool = False) -> Iterator[tuple[str, DictConfig]]:
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


def run_row(row: RowPlan, cell: CellPlan, metrics: Sequence[Metric], group: str = "") -> Row:
    """Run (or take up) a cell and measure it."""
    configs = row_configs(cell, [metric.name for metric in metrics], group, row.name)
    outcomes = [execute(cfg) for cfg in configs]
    found = [outcome.experiment.store.records() for outcome in outcomes]
    # An image that failed with one seed is left out with all, or seeds would be compared on other images.
    common = set.intersection(*map(set, found))
    ids = [image_id for image_id in outcomes[0].experiment.ids() if image_id in common]
    if not ids:
        raise UserError(f"{row.label} on {cell.mask} masks: no image could be made with every seed")
    made = Row(row.label, cell.mask, [], {})
    measured = []
    for outcome, records in zip(outcomes, found, strict=True):
        made.runs.append((outcome.experiment, [records[image_id] for image_id in ids]))
        made.failed |= outcome.failed
        kept, why = samples(*made.runs[-1], outcome.experiment.setup.metrics)
        measured.append(kept)
        made.skipped |= why
    everywhere = [key for key in measured[0] if all(key in kept for kept in measured)]
    made.samples = {key: SeedsStatistic([kept[key] for kept in measured]) for key in everywhere}
    return made
