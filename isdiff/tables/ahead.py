"""All runs behind tables and figures, for those who compute them before a table is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig

from isdiff.errors import UserError
from isdiff.tables.compare import row_configs
from isdiff.tables.figures import as_table, figure_names
from isdiff.tables.plan import NothingChosen, TablePlan, load, names, plan


def plans_of(asked: Sequence[str], profile: str, alone: bool = False, **options: Any) -> list[TablePlan]:
    """The tables among ``asked`` and the tables behind its figures; with ``report`` all that a report runs, without
    those of which the options leave nothing.

    Args:
        alone: also figures that a report shows but does not run.
    Raises:
        UserError: as :func:`isdiff.tables.plan.plan`.
    """
    only = [name for name in asked if name != "report"]
    whole = "report" in asked
    tables = [name for name in names("table") if name in only or (whole and not only)]
    figures = [name for name in figure_names() if name in only or (whole and not only)]
    figures = [name for name in figures if alone or not (whole and load("figure", name).get("alone"))]
    found: list[TablePlan] = []
    refused: list[NothingChosen] = []
    for name in [*tables, *figures]:
        figure = load("figure", name) if name in figures else None
        shown = [None] if figure is None else [as_table(figure, dataset, profile) for dataset in figure.datasets]
        try:
            found += [plan(name, profile, table=table, **options) for table in shown]
        except NothingChosen as error:
            refused.append(error)
            if not whole:
                raise
    if refused and not found:
        raise refused[0] if len(refused) == 1 else NothingChosen("; ".join(map(str, refused)))
    return found


def configs_of(plans: Sequence[TablePlan]) -> Iterator[tuple[str, DictConfig]]:
    """All runs behind these tables, with what each is called; what cannot be run is left to the tables to explain."""
    for table in plans:
        for row in table.rows:
            for cell in row.cells:
                if cell.impossible:
                    continue
                metrics = list(table.metrics.values())
                try:
                    configs = row_configs(cell.mask, cell.overrides, metrics, cell.seeds, table.name, row.name)
                except UserError:
                    continue
                for cfg in configs:
                    yield f"{table.name}, {row.label}, {cell.mask}, seed {cfg.seed}", cfg
