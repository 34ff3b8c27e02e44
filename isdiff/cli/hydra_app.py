"""Commands whose arguments are Hydra's: overrides, ``--multirun``, ``--cfg job``, ``--config-dir``, ``--help``, ..."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import hydra
from omegaconf import DictConfig

from isdiff.experiments.search_path import main_folder

CONFIG_PATH = ("--config-path", "-cp")


def start(command: str, config_name: str, task: Callable[[DictConfig], None], arguments: Sequence[str]) -> None:
    """Call ``task`` with the configuration that the arguments describe, once or for every job of a multirun."""
    sys.argv = [f"isdiff {command}", *from_here(arguments)]  # Hydra reads them there
    hydra.main(version_base="1.3", config_path=main_folder(), config_name=config_name)(task)()


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
