"""Training-free diffusion inpainting: IS-Diff and what it is compared with."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("isdiff")
except PackageNotFoundError:  # the code lies on the path, but nobody installed it
    __version__ = "unknown"

LAZY = {"apply": "isdiff.plugin.apply", "remove": "isdiff.plugin.apply"}  # importing isdiff stays light


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module 'isdiff' has no attribute {name!r}")
