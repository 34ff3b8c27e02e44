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


def prepare(cfg: DictConfig) -> None:
    """Before hours of sampling: whether the logger will be able to log.

    Raises:
        UserError: it will not.
    """
    if cfg.logger.kind == "none":
        return
    mode = cfg.logger.mode
    if mode not in ("online", "offline", "disabled", "shared"):
        raise UserError(f"logger.mode (or WANDB_MODE) is {mode!r}; it must be offline, online or disabled")
    wandb = import_wandb()
    if mode == "online" and not has_key(wandb):
        raise UserError("logger=wandb in online mode needs a key: run wandb login, or give logger.mode=offline")


def has_key(wandb) -> bool:
    return bool(wandb.setup().settings.api_key or wandb.api.api_key)


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


def chosen_dce(record: dict[str, Any]) -> float | None:
    """DCE of the attempt whose result was kept; None where it was not judged."""
    return record["dce"][record["chosen_attempt"]] if record["chosen_attempt"] < len(record["dce"]) else None


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
        rows = [[r["id"], r["network_calls"], r["attempts"], chosen_dce(r), r["seconds"]] for r in records]
        run.log({"images": wandb.Table(columns, rows), "grid": wandb.Image(str(folder / "grid.png"))})
