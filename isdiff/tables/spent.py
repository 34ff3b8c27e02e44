"""What the runs behind a report have cost in all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from isdiff.runs.experiment import Experiment
from isdiff.tables.cells import Cells
from isdiff.tables.plan import TablePlan

Costs = Mapping[tuple[str, str], tuple[int, float]]  # network calls and seconds, by a run's folder and image


def costs_of(table: TablePlan, cells: Cells) -> dict[tuple[str, str], tuple[int, float]]:
    """What each image behind a table cost, with every seed; a run that several tables have is the same entry in all."""
    return {
        (str(experiment.store.path), record["id"]): (record["network_calls"], record["seconds"])
        for experiment, ids in runs_of(table, cells)
        for record in experiment.store.records().values()
        if record["id"] in ids
    }


def runs_of(table: TablePlan, cells: Cells) -> Iterator[tuple[Experiment, set[str]]]:
    """Each run behind the table, with the images that the table shows of it."""
    for row in table.rows:
        for cell in row.cells:
            found = cells.get((row.name, cell.mask))
            if found is not None:
                for seed in cell.seeds:
                    yield found.experiment.with_seed(seed), set(found.ids)


@dataclass(frozen=True)
class Spent:
    """The sum of what images cost."""

    images: int
    network_calls: int
    seconds: float

    @classmethod
    def of(cls, costs: Costs) -> Spent:
        return cls(len(costs), sum(calls for calls, _ in costs.values()), sum(seconds for _, seconds in costs.values()))

    def __str__(self) -> str:
        return (
            f"all runs: {self.network_calls:,} network calls for {self.images:,} pictures, "
            f"{self.seconds / 3600:.1f} hours of one worker"
        )
