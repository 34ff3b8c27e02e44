"""Training-free diffusion inpainting: IS-Diff and what it is compared with.

``import isdiff`` loads nothing; what is named here is imported when it is first asked for.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isdiff.engine import Engine as Engine
    from isdiff.errors import Missing as Missing
    from isdiff.errors import UserError as UserError
    from isdiff.method import Method as Method
    from isdiff.models.base import LoadedModel as LoadedModel
    from isdiff.pictures.inpaint import Inpainted as Inpainted
    from isdiff.pictures.inpaint import inpaint as inpaint
    from isdiff.pictures.jobs import Inpainter as Inpainter
    from isdiff.pictures.jobs import Job as Job
    from isdiff.plugin.apply import apply as apply
    from isdiff.plugin.apply import remove as remove
    from isdiff.runs.api import Run as Run
    from isdiff.runs.api import compare as compare
    from isdiff.runs.api import results as results
    from isdiff.runs.api import run as run
    from isdiff.trajectory import Task as Task

try:
    __version__ = version("isdiff")
except PackageNotFoundError:  # the code lies on the path, but nobody installed it
    __version__ = "unknown"

MODULES = {
    "engine": "Engine", "errors": "Missing UserError", "method": "Method", "models.base": "LoadedModel",
    "pictures.inpaint": "inpaint Inpainted", "pictures.jobs": "Inpainter Job", "plugin.apply": "apply remove",
    "runs.api": "run Run results compare", "trajectory": "Task",
}  # fmt: skip
PLACES = {name: module for module, names in MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module 'isdiff' has no attribute {name!r}")
    return getattr(import_module(f"isdiff.{PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PLACES])
