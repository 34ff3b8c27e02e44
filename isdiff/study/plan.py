"""What a study is made from: a YAML file with cells, each with a run of every method over the same images and masks."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from isdiff.config.build import read_checked
from isdiff.config.composing import compose_run
from isdiff.config.nodes import MISSING, Config
from isdiff.errors import UserError
from isdiff.runs.experiment import Experiment
from isdiff.runs.store import RunFolder
from isdiff.tables.plan import plan


@dataclass
class CellFile:
    dataset: str = MISSING
    mask: str = MISSING
    runs: dict[str, Any] = MISSING
    table: str | None = None


@dataclass
class PlanFile:
    """A study's file: keys, their kinds and defaults."""

    cells: list[CellFile] = MISSING
    n: int = 20
    seed: int = 0
    question: str = "Which picture is filled in best?"
    profile: str = "demo"


@dataclass(frozen=True)
class Run:
    """A method's run: the overrides of ``isdiff run`` that make it, and the ``row`` of a table that they come from."""

    overrides: tuple[str, ...]
    row: str = ""

    @cached_property
    def experiment(self) -> Experiment:
        """Where it lies and with which masks; it need not be there."""
        return Experiment.of(compose_run(self.overrides))


@dataclass(frozen=True)
class Cell:
    """A dataset and a mask, in the words of the table, and a run of every method by its label."""

    dataset: str
    mask: str
    runs: dict[str, Run]
    table: tuple[str, ...] = ()  # words of isdiff table: the name of the table of rows, profile, overrides

    @property
    def label(self) -> str:
        return f"{self.dataset}, {self.mask}"

    def folders(self) -> dict[str, RunFolder]:
        """The runs by method, methods in alphabetical order."""
        found = {method: self.runs[method].experiment.store for method in sorted(self.runs)}
        counts = Counter(run.path.resolve() for run in found.values())
        if twice := [method for method, run in found.items() if counts[run.path.resolve()] > 1]:
            raise UserError(f"cell {self.label}: {' and '.join(twice)} have the same run; give each method its own")
        return found

    def commands(self, runs: Sequence[Run]) -> list[str]:
        found = [["isdiff", "run", *run.overrides] for run in runs if not run.row]
        if rows := [run.row for run in runs if run.row]:
            chosen = f"rows={','.join(rows)}", f"masks={self.mask}"
            found.append(["isdiff", "table", *self.table[:2], *chosen, *self.table[2:]])
        return list(map(shlex.join, found))


@dataclass(frozen=True)
class StudyPlan:
    cells: tuple[Cell, ...]
    n: int  # sets of pictures for each cell
    seed: int  # chooses the sets, who stands where, the order of the questions and the names of the pictures
    question: str = PlanFile.question  # what people are asked

    def require_runs(self) -> None:
        """Refuse to begin while runs are missing; gives the commands that make them."""
        missing = []
        for cell in self.cells:
            runs = [run for run in cell.runs.values() if not run.experiment.store.records_path.exists()]
            missing += [(cell, runs)] * bool(runs)
        if missing:
            count, first = sum(len(runs) for _, runs in missing), missing[0][1][0]
            commands = "; ".join(command for cell, runs in missing for command in cell.commands(runs))
            raise UserError(f"{count} runs are not there (first: {first.experiment.store.path}); make them: {commands}")


def read_plan(path: str | Path, extra: Sequence[str] = (), n: int | None = None, seed: int | None = None) -> StudyPlan:
    """The plan in a YAML file, with ``extra`` overrides of all runs; ``n`` and ``seed`` replace the file's."""
    given = read_checked(path, PlanFile(), "study plan")
    n, seed = given.n if n is None else n, given.seed if seed is None else seed
    if n < 1 or seed < 0:
        raise UserError(f"{path}: n is {n} and seed is {seed}; n must be at least 1, seed at least 0")
    cells = tuple(read_cell(path, cell, given.profile, extra) for cell in given.cells)
    if not cells or len({cell.label for cell in cells}) < len(cells):
        raise UserError(f"{path}: cells is empty or has a cell twice; configs/study/table3.yaml shows how")
    return StudyPlan(cells, n, seed, given.question)


def read_cell(path: str | Path, given: Config, profile: str, extra: Sequence[str]) -> Cell:
    try:
        if len(given.runs) < 2:
            raise UserError("give at least two methods in runs, each with a run")
        runs = {method: read_run(method, run, given, profile, extra) for method, run in given.runs.items()}
    except UserError as error:
        raise UserError(f"{path}, cell {given.dataset}, {given.mask}: {error}") from None
    return Cell(given.dataset, given.mask, runs, (given.table, f"profile={profile}", *extra) if given.table else ())


def read_run(method: str, content: Any, cell: Config, profile: str, extra: Sequence[str]) -> Run:
    """A run as a cell gives it: ``{row: NAME}`` of the cell's table, or ``{overrides: [...]}``."""
    kind, value = next(iter(content.items())) if isinstance(content, Config) and len(content) == 1 else ("", None)
    if kind == "overrides" and value:
        return Run((*map(str, value), *extra))
    if kind != "row" or not isinstance(value, str) or cell.table is None:
        kinds = "{overrides: [KEY=VALUE]}, or {row: NAME} with the cell's table beside runs"
        raise UserError(f"{method} is {content!r}; give {kinds}")
    rows = {row.name: row for row in plan(cell.table, profile, masks=[cell.mask], rows=[value], extra=extra).rows}
    found = rows[value].cells[0] if value in rows else None
    if found is None or found.impossible:
        reason = found.impossible if found else "patterns name no single run"
        raise UserError(f"{cell.table} has no run of row {value!r} with {cell.mask} masks: {reason}")
    overrides = [f"mask={cell.mask}", f"seed={found.seeds[0]}", *found.overrides]
    return Run(tuple({override.partition("=")[0]: override for override in overrides}.values()), value)
