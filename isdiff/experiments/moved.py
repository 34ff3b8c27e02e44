"""Keys that had other names: an old one is answered with the new one."""

from __future__ import annotations

from collections.abc import Iterable

from isdiff.errors import UserError

MOVED = {
    "isdiff.seed.kind": "called isdiff/seed=gmm, gaussian, mean or oracle",
    "isdiff.seed.start": "called isdiff.start.step",
    "isdiff.refine.lambda": "called isdiff.start.lambda",
    **{
        f"isdiff.refine.{key}": f"called isdiff.criterion.{key}"
        for key in ("bins", "smoothing", "texture", "direction")
    },
    "logger.kind": "called logger=none or wandb",
    "model.kind": "called model._target_",
    "metrics.download": "a command, isdiff weights get alexnet (or inception),",
}


def check_moved(overrides: Iterable[str]) -> None:
    """
    Raises:
        UserError: an override of a key that has another name now.
    """
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in MOVED:
            raise UserError(f"{key} is {MOVED[key]} now")
