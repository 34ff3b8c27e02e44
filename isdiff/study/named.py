"""Runs of a study named by what they are made of: by a table's row, or by overrides. Their folders follow from that."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from isdiff.errors import UserError
from isdiff.runs.store import RunFolder


@dataclass(frozen=True)
class Named:
    """
    Attributes:
        overrides: those of ``isdiff run`` that make it.
        place: table, profile, row and mask that the overrides are those of; empty where they stand for themselves.
        extra: which of the overrides came from the command line.
    """

    overrides: tuple[str, ...]
    place: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @cached_property
    def run(self) -> RunFolder:
        """Its folder, whether the run is there or not.

        Raises:
            UserError: the overrides do not compose, or hold a value that cannot work.
        """
        from isdiff.config.composing import compose_run
        from isdiff.runs.experiment import Experiment  # which imports torch

        return Experiment.of(compose_run(self.overrides)).store


def row_run(table: str, profile: str, row: str, mask: str, extra: Sequence[str]) -> Named:
    """The run behind a table's cell, with its first seed.

    Raises:
        UserError: there is no such cell.
    """
    from isdiff.tables.plan import plan

    whole = plan(table, profile, masks=[mask], rows=[row], extra=extra)
    cell = next((cell for each in whole.rows if each.name == row for cell in each.cells if cell.mask == mask), None)
    if cell is None:
        raise UserError(f"{table} has no row {row!r} with {mask} masks; patterns name no single run")
    if cell.impossible:
        raise UserError(f"row {row} of {table} has no run with profile={profile}: {cell.impossible}")
    overrides = [f"mask={mask}", f"seed={cell.seeds[0]}", *cell.overrides]
    last = {override.partition("=")[0]: override for override in overrides}
    return Named(tuple(last.values()), (table, profile, row, mask), tuple(extra))


def require_runs(runs: Iterable[tuple[str, Named]]) -> None:
    """
    Args:
        runs: each with what it is called.
    Raises:
        UserError: some are not there; with the commands that make them.
    """
    absent = [(label, run) for label, run in runs if not run.run.records_path.exists()]
    if absent:
        first, more = absent[0][0], f" and {len(absent) - 1} more are" if len(absent) > 1 else " is"
        several = "; ".join(commands(run for _, run in absent))
        raise UserError(f"the run of {first}{more} not there (looked for {absent[0][1].run.path}); make it: {several}")


def commands(runs: Iterable[Named]) -> list[str]:
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


def run_folder(run: Path | Named, what: str) -> RunFolder:
    """The run that is named, or in a folder, or the only one in the folders below it.

    Raises:
        UserError: there is none, or several.
    """
    if isinstance(run, Named):
        return run.run
    path = run
    if RunFolder(path).records_path.exists():
        return RunFolder(path)
    below = sorted(path.iterdir()) if path.is_dir() else []
    runs = [each for each in map(RunFolder, below) if each.records_path.exists()]
    if not runs:
        raise UserError(f"{what}: there is no run in {path}; make it with isdiff run, or give the run's folder")
    if len(runs) > 1:
        names = ", ".join(each.path.name for each in runs)
        raise UserError(f"{what}: {path} holds {len(runs)} runs ({names}); name one of them, or give row or overrides")
    return runs[0]
