"""Published weights: ``isdiff weights list | get NAME | register NAME PATH | check | convert NAME``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("isdiff weights", description=__doc__)
    parser.add_argument("--root", default="models", help="folder of the weights (model_root)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, and what is here")
    commands.add_parser("check", help="verify size and hash of everything that is here")
    for name, text in (("get", "download and convert"), ("convert", "convert a downloaded file to safetensors")):
        commands.add_parser(name, help=text).add_argument("name")
    register = commands.add_parser("register", help="use a file that you already have")
    register.add_argument("name")
    register.add_argument("path", type=Path)
    register.add_argument("--again", action="store_true", help="replace the file and the hash recorded for it")
    return parser.parse_args(arguments)


def show(weights) -> None:
    from isdiff.io.hub import SUMS

    for entry in weights.entries.values():
        print(f"{entry.name:20} {weights.status(entry):12} {entry.file}: {entry.source} ({entry.licence})")
    for repo in weights.repositories.values():
        status = "ready" if (weights.root / repo.name / SUMS).exists() else "missing"
        print(f"{repo.name:20} {status:12} hub {repo.repo}: {repo.source}, {repo.gigabytes} GB ({repo.licence})")


def check(weights) -> None:
    """Everything that is here, one line each.

    Raises:
        UserError: what is damaged, after all has been looked at.
    """
    from isdiff.errors import UserError
    from isdiff.io.hub import SUMS, verify

    tests = {
        e.name: (weights.path(e), lambda e=e: weights.verify(e, weights.path(e))) for e in weights.entries.values()
    }
    for name in weights.repositories:
        folder = weights.root / name
        tests[name] = (folder / SUMS, lambda folder=folder: f"{verify(folder)} files as noted")
    damaged = []
    for name, (path, test) in tests.items():
        if path.is_symlink() and not path.exists():
            damaged.append(
                f"{path} is a link to {os.readlink(path)}, which is gone; register {name} PATH links it anew"
            )
        elif path.exists():
            try:
                print(f"{name:20} {test()}")
            except UserError as error:
                damaged.append(str(error))
    if damaged:
        raise UserError("\n".join(damaged))


def change(weights, args: argparse.Namespace) -> None:
    """``get``, ``register`` or ``convert`` one."""
    from isdiff.errors import UserError
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
        print(f"registered {weights.register(args.name, args.path, args.again)}")
    if args.command == "convert" or weights.entry(args.name).net:
        print(f"converted to {weights.convert(args.name)}")


def act(arguments: list[str]) -> None:
    args = parsed(arguments)
    from isdiff.io.weights import Weights

    weights = Weights(args.root)
    if args.command == "list":
        show(weights)
    elif args.command == "check":
        check(weights)
    else:
        change(weights, args)
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """The exit code: every mistake of the user's, and of the machine's, is one sentence."""
    from isdiff.errors import UserError, explained

    try:
        act(arguments)
    except KeyboardInterrupt:
        print("isdiff: interrupted; what came is kept, run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the list has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (UserError, OSError) as error:
        text = explained(error).replace("output_root=...", "--root")
        print(f"isdiff: {text}", file=sys.stderr)
        return error.exit_code if isinstance(error, UserError) else 1
    return 0
