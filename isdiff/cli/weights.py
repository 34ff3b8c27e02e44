"""Published weights: ``isdiff weights list | get NAME | register NAME PATH | check | convert NAME``.

``list --for table1`` and ``get --for table1`` mean all that a table needs with the paper's data (``profile=paper``).
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from isdiff.cli.command import Parser
from isdiff.errors import UserError

if TYPE_CHECKING:
    from isdiff.io.weights import Weights


def main(arguments: list[str]) -> None:
    """List, check or change what is here."""
    parser = Parser("isdiff weights", description=__doc__)
    parser.add_argument("--root", default="models", help="folder of the weights (model_root)")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="what there is, and what is here")
    checking = commands.add_parser("check", help="verify size and hash of everything that is here")
    getting = commands.add_parser("get", help="download and convert")
    converting = commands.add_parser("convert", help="convert a downloaded file to safetensors")
    registering = commands.add_parser("register", help="use a file that you already have")
    for command, do in (
        (listing, show),
        (checking, check),
        (getting, change),
        (converting, change),
        (registering, change),
    ):
        command.set_defaults(do=do, name=None, table=None)
    for command in (listing, getting):
        command.add_argument("--for", dest="table", metavar="TABLE", help="what this table of the paper needs")
    getting.add_argument("name", nargs="?")
    converting.add_argument("name")
    registering.add_argument("name")
    registering.add_argument("path", type=Path)
    args = parser.parse_args(arguments)
    from isdiff.io.weights import Weights

    if args.command == "get" and (args.name is None) == (args.table is None):
        raise UserError("isdiff weights get takes a name, or --for and a table: isdiff weights get --for table1")
    weights = Weights(args.root)
    if args.command != "get" or args.name:
        args.do(weights, args)
        return
    for name in needed_for(args.table):
        change(weights, argparse.Namespace(command="get", name=name))


def show(weights: Weights, args: argparse.Namespace) -> None:
    """Print what there is, one line each."""
    from isdiff.io.hub import SUMS

    wanted = needed_for(args.table) if args.table else [*weights.entries, *weights.repositories]
    for entry in [entry for name, entry in weights.entries.items() if name in wanted]:
        print(f"{entry.name:20} {weights.status(entry):12} {entry.file}: {entry.source} ({entry.licence})")
    for repo in [repo for name, repo in weights.repositories.items() if name in wanted]:
        status = "ready" if (weights.root / repo.name / SUMS).exists() else "missing"
        print(f"{repo.name:20} {status:12} hub {repo.repo}: {repo.source}, {repo.gigabytes} GB ({repo.licence})")


def needed_for(table: str) -> list[str]:
    """Names of the weights that a table needs with the paper's data: those of its models and its metrics."""
    from isdiff.config.composing import compose_run
    from isdiff.config.setup import Setup
    from isdiff.runs.measure import absent
    from isdiff.tables.plan import plan

    made = plan(table, "paper")
    cells = [row.cells[0] for row in made.rows if not row.cells[0].impossible]
    by_model = {tuple(o for o in cell.overrides if o.startswith("model=")): cell for cell in reversed(cells)}
    lines: list[str] = []
    for cell in by_model.values():
        measured = f"metrics.names=[{','.join(made.metrics.values())}]"
        nowhere = f"model_root={os.devnull}/models"  # so all of them are missing, and say what gets them
        setup = Setup.of(compose_run([*cell.overrides, measured, nowhere]))
        lines += [*setup.model.missing(), *absent(setup.metrics)]
    return list(dict.fromkeys(re.findall(r"isdiff weights get (\w+)", "\n".join(lines))))


def check(weights: Weights, args: argparse.Namespace) -> None:
    """Print of everything that is here that it is whole; what is damaged is one error, after all has been looked at."""
    from isdiff.io.hub import SUMS, verify

    places = {name: weights.path(entry) for name, entry in weights.entries.items()}
    places |= {name: weights.root / name / SUMS for name in weights.repositories}
    damaged = []
    for name, path in places.items():
        if path.is_symlink() and not path.exists():
            damaged.append(
                f"{path} is a link to {os.readlink(path)}, which is gone; isdiff weights register {name} PATH"
            )
        elif path.exists():
            try:
                entry = weights.entries.get(name)
                print(f"{name:20} {weights.verify(entry, path) if entry else f'{verify(path.parent)} files as noted'}")
            except UserError as error:
                damaged.append(str(error))
    if damaged:
        raise UserError("\n".join(damaged))


def change(weights: Weights, args: argparse.Namespace) -> None:
    """Get, register or convert one."""
    from isdiff.io import hub

    if args.name in weights.repositories:
        folder = weights.root / args.name
        if args.command != "get":
            raise UserError(f"{args.name} is a folder from the hub, used as it is; put a copy of it at {folder}")
        print(f"downloaded {hub.download(weights.repositories[args.name], folder)}")
        return
    if args.command == "get":
        print(f"downloaded {weights.get(args.name)}")
    elif args.command == "register":
        print(f"registered {weights.register(args.name, args.path)}")
    if args.command == "convert" or weights.entry(args.name).net:
        print(f"converted to {weights.convert(args.name)}")
