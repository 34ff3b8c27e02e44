"""Where a run is reported besides its folder. Nothing here changes a result or its hash."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isdiff.component import Component
from isdiff.config.nodes import Config

Tables = Mapping[str, Sequence[Mapping[str, Any]]]  # by name, rows whose keys are the columns


@dataclass(frozen=True)
class Subject:
    name: str
    folder: Path
    config: Mapping[str, Any]
    group: str | None = None  # the other runs it belongs to; a logger's own comes first
    job_type: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Images:
    """The finished images of a run.

    ``pictures`` gives ``input``, ``mask``, ``result`` and ``truth`` of an image by its id, (H, W, 3) or (H, W) uint8,
    or raises ``UserError``. ``values`` gives what metrics say of each image, by their names.
    """

    records: Sequence[Mapping[str, Any]]
    pictures: Callable[[str], Mapping[str, np.ndarray]]
    values: Callable[[], Mapping[str, Sequence[float]]]


class Session:
    """One run as it is reported. This one reports nowhere."""

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def progress(self, now: Mapping[str, float]) -> None:
        """Where sampling stands, :meth:`isdiff.progress.Reporter.numbers`; not called if all images were there."""

    def finish(self, summary: Mapping[str, Any], images: Images) -> None:
        """The run is done: its folder has ``summary.json`` and ``grid.png``; ``images`` are all that it has."""


class Logger(Component):
    """One that reports nowhere; subclasses do."""

    def prepare(self) -> None:
        """Raise ``UserError``, before hours of sampling, if it will not be able to log."""

    def session(self, subject: Subject) -> Session:
        return Session()

    def tables(self, subject: Subject, tables: Tables) -> None:
        """Report tables of their own, such as one of the paper's."""


def chosen_dce(record: Mapping[str, Any]) -> float | None:
    """Return the DCE of the attempt that was kept; None where it was not judged."""
    return record["dce"][record["chosen_attempt"]] if record["chosen_attempt"] < len(record["dce"]) else None


def drop_run_id() -> None:
    """Drop the id that wandb takes from the environment, before several runs."""
    if os.environ.pop("WANDB_RUN_ID", None):
        print("isdiff: WANDB_RUN_ID is ignored: there are several runs, and each gets its own id", file=sys.stderr)


def set_group(cfg: Config, group: str, job_type: str) -> None:
    """Make a run one of a group, if its logger knows groups; what a user gave stays."""
    node = cfg.get("logger")
    if isinstance(node, Config) and "group" in node:
        drop_run_id()
        node.group = node.group or group
        node.job_type = node.job_type or job_type
