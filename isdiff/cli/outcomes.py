"""What came of the jobs of a multirun, also where a launcher ran them in other processes or on other machines."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from importlib.util import find_spec

from hydra.core.override_parser.overrides_parser import OverridesParser

from isdiff.errors import UserError
from isdiff.io.files import atomic_open
from isdiff.paths import placed

LAUNCHER = "hydra/launcher="
SUBMITIT = "hydra_plugins.hydra_submitit_launcher"
Outcome = tuple[str, str, int]  # what was asked for, what came of it, and its exit code


def launcher(arguments: Sequence[str]) -> str:
    """The launcher that is asked for; empty for Hydra's own, which runs jobs in this process.

    Raises:
        UserError: its package is not installed.
    """
    name = next((word.partition("=")[2] for word in reversed(arguments) if word.startswith(LAUNCHER)), "")
    if name.startswith("submitit") and not installed(SUBMITIT):
        raise UserError(f"{LAUNCHER}{name} needs the package hydra-submitit-launcher: pip install 'isdiff[cluster]'")
    return name


def installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there either
        return False


class Outcomes:
    """One file for every job, in a folder beside the runs, which all machines see that write them.

    An object of this class travels with a job to wherever it runs.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        given = [word for word in arguments if word.startswith("output_root=")]
        root = str(OverridesParser.create().parse_override(given[-1]).value()) if given else "outputs"
        self.folder = (placed(root) / "multirun" / f".{uuid.uuid4().hex[:12]}").absolute()

    def note(self, number: int, asked: str, line: str, code: int) -> None:
        """A job's number, what was asked for, what came of it, and its exit code."""
        with atomic_open(self.folder / f"{number:06d}.json") as stream:
            json.dump([asked, line, code], stream)

    def collect(self) -> list[Outcome]:
        """What was noted, in the order of the jobs; the files are removed."""
        found = [tuple(json.loads(path.read_text("utf-8"))) for path in sorted(self.folder.glob("*.json"))]
        shutil.rmtree(self.folder, ignore_errors=True)
        return found
