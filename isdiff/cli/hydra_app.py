"""A command whose arguments are Hydra's: overrides, ``--multirun``, ``--cfg job``, ``--config-dir``, ``--help``, ..."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from isdiff.config.composing import as_typed, fault_of, refuse
from isdiff.config.search_path import own_hydra
from isdiff.errors import UserError

FULL_ERROR = "HYDRA_FULL_ERROR"
CONFIG_PATH = ("--config-path", "-cp")
MULTIRUN = {"--multirun", "-m"}


def start(task: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    """Call ``task`` with the configuration that the arguments describe, once or for every job of a multirun."""
    within = False

    @wraps(task)
    def job(cfg: DictConfig) -> None:
        nonlocal within
        within = True
        task(cfg)
        within = False

    try:
        begin(job, arguments)
    except Exception as error:  # Hydra's own and, where it had not thought of it, Python's
        if within:
            raise
        raise refuse_arguments(arguments, error) from None


def start_elsewhere(task: Callable[[DictConfig], None], arguments: Sequence[str]) -> str:
    """As :func:`start` with a launcher that runs the jobs in other processes; a sentence if one of them did not end."""
    try:
        begin(task, arguments)
    except Exception as error:
        if isinstance(error, HydraException) or any(fault_of(text, True) for text in overrides_in(arguments)):
            return str(refuse_arguments(arguments, error))
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"a job did not end by itself ({why}); what is finished is kept, the same command goes on from here"
    return ""


def begin(task: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    """Hand the arguments to Hydra, which hands errors on instead of printing tracebacks and ending."""
    words = [word if word.startswith("-") else as_typed(word, is_multirun(arguments)) for word in from_here(arguments)]
    sys.argv = ["isdiff run", *words]  # Hydra reads them there
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        with own_hydra() as folder:
            hydra.main(version_base="1.3", config_path=folder, config_name="config")(task)()
    finally:
        os.environ.pop(FULL_ERROR)
        if before is not None:
            os.environ[FULL_ERROR] = before


def is_multirun(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for several runs."""
    return not MULTIRUN.isdisjoint(arguments)


def refuse_arguments(arguments: Sequence[str], error: Exception) -> UserError:
    """One sentence for arguments that give no configuration."""
    return refuse(overrides_in(arguments), error, sweeps=is_multirun(arguments))


def overrides_in(arguments: Sequence[str]) -> list[str]:
    """Those words that are neither options of Hydra's nor their values."""
    return [word for word in arguments if not word.startswith("-") and ("=" in word or word.startswith("~"))]


def from_here(arguments: Sequence[str]) -> list[str]:
    """The arguments with a relative ``--config-path`` made absolute: Hydra would take it from within the package."""
    found: list[str] = []
    for word in arguments:
        name, equals, value = word.partition("=")
        if found and found[-1] in CONFIG_PATH:
            word = os.path.abspath(word)
        elif name in CONFIG_PATH and equals:
            word = f"{name}={os.path.abspath(value)}"
        found.append(word)
    return found
