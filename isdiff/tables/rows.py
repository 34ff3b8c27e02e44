"""A row of a table on one mask: its runs, one for each seed, and what was measured of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from omegaconf import DictConfig

from isdiff.config.composing import compose_run
from isdiff.errors import UserError
from isdiff.loggers.base import set_group
from isdiff.metrics.base import Metric
from isdiff.metrics.samples import SeedsStatistic, Statistic
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import samples
from isdiff.runs.run import execute

Records = list[dict[str, Any]]
Costs = dict[tuple[str, str], tuple[int, float]]  # network calls and seconds, by a run's folder and image


@dataclass
class Row:
    """One method on one mask, with one or several seeds over the same images.

    Attributes:
        runs: each seed's experiment, with the records of the images.
        samples: what was measured, by the metrics' names.
        failed: why images could not be made, by id.
    """

    label: str
    mask: str
    runs: list[tuple[Experiment, Records]]
    samples: dict[str, SeedsStatistic]
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


def with_seeds(composed: DictConfig, seeds: Sequence[int]) -> list[DictConfig]:
    """The configuration with each of the seeds; composing takes much longer than copying."""
    configs = [composed.copy() for _ in seeds]
    for cfg, seed in zip(configs, seeds, strict=True):
        cfg.seed = seed
    return configs


def row_configs(
    mask: str, overrides: Sequence[str], metrics: Sequence[str], seeds: Sequence[int], group: str, name: str
) -> list[DictConfig]:
    """The runs of a row, one for each seed: see :func:`run_row`.

    Raises:
        UserError: the overrides do not compose.
    """
    composed = compose_run([f"mask={mask}", f"metrics.names=[{','.join(metrics)}]", *overrides])
    if group:
        set_group(composed, group, name)
    return with_seeds(composed, seeds)


def run_row(
    label: str,
    mask: str,
    overrides: Sequence[str],
    metrics: Sequence[Metric],
    seeds: Sequence[int],
    *,
    group: str = "",
    name: str = "",
) -> tuple[Row, dict[str, str]]:
    """Run (or take up) one experiment and measure it; also says which metrics could not run, and why.

    Args:
        group: of all rows of a table in a logger, where each goes by its ``name``.
    """
    configs = row_configs(mask, overrides, [metric.name for metric in metrics], seeds, group, name or label)
    outcomes = [execute(cfg) for cfg in configs]
    found = [outcome.experiment.store.records() for outcome in outcomes]
    # An image that failed with one seed is left out with all, or seeds would be compared on other images.
    common = set.intersection(*map(set, found))
    ids = [image_id for image_id in outcomes[0].experiment.ids() if image_id in common]
    if not ids:
        raise UserError(f"{label} on {mask} masks: no image could be made with every seed")
    row = Row(label, mask, [], {})
    skipped: dict[str, str] = {}
    measured: list[dict[str, Statistic]] = []
    for outcome, records in zip(outcomes, found, strict=True):
        row.runs.append((outcome.experiment, [records[image_id] for image_id in ids]))
        row.failed |= outcome.failed
        kept, why = samples(*row.runs[-1], outcome.experiment.setup.metrics)
        measured.append(kept)
        skipped |= why
    everywhere = [key for key in measured[0] if all(key in kept for kept in measured)]
    row.samples = {key: SeedsStatistic([kept[key] for kept in measured]) for key in everywhere}
    return row, skipped
