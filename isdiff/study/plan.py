"""What a study is made from: a YAML file with cells, each with a run of every method over the same images and masks."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from isdiff.config.checked import read_checked
from isdiff.config.search_path import config_names
from isdiff.config.setup import build
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
    """A study's file: keys, their kinds, and what is meant where they are left out."""

    cells: list[CellFile] = MISSING
    n: int = 20
    seed: int = 0
    question: str = "Which picture is filled in best?"
    profile: str = "demo"


@dataclass(frozen=True)
class Run:
    """A method's run: its folder or one with a single run in it, or what it is made of, from which its folder follows.

    Attributes:
        overrides: those of ``isdiff run`` that make it; empty for a path.
        place: table, profile, row and mask that the overrides are those of; empty where they stand for themselves.
        extra: which of the overrides came from the command line.
    """

    path: Path | None = None
    overrides: tuple[str, ...] = ()
    place: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @cached_property
    def folder(self) -> RunFolder:
        """Where it lies; a run that is made of something need not be there.

        Raises:
            UserError: the overrides do not compose, or the path has no run, or several.
        """
        if self.path is None:
            from isdiff.config.composing import compose_run
            from isdiff.runs.experiment import Experiment  # which imports torch

            return Experiment.of(compose_run(self.overrides)).store
        below = [self.path, *(sorted(self.path.iterdir()) if self.path.is_dir() else [])]
        runs = [each for each in map(RunFolder, below) if each.records_path.exists()]
        if not runs:
            raise UserError(f"there is no run in {self.path}; make it with isdiff run, or give the run's folder")
        if len(runs) > 1 and runs[0].path != self.path:
            names = ", ".join(each.path.name for each in runs)
            raise UserError(f"{self.path} holds {len(runs)} runs ({names}); name one, or give row or overrides")
        return runs[0]


@dataclass(frozen=True)
class Cell:
    """A dataset and a mask, in the words of the table, and a run of every method by its label."""

    dataset: str
    mask: str
    runs: dict[str, Run]
    masks: Path | None = None

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.dataset}, {self.mask}"

    def folders(self) -> dict[str, RunFolder]:
        """The runs by method, methods in alphabetical order.

        Raises:
            UserError: one is not there, or two methods have the same.
        """
        try:
            found = {method: self.runs[method].folder for method in sorted(self.runs)}
        except UserError as error:
            raise UserError(f"cell {self.label}: {error}") from None
        counts = Counter(run.path.resolve() for run in found.values())
        if twice := [method for method, run in found.items() if counts[run.path.resolve()] > 1]:
            raise UserError(f"cell {self.label}: {' and '.join(twice)} have the same run; give each method its own")
        return found

    def mask_source(self, run: RunFolder) -> MaskSource:
        """The masks that ``run`` was made with.

        Raises:
            UserError: its configuration does not say, or they are no longer there.
        """
        try:
            node = OmegaConf.load(plain(run.path / "config.yaml")).mask
            kept = {str(key): value for key, value in node.items()}
            if self.masks is not None:
                return FileMask(str(self.masks), kept.get("invert", False))
            kept["_target_"] = target_of(str(kept.pop("class", "")))
            return build(OmegaConf.create(kept), MaskSource)
        except (OSError, YAMLError, OmegaConfBaseException, AttributeError, ValueError, UserError) as error:
            reason = " ".join(str(error).split())
            advice = f"give cell {self.label} a folder of its mask files as masks: FOLDER"
            raise UserError(f"the masks of {run.path} cannot be made again ({reason}); {advice}") from None


def target_of(name: str) -> str:
    """Where the class of masks is that a fingerprint names: a configuration of masks says so."""
    targets = [str(OmegaConf.select(OmegaConf.load(path), "_target_")) for path in config_names("mask").values()]
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
    question: str = field(default=PlanFile.question)

    def require_runs(self) -> None:
        """Check that the runs that the plan names by a row or overrides are there.

        Raises:
            UserError: some are not; with the commands that make them.
        """
        every = [(f"{method} ({cell.label})", run) for cell in self.cells for method, run in cell.runs.items()]
        absent = [(label, run) for label, run in every if run.overrides and not run.folder.records_path.exists()]
        if absent:
            (first, run), *rest = absent
            more, several = f" and {len(rest)} more are" if rest else " is", "; ".join(commands(r for _, r in absent))
            raise UserError(f"the run of {first}{more} not there (looked for {run.folder.path}); make it: {several}")


