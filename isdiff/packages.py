"""Packages besides isdiff whose classes and configurations may be named, because the user named the packages.

Three ways: an installed package declares the entry point group ``isdiff.components``; the environment variable
``ISDIFF_PLUGINS`` lists packages, separated by commas; ``isdiff --plugin NAME`` adds one. A package's folder
``configs``, if it has one, is searched like isdiff's own. A configuration by itself brings no code.
"""

import os
import sys
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from isdiff.errors import UserError

GROUP, VARIABLE = "isdiff.components", "ISDIFF_PLUGINS"


def named_packages() -> tuple[str, ...]:
    """Names of packages, in the order of the entry points, then of the environment variable."""
    asked = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return tuple(dict.fromkeys(name for name in [*installed_packages(), *asked] if name))


@lru_cache(maxsize=1)
def installed_packages() -> tuple[str, ...]:
    """Packages that entry points name; looked up once, which takes a while."""
    return tuple(point.value.partition(":")[0] for point in entry_points(group=GROUP))


def add_package(name: str) -> None:
    """Name a package from now on, in this process and those that it starts."""
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*filter(None, os.environ.get(VARIABLE, "").split(",")), name]))


def package_folder(name: str) -> Path:
    """Where a named package lies; it is imported, also from the working folder."""
    here = os.getcwd()
    if here not in sys.path:  # a command that pip installed has not got it
        sys.path.append(here)
    try:
        module = import_module(name)
    except Exception as error:  # whatever its code raises
        advice = f"check --plugin, {VARIABLE} and PYTHONPATH"
        raise UserError(f"plugin {name} cannot be imported ({error}); {advice}") from None
    if module.__file__ is None:
        raise UserError(f"plugin {name} is a folder without __init__.py; add one")
    return Path(module.__file__).parent


def import_extra(name: str, needing: str, extra: str) -> Any:
    """Import a package that an extra of isdiff installs; ``needing`` begins the sentence where it is not here."""
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0].replace("_", "-")
        raise UserError(f"{needing} the package {package}: pip install 'isdiff[{extra}]'") from None


def is_allowed(module: str) -> bool:
    """Whether configurations may name classes of this module."""
    return any(module == name or module.startswith(f"{name}.") for name in ("isdiff", *named_packages()))
