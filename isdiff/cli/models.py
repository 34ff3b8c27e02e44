"""The models that --model and model= take, a line each: name, side of its images, whether it is here, what it knows.

Of those that are not here: the size of what would be downloaded, where it is known, and the command that gets it.
"""

from typing import Any

from isdiff.cli.command import Parser


def main(arguments: list[str]) -> None:
    Parser("isdiff models", description=__doc__).parse_args(arguments)
    for name, (node, state, command) in model_states().items():
        knows = node.get("knows", "") + (f" ({command})" if command else "")
        print(f"{name:18} {node.get('image_size') or 'any':>4} {state:18} {knows}")


def model_states() -> dict[str, tuple[Any, str, str]]:
    """List every model: configuration, whether it is here with its size, and how to get it."""
    from isdiff.config.build import build
    from isdiff.config.composing import runs_of
    from isdiff.io.weights import Weights
    from isdiff.models.base import NOTHING, Model
    from isdiff.paths import located

    weights, found = Weights(), {}
    for name, cfg in runs_of("model").items():
        model = build(cfg.model, Model)
        missing, place, size, state = model.missing(), located(model.weights), 0.0, "on the hub"
        if model.weights == NOTHING:
            state = "no weights"
        elif missing:
            entry, repository = weights.entries.get(model.name), weights.repositories.get(model.name)
            size = 1000 * repository.gigabytes if repository else (entry.size or 0) / 1e6 if entry else 0
            state = "missing"
        elif place.exists():
            files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
            size, state = sum(file.stat().st_size for file in files) / 1e6, "here"
        text = f", {size / 1000:.1f} GB" if size >= 1000 else f", {size:.1f} MB" if size else ""
        found[name] = cfg.model, state + text, missing[0].rpartition(": ")[2] if missing else ""
    return found