def commands(runs: Iterable[Run]) -> list[str]:
    """What makes these runs, one command for each table."""
    tables: dict[tuple[str, ...], tuple[dict[str, None], dict[str, None]]] = {}
    found = []
    for run in runs:
        if not run.place:
            found.append(shlex.join(["isdiff", "run", *run.overrides]))
            continue
        table, profile, row, mask = run.place
        rows, masks = tables.setdefault((table, profile, *run.extra), ({}, {}))
        rows[row], masks[mask] = None, None
    for (table, profile, *extra), (rows, masks) in tables.items():
        narrowed = [f"rows={','.join(rows)}", f"masks={','.join(masks)}"]
        found.append(shlex.join(["isdiff", "table", table, f"profile={profile}", *narrowed, *extra]))
    return found


def read_plan(path: str | Path, extra: Sequence[str] = (), n: int | None = None, seed: int | None = None) -> StudyPlan:
    """The plan in a YAML file.

    Args:
        extra: overrides of the runs that are named by a row or by overrides.
        n, seed: in the place of the file's.
    Raises:
        UserError: the file is missing or says something that cannot be.
    """
    _, given = read_checked(path, PlanFile(), "study plan")
    n, seed = given.n if n is None else n, given.seed if seed is None else seed
    if n < 1 or seed < 0:
        raise UserError(
            f"{path}: n is {n} and seed is {seed}; they must be whole numbers, n at least 1, seed at least 0"
        )
    cells = tuple(read_cell(cell, f"{path}, cell {i}", given.profile, extra) for i, cell in enumerate(given.cells, 1))
    if twice := [label for label, count in Counter(cell.label for cell in cells).items() if count > 1]:
        raise UserError(f"{path} has the cell {twice[0]} twice; leave one of them")
    if not cells:
        raise UserError(f"{path}: cells is empty; configs/study/table3.yaml shows how")
    return StudyPlan(cells, n, seed, given.question)


def read_cell(given: DictConfig, where: str, profile: str, extra: Sequence[str]) -> Cell:
    """A cell of the file, with its runs.

    Raises:
        UserError: it has fewer than two methods, or a run that is none.
    """
    if len(given.runs) < 2:
        raise UserError(f"{where}: runs has {len(given.runs)} entries; give at least two methods, each with a run")
    try:
        runs = {method: read_run(method, run, given, profile, extra) for method, run in given.runs.items()}
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Cell(given.dataset, given.mask, runs, None if given.masks is None else located(given.masks))


def read_run(method: str, content: Any, cell: DictConfig, profile: str, extra: Sequence[str]) -> Run:
    """A run as a cell gives it: a folder, ``{row: NAME}`` of the cell's table, or ``{overrides: [...]}``.

    Raises:
        UserError: it is none of these, or names what there is not.
    """
    if isinstance(content, str) and content:
        return Run(located(content))
    kind, value = next(iter(content.items())) if isinstance(content, DictConfig) and len(content) == 1 else ("", None)
    if kind == "overrides" and value:
        return Run(None, (*map(str, value), *extra), extra=tuple(extra))
    if kind != "row" or not isinstance(value, str):
        raise UserError(f"{method} is {content!r}; give a folder, {{row: NAME}} or {{overrides: [KEY=VALUE]}}")
    if cell.table is None:
        raise UserError(f"{method} names a row; give its table too, as in table: table1 beside runs")
    from isdiff.tables.plan import plan

    whole = plan(cell.table, profile, masks=[cell.mask], rows=[str(value)], extra=extra)
    found = next(
        (each for row in whole.rows if row.name == value for each in row.cells if each.mask == cell.mask), None
    )
    if found is None or found.impossible:
        reason = found.impossible if found else "patterns name no single run"
        raise UserError(
            f"{cell.table} has no run of row {value!r} with {cell.mask} masks (profile={profile}): {reason}"
        )
    overrides = [f"mask={cell.mask}", f"seed={found.seeds[0]}", *found.overrides]
    last = {override.partition("=")[0]: override for override in overrides}
    return Run(None, tuple(last.values()), (cell.table, profile, value, cell.mask), tuple(extra))
