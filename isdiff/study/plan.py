"""What a study is made from: a YAML file with cells, each with a run of every method over the same images and masks."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yaml import YAMLError

from isdiff.config.build import build, read_checked
from isdiff.config.composing import compose_run
from isdiff.config.nodes import MISSING, Config, ConfigError, read_config
from isdiff.config.search_path import config_names
from isdiff.errors import UserError
from isdiff.io.files import plain
from isdiff.masks.base import MaskSource
from isdiff.masks.files import FileMask
from isdiff.paths import located
from isdiff.runs.store import RunFolder


@dataclass
class CellFile:
    """A cell as the file gives it; ``masks``: mask files, where the runs' own are no longer where they were."""

    dataset: str = MISSING
    mask: str = MISSING
    runs: dict[str, Any] = MISSING
    masks: str | None = None
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
    """A method's run.

    Attributes:
        path: its folder, or one with a single run in it; None where its folder follows from ``overrides``.
        overrides: those of ``isdiff run`` that make it.
        row: the row of the cell's table that they are those of, if any.
    """

    path: Path | None = None
    overrides: tuple[str, ...] = ()
    row: str = ""

    @cached_property
    def folder(self) -> RunFolder:
        """Where it lies; a run that is made of overrides need not be there."""
        if self.path is None:
            from isdiff.runs.experiment import Experiment  # imports torch

            return Experiment.of(compose_run(self.overrides)).store
        below = [self.path, *(sorted(self.path.iterdir()) if self.path.is_dir() else [])]
        runs = [each for each in map(RunFolder, below) if each.records_path.exists()]
        if not runs or (len(runs) > 1 and runs[0].path != self.path):
            there = f"{len(runs)} runs are" if runs else "there is no run"
            raise UserError(f"{there} in {self.path}; give the folder of one run, or make it with isdiff run")
        return runs[0]


@dataclass(frozen=True)
class Cell:
    """A dataset and a mask, in the words of the table, and a run of every method by its label.

    Attributes:
        table: words of ``isdiff table`` that name the table of rows: its name and profile.
        extra: overrides from the command line.
    """

    dataset: str
    mask: str
    runs: dict[str, Run]
    masks: Path | None = None
    table: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.dataset}, {self.mask}"

    def folders(self) -> dict[str, RunFolder]:
        """The runs by method, methods in alphabetical order."""
        try:
            found = {method: self.runs[method].folder for method in sorted(self.runs)}
        except UserError as error:
            raise UserError(f"cell {self.label}: {error}") from None
        counts = Counter(run.path.resolve() for run in found.values())
        if twice := [method for method, run in found.items() if counts[run.path.resolve()] > 1]:
            raise UserError(f"cell {self.label}: {' and '.join(twice)} have the same run; give each method its own")
        return found

    def commands(self, runs: Sequence[Run]) -> list[str]:
        """Commands that make these runs."""
        found = [["isdiff", "run", *run.overrides] for run in runs if not run.row]
        if rows := [run.row for run in runs if run.row]:
            found.append(["isdiff", "table", *self.table, f"rows={','.join(rows)}", f"masks={self.mask}", *self.extra])
        return list(map(shlex.join, found))

    def mask_source(self, run: RunFolder) -> MaskSource:
        """The masks that ``run`` was made with."""
        try:
            node = read_config(plain(run.path / "config.yaml")).mask
            kept = {str(key): value for key, value in node.items()}
            if self.masks is not None:
                return FileMask(str(self.masks), kept.get("invert", False))
            target = target_of(str(kept.pop("class", "")))
            return build({**kept, "_target_": target}, MaskSource, "mask")
        except (OSError, YAMLError, ConfigError, AttributeError, ValueError, UserError) as error:
            reason = " ".join(str(error).split())
            advice = f"give cell {self.label} a folder of its mask files as masks: FOLDER"
            raise UserError(f"the masks of {run.path} cannot be made again ({reason}); {advice}") from None


