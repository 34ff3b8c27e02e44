"""Where a finished run is reported besides its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from isdiff.errors import UserError


def import_wandb():
    try:
        import wandb
    except ImportError:
        raise UserError("logger=wandb needs the wandb package: pip install wandb") from None
    os.environ.setdefault("WANDB_SILENT", "true")
    return wandb


def training_log(cfg: DictConfig) -> Callable[[dict[str, float]], None] | None:
    """Takes the lines of a training curve to the logger of ``cfg``; None if there is none."""
    if cfg.logger.kind == "none":
        return None
    wandb = import_wandb()
    run = wandb.init(
        project=cfg.logger.project, entity=cfg.logger.entity, mode=cfg.logger.mode, name=cfg.name, dir=cfg.folder,
        config=OmegaConf.to_container(cfg, resolve=True),
    )  # fmt: skip
    return lambda line: run.log(line, step=int(line["samples"]))


def report(cfg: DictConfig, name: str, folder: Path, summary: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Send a run to the logger of ``cfg``: configuration, summary, a table of images and the grid."""
    if cfg.logger.kind == "none":
        return
    wandb = import_wandb()
    with wandb.init(
        project=cfg.logger.project, entity=cfg.logger.entity, mode=cfg.logger.mode, name=name, dir=str(folder),
        config=OmegaConf.to_container(cfg, resolve=True),
    ) as run:  # fmt: skip
        numbers = {key: value for key, value in summary.items() if isinstance(value, (int, float))}
        run.summary.update(numbers | {k: v["value"] for k, v in summary["metrics"].items() if "value" in v})
        columns = ["id", "network_calls", "attempts", "dce", "seconds"]
        rows = [[r["id"], r["network_calls"], r["attempts"], (r["dce"] or [None])[-1], r["seconds"]] for r in records]
        run.log({"images": wandb.Table(columns, rows), "grid": wandb.Image(str(folder / "grid.png"))})
