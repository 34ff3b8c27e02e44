"""Where a run is reported besides its folder. Nothing here changes a result or its hash."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from omegaconf import DictConfig

from isdiff.component import Component

Tables = Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]]  # columns and rows by name


@dataclass(frozen=True)
class Subject:
    """What is reported.

    Attributes:
        name: as people see it.
        folder: where it lies.
        config: what it was made with.
        group, job_type: which other runs it belongs to, and as what; a logger's own come first.
        tags: words that it can be found by.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    group: str | None = None
    job_type: str | None = None
    tags: tuple[str, ...] = field(default=())


class Images(Protocol):
    """The finished images of a run, for a logger that shows them."""

    @property
    def records(self) -> Sequence[Mapping[str, Any]]: ...

    def pictures(self, image_id: str) -> Mapping[str, np.ndarray]:
        """``input``, ``mask``, ``result`` and ``truth``, (H, W, 3) or (H, W) uint8.

        Raises:
            UserError: a file cannot be read (any more).
        """

    def values(self) -> Mapping[str, Sequence[float]]:
        """What metrics say of each image, by their names; only of metrics that do."""


class Session:
    """One run as it is reported; a context manager. This one reports nowhere."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def begin(self) -> None:
        """Sampling begins; without it, all images were there already."""

    def progress(self, now: Mapping[str, float]) -> None:
        """Where sampling stands: :meth:`isdiff.progress.Reporter.numbers`."""

    def finish(self, summary: Mapping[str, Any], images: Images) -> None:
        """The run is done: its folder has ``summary.json`` and ``grid.png``; ``images`` are all that it has."""


class Logger(Component):
    """One that reports nowhere; subclasses do."""

    def prepare(self) -> None:
        """Before hours of sampling: whether it will be able to log.

        Raises:
            UserError: it will not.
        """

    def session(self, subject: Subject) -> Session:
        """What reports this run."""
        return Session()

    def tables(self, subject: Subject, tables: Tables) -> None:
        """Report tables of their own, such as one of the paper's."""


def chosen_dce(record: Mapping[str, Any]) -> float | None:
    """DCE of the attempt whose result was kept; None where it was not judged."""
    return record["dce"][record["chosen_attempt"]] if record["chosen_attempt"] < len(record["dce"]) else None


def drop_run_id() -> None:
    """Before several runs: the id that wandb takes from the environment is that of one."""
    if os.environ.pop("WANDB_RUN_ID", None):
        print("isdiff: WANDB_RUN_ID is ignored: there are several runs, and each gets its own id", file=sys.stderr)


def set_group(cfg: DictConfig, group: str, job_type: str) -> None:
    """Make a run one of a group, if its logger knows groups; what a user gave stays."""
    node = cfg.get("logger")
    if not isinstance(node, DictConfig) or "group" not in node:
        return
    drop_run_id()
    for key, value in (("group", group), ("job_type", job_type)):
        if node[key] is None:
            node[key] = value
