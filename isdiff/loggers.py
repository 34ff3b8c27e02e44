"""Where a finished run is reported besides its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from isdiff.errors import UserError


def report(cfg: DictConfig, name: str, folder: Path, summary: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Send a run to the logger of ``cfg``: configuration, summary, a table of images and the grid."""
    if cfg.logger.kind == "none":
        return
    try:
        import wandb
    except ImportError:
        raise UserError("logger=wandb needs the wandb package: pip install wandb") from None
    os.environ.setdefault("WANDB_SILENT", "true")
    with wandb.init(
        project=cfg.logger.project, entity=cfg.logger.entity, mode=cfg.logger.mode, name=name, dir=str(folder),
        config=OmegaConf.to_container(cfg, resolve=True),
    ) as run:  # fmt: skip
        numbers = {key: value for key, value in summary.items() if isinstance(value, (int, float))}
        run.summary.update(numbers | {k: v["value"] for k, v in summary["metrics"].items() if "value" in v})
        columns = ["id", "network_calls", "attempts", "dce", "seconds"]
        rows = [[r["id"], r["network_calls"], r["attempts"], (r["dce"] or [None])[-1], r["seconds"]] for r in records]
        run.log({"images": wandb.Table(columns, rows), "grid": wandb.Image(str(folder / "grid.png"))})
