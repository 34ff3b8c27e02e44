"""The command ``isdiff``: one module for each of its commands, imported when it is called for."""

import io
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from isdiff import __version__
from isdiff.cli.command import guard
from isdiff.errors import UserError
from isdiff.packages import add_package

COMMANDS = {
    "inpaint": "fill holes in your own pictures",
    "app": "a web page for the same, on this machine",
    "strip": "one picture, several methods side by side",
    "methods": "list the methods",
    "models": "list the models, and which are here",
    "doctor": "versions, device, weights, and a test image",
    "run": "one experiment, or several with --multirun",
    "compare": "several methods over the same images, with a table",
    "results": "finished runs as one table, a row an image: CSV or Parquet",
    "table": "the paper's tables and figures, and a report of them all",
    "dashboard": "a workspace of Weights & Biases for runs with logger=wandb",
    "weights": "published weights: list, get, register, check, convert",
    "study": "the human study of Table III: build, collect",
    "data": "benchmark data: check, masks",
}


def usage() -> str:
    commands = "\n".join(f"  {name:9} {text}" for name, text in COMMANDS.items())
    return (
        f"usage: isdiff [--plugin PACKAGE] COMMAND ...\n\n{commands}\n\nisdiff COMMAND --help says more.\n\n"
        "  isdiff run dataset=photos mask=half method=ddnm+isdiff limit=16"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of a command; ``arguments`` are those of the process where none are given."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    while words[:1] == ["--plugin"] and len(words) > 1:
        add_package(words[1])
        words = words[2:]
    warnings.filterwarnings("ignore", module="PIL")  # of odd files; what matters is said in our own words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what its encoding lacks becomes ?
    return guard(lambda: dispatch(words))


def dispatch(words: list[str]) -> int:
    if "TORCHELASTIC_RUN_ID" in os.environ:
        if os.environ["RANK"] != "0":
            return 0  # rank 0 is the command, and starts as many processes itself
        from isdiff.parallel.pool import take_over

        take_over()
    if words and words[0] in COMMANDS:
        return import_module(f"isdiff.cli.{words[0]}").main(words[1:])
    if words[:1] in (["--version"], ["--help"], ["-h"]):
        print(f"isdiff {__version__}" if words[0] == "--version" else usage())
        return 0
    what = f"there is no command {words[0]!r}" if words else "no command is given"
    raise UserError(f"{what}; there are {', '.join(COMMANDS)} (isdiff --help)")
