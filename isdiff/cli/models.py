"""The models that --model and model= take, a line each: name, side of its images, whether it is here, what it knows.

Of those that are not here: the size of what would be downloaded, where it is known, and the command that gets it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from isdiff.cli import picture_options

MEGA, GIGA = 1e6, 1e9


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def shown_size(count: float) -> str:
    return f"{count / GIGA:.1f} GB" if count >= GIGA else f"{count / MEGA:.1f} MB"


def state(node: Any, weights: Any) -> str:
    """Whether a model is here, and how large it is or would be."""
    from isdiff.config.build import build
    from isdiff.models.base import NOTHING, Model
    from isdiff.paths import located

    model = build(node, Model)
    lacking = model.missing()
    if model.weights == NOTHING:
        return "no weights"
    if not lacking:
        place = located(node.weights)
        return f"here, {shown_size(size_of(place))}" if os.path.exists(place) else "on the hub"
    entry, repository = weights.entries.get(node.name), weights.repositories.get(node.name)
    size = f", {shown_size(entry.size)}" if entry and entry.size else ""
    size = f", {repository.gigabytes:g} GB" if repository else size
    return f"missing{size}"


def act(arguments: list[str]) -> int:
    picture_options.Parser("isdiff models", description=__doc__).parse_args(arguments)
    from isdiff.config.build import build
    from isdiff.io.weights import Weights
    from isdiff.models.base import Model

    weights = Weights()
    for name, node in nodes().items():
        lacking = build(node, Model).missing()
        command = f" ({lacking[0].rpartition(': ')[2]})" if lacking else ""
        print(
            f"{name:18} {node.get('image_size') or 'any':>4} {state(node, weights):18} {node.get('knows', '')}{command}"
        )
    return 0


def nodes() -> dict[str, Any]:
    """The configuration of every model."""
    from isdiff.config.composing import runs_of

    return {name: cfg.model for name, cfg in runs_of("model").items()}


def main(arguments: list[str]) -> int:
    """The exit code."""
    return picture_options.guarded(act, arguments)
