"""The methods that --method and method= take, a line each: name, the model it takes by default, what it is."""

from __future__ import annotations

from pathlib import Path

from isdiff.cli.command import Parser


def summary(file: Path) -> str:
    """The first comment of a configuration that is for people."""
    text = file.read_text("utf-8", errors="replace")
    lines = [line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#")]
    return next((line for line in lines if not line.startswith("@package")), "")


def main(arguments: list[str]) -> None:
    Parser("isdiff methods", description=__doc__).parse_args(arguments)
    from isdiff.config.composing import runs_of
    from isdiff.config.search_path import config_names
    from isdiff.config.setup import is_floor
    from isdiff.models.base import NO_MODEL
    from isdiff.pictures.choices import own_model

    files = config_names("method")
    for name, cfg in runs_of("method").items():
        print(f"{name:20} {NO_MODEL if is_floor(cfg) else own_model(cfg):18} {summary(files[name])}")
