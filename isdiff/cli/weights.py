"""Published weights: ``isdiff weights list | get NAME | register NAME PATH | check | convert NAME``."""

from __future__ import annotations

import argparse
import os
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
    commands.add_parser("list", help="what there is, and what is here").set_defaults(do=show)
    commands.add_parser("check", help="verify size and hash of everything that is here").set_defaults(do=check)
    for name, text in (
        ("get", "download and convert"),
        ("convert", "convert a downloaded file to safetensors"),
        ("register", "use a file that you already have"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(do=change)
        command.add_argument("name")
    command.add_argument("path", type=Path)
    args = parser.parse_args(arguments)
    from isdiff.io.weights import Weights

    args.do(Weights(args.root), args)


def show(weights: Weights, args: argparse.Namespace) -> None:
    """Print what there is, one line each."""
    from isdiff.io.hub import SUMS

    for entry in weights.entries.values():
        print(f"{entry.name:20} {weights.status(entry):12} {entry.file}: {entry.source} ({entry.licence})")
    for repo in weights.repositories.values():
        status = "ready" if (weights.root / repo.name / SUMS).exists() else "missing"
        print(f"{repo.name:20} {status:12} hub {repo.repo}: {repo.source}, {repo.gigabytes} GB ({repo.licence})")


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
