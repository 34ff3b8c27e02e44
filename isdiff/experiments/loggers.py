"""Where a run and a training are reported besides their folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isdiff.checks import check_text
from isdiff.component import Component
from isdiff.errors import UserError
from isdiff.experiments.build import build, resolved
from isdiff.paths import placed

Line = dict[str, float]


class Logger(Component):
    """Reports nowhere."""

    def prepare(self) -> None:
        """Before hours of sampling: whether it will be able to log.

        Raises:
            UserError: it will not.
        """

    def report(
        self,
        name: str,
        folder: Path,
        config: Mapping[str, Any],
        summary: Mapping[str, Any],
        records: Sequence[Mapping[str, Any]],
    ) -> None:
        """Send a finished run, whose ``folder`` has its pictures: configuration, summary and a record per image."""

    def training(self, name: str, folder: Path, config: Mapping[str, Any]) -> Callable[[Line], None] | None:
        """Takes the lines of a training curve; None where nobody wants them."""
        return None


class WandbLogger(Logger):
    """Weights & Biases.

    Args:
        project, entity: where the run appears.
        mode: ``offline`` (to be synchronised later, without an account), ``online``, ``shared`` or ``disabled``.
    Raises:
        ValueError: another mode, or a name that is no text.
    """

    def __init__(self, project: str = "isdiff", entity: str | None = None, mode: str = "offline") -> None:
        if mode not in ("online", "offline", "disabled", "shared"):
            raise ValueError(f"logger.mode (or WANDB_MODE) is {mode!r}; it must be offline, online or disabled")
        check_text("logger.project", project)
        if entity is not None:
            check_text("logger.entity", entity)
        self.project, self.entity, self.mode = project, entity, mode

    def prepare(self) -> None:
        wandb = import_wandb()
        if self.mode == "online" and not (wandb.setup().settings.api_key or wandb.api.api_key):
            raise UserError("logger=wandb in online mode needs a key: run wandb login, or give logger.mode=offline")

    def begun(self, name: str, folder: Path, config: Mapping[str, Any]) -> Any:
        return import_wandb().init(
            project=self.project, entity=self.entity, mode=self.mode, name=name, dir=str(folder), config=dict(config)
        )

    def report(
        self,
        name: str,
        folder: Path,
        config: Mapping[str, Any],
        summary: Mapping[str, Any],
        records: Sequence[Mapping[str, Any]],
    ) -> None:
        """Also a table of the images and the contact sheet."""
        wandb = import_wandb()
        with self.begun(name, folder, config) as run:
            numbers = {key: value for key, value in summary.items() if isinstance(value, (int, float))}
            run.summary.update(numbers | {k: v["value"] for k, v in summary["metrics"].items() if "value" in v})
            columns = ["id", "network_calls", "attempts", "dce", "seconds"]
            rows = [[r["id"], r["network_calls"], r["attempts"], chosen_dce(r), r["seconds"]] for r in records]
            run.log({"images": wandb.Table(columns, rows), "grid": wandb.Image(str(folder / "grid.png"))})

    def training(self, name: str, folder: Path, config: Mapping[str, Any]) -> Callable[[Line], None]:
        run = self.begun(name, folder, config)
        return lambda line: run.log(line, step=int(line["samples"]))


def import_wandb() -> Any:
    """
    Raises:
        UserError: the package is not here.
    """
    try:
        import wandb
    except ImportError:
        raise UserError("logger=wandb needs the wandb package: pip install wandb") from None
    os.environ.setdefault("WANDB_SILENT", "true")
    return wandb


def chosen_dce(record: Mapping[str, Any]) -> float | None:
    """DCE of the attempt whose result was kept; None where it was not judged."""
    return record["dce"][record["chosen_attempt"]] if record["chosen_attempt"] < len(record["dce"]) else None


def training_log(cfg: DictConfig) -> Callable[[Line], None] | None:
    """Takes the lines of the training curve of ``cfg`` to its logger; None if there is none."""
    return build(cfg.logger, Logger).training(cfg.name, placed(cfg.folder), resolved(cfg))