def target_of(name: str) -> str:
    """Where the class of masks is that a fingerprint names: a configuration of masks says so."""
    files: list[Any] = [read_config(path) for path in config_names("mask").values()]
    targets = [str(file.get("_target_")) for file in files]
    return next((target for target in targets if target.rpartition(".")[2] == name.rpartition(":")[2]), name)


@dataclass(frozen=True)
class StudyPlan:
    """What a study is drawn from.

    Attributes:
        n: sets of pictures for each cell.
        seed: chooses the sets, who stands where, the order of the questions and the names of the pictures.
        question: what people are asked.
    """

    cells: tuple[Cell, ...]
    n: int
    seed: int
    question: str = PlanFile.question

    def require_runs(self) -> None:
        """Refuse to begin while runs are missing that rows or overrides name; gives the commands that make them."""
        missing = []
        for cell in self.cells:
            runs = [r for r in cell.runs.values() if r.overrides and not r.folder.records_path.exists()]
            missing += [(cell, runs)] * bool(runs)
        if missing:
            count, first = sum(len(runs) for _, runs in missing), missing[0][1][0]
            commands = "; ".join(command for cell, runs in missing for command in cell.commands(runs))
            raise UserError(f"{count} runs are not there (first: {first.folder.path}); make them: {commands}")


def read_plan(path: str | Path, extra: Sequence[str] = (), n: int | None = None, seed: int | None = None) -> StudyPlan:
    """The plan in a YAML file.

    Args:
        extra: overrides of the runs that are named by a row or by overrides.
        n, seed: in the place of the file's.
    """
    given = read_checked(path, PlanFile(), "study plan")
    n, seed = given.n if n is None else n, given.seed if seed is None else seed
    if n < 1 or seed < 0:
        raise UserError(f"{path}: n is {n} and seed is {seed}; n must be at least 1, seed at least 0")
    try:
        cells = tuple(read_cell(cell, given.profile, extra) for cell in given.cells)
    except UserError as error:
        raise UserError(f"{path}, {error}") from None
    if not cells or len({cell.label for cell in cells}) < len(cells):
        raise UserError(f"{path}: cells is empty or has a cell twice; configs/study/table3.yaml shows how")
    return StudyPlan(cells, n, seed, given.question)


def read_cell(given: Config, profile: str, extra: Sequence[str]) -> Cell:
    """A cell of the file, with its runs."""
    where = f"cell {given.dataset}, {given.mask}"
    if len(given.runs) < 2:
        raise UserError(f"{where}: give at least two methods in runs, each with a run")
    try:
        runs = {method: read_run(method, run, given, profile, extra) for method, run in given.runs.items()}
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    table = (given.table, f"profile={profile}") if given.table else ()
    return Cell(given.dataset, given.mask, runs, given.masks and located(given.masks), table, tuple(extra))


def read_run(method: str, content: Any, cell: Config, profile: str, extra: Sequence[str]) -> Run:
    """A run as a cell gives it: a folder, ``{row: NAME}`` of the cell's table, or ``{overrides: [...]}``."""
    if isinstance(content, str) and content:
        return Run(located(content))
    kind, value = next(iter(content.items())) if isinstance(content, Config) and len(content) == 1 else ("", None)
    if kind == "overrides" and value:
        return Run(None, (*map(str, value), *extra))
    if kind != "row" or not isinstance(value, str) or cell.table is None:
        kinds = "a folder, {overrides: [KEY=VALUE]}, or {row: NAME} with the cell's table beside runs"
        raise UserError(f"{method} is {content!r}; give {kinds}")
    from isdiff.tables.plan import plan

    rows = {row.name: row for row in plan(cell.table, profile, masks=[cell.mask], rows=[value], extra=extra).rows}
    found = rows[value].cells[0] if value in rows else None
    if found is None or found.impossible:
        reason = found.impossible if found else "patterns name no single run"
        raise UserError(f"{cell.table} has no run of row {value!r} with {cell.mask} masks: {reason}")
    overrides = [f"mask={cell.mask}", f"seed={found.seeds[0]}", *found.overrides]
    return Run(None, tuple({override.partition("=")[0]: override for override in overrides}.values()), value)
