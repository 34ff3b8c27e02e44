"""Which runner is asked for on a command line: ``runner=local``, ``runner=ray runner.workers=8``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isdiff.errors import UserError
from isdiff.experiments.runner import Runner
from isdiff.experiments.runner_local import LocalRunner
from isdiff.experiments.runner_ray import RayRunner

KINDS = {"workers": int, "gpus": float, "address": str}


def split(items: Sequence[str]) -> tuple[Runner | None, list[str]]:
    """The runner that ``runner=local``, ``runner=ray``, ``runner.workers=8``, ... ask for, or None; and other items.

    Raises:
        UserError: there is no such runner, or it has no such setting.
    """
    given = dict(
        item.split("=", 1) for item in items if item.partition("=")[0].partition(".")[0] == "runner" and "=" in item
    )
    rest = [item for item in items if item.partition("=")[0] not in given]
    name = given.pop("runner", None)
    if name is None and not given:
        return None, rest
    values = {key.partition(".")[2]: value_of(key, text) for key, text in given.items()}
    if name == "ray":
        return RayRunner(**values), rest
    if name != "local":
        raise UserError(f"runner is {name!r}; it must be local or ray, or not be given for runs in this process")
    if values.keys() - {"workers"}:
        raise UserError("runner=local has runner.workers alone; its processes share out the GPUs that there are")
    return LocalRunner(**values), rest


def value_of(key: str, text: str) -> Any:
    """
    Raises:
        UserError: no runner has such a setting, or it is not of its kind.
    """
    kind = KINDS.get(key.partition(".")[2])
    try:
        if kind is None or (kind is not str and kind(text) < (kind is int)):
            raise ValueError
        return kind(text)
    except ValueError:
        raise UserError(
            f"{key}={text}: runner.workers is a whole number of at least 1, runner.gpus a number of at least 0, "
            "runner.address a text"
        ) from None
