"""Commands whose arguments are Hydra's: overrides, ``--multirun``, ``--cfg job``, ``--config-dir``, ``--help``, ..."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from isdiff.config.composing import as_typed, fault_of, refuse
from isdiff.config.search_path import own_hydra

FULL_ERROR = "HYDRA_FULL_ERROR"
CONFIG_PATH = ("--config-path", "-cp")
MULTIRUN = {"--multirun", "-m"}


def start(
    command: str,
    config_name: str,
    task: Callable[[DictConfig], None],
    arguments: Sequence[str],
    elsewhere: bool = False,
) -> str:
    """Call ``task`` with the configuration that the arguments describe, once or for every job of a multirun.

    Returns a sentence if a job that a launcher ran ``elsewhere``, in another process, did not end by itself.
    """
    within = False

    @wraps(task)
    def job(cfg: DictConfig) -> None:
        nonlocal within
        within = True
        task(cfg)
        within = False

    sweeps = not MULTIRUN.isdisjoint(arguments)
    words = [word if word.startswith("-") else as_typed(word, sweeps) for word in from_here(arguments)]
    sys.argv = [f"isdiff {command}", *words]  # Hydra reads them there
    try:
        with full_errors(), own_hydra() as folder:
            hydra.main(version_base="1.3", config_path=folder, config_name=config_name)(job)()
    except Exception as error:  # Hydra's own and, where it had not thought of it, Python's
        if within:
            raise
        overrides = [word for word in arguments if not word.startswith("-") and ("=" in word or word.startswith("~"))]
        if not elsewhere or isinstance(error, HydraException) or any(fault_of(text, True) for text in overrides):
            raise refuse(overrides, error, sweeps=sweeps) from None
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"a job did not end by itself ({why}); what is finished is kept, the same command goes on from here"
    return ""


@contextmanager
def full_errors() -> Iterator[None]:
    """Hydra hands errors on meanwhile, instead of printing tracebacks of its own and of launchers and ending."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before


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
