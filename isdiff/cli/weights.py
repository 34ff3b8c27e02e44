"""Published weights: ``isdiff weights list | get NAME | register NAME PATH | check | convert NAME``.

``list --for table1`` and ``get --for table1`` mean all that a table needs with the paper's data (``profile=paper``).
"""

import os
import re
import sys
from pathlib import Path

from isdiff.cli.command import Parser
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.errors import UserError
from isdiff.io.hub import SUMS, download, verify
from isdiff.io.weights import Weights
from isdiff.runs.measure import absent
from isdiff.tables.plan import plan

COMMANDS = {
    "list": "what there is, and what is here",
    "check": "verify size and hash of everything that is here",
    "get": "download and convert",
    "convert": "convert a downloaded file to safetensors",
    "register": "use a file that you already have",
}


def main(arguments: list[str]) -> None:
    parser = Parser("isdiff weights", description=__doc__)
    parser.add_argument("--root", default="models", help="folder of the weights (model_root)")
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name, help=text) for name, text in COMMANDS.items()}
    for name in ("list", "get"):
        made[name].add_argument("--for", dest="table", metavar="TABLE", help="what this table of the paper needs")
    for name in ("get", "convert", "register"):
        made[name].add_argument("name", nargs="?" if name == "get" else None)
    made["register"].add_argument("path", type=Path)
    args = parser.parse_args(arguments)
    if args.command == "get" and (args.name is None) == (args.table is None):
        raise UserError("isdiff weights get takes a name, or --for and a table: isdiff weights get --for table1")
    weights = Weights(args.root)
    if args.command == "list":
        show(weights, args.table)
    elif args.command == "check":
        check(weights)
    else:
        for name in [args.name] if args.name else needed_for(args.table):
            change(weights, args.command, name, getattr(args, "path", None))


def show(weights: Weights, table: str | None) -> None:
    wanted = needed_for(table) if table else [*weights.entries, *weights.repositories]
    for entry in [entry for name, entry in weights.entries.items() if name in wanted]:
        print(f"{entry.name:20} {weights.status(entry):12} {entry.file}: {entry.source} ({entry.licence})")
    for repo in [repo for name, repo in weights.repositories.items() if name in wanted]:
        status = "ready" if (weights.root / repo.name / SUMS).exists() else "missing"
        print(f"{repo.name:20} {status:12} hub {repo.repo}: {repo.source}, {repo.gigabytes} GB ({repo.licence})")


def needed_for(table: str) -> list[str]:
    """Names of the weights that a table needs with the paper's data: those of its models and its metrics."""
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


def check(weights: Weights) -> None:
    """Print of everything that is here that it is whole; what is damaged is one error, after all has been looked at."""
    places = {name: weights.path(entry) for name, entry in weights.entries.items()}
    places |= {name: weights.root / name / SUMS for name in weights.repositories}
    damaged = []
    for name, path in places.items():
        if path.is_symlink() and not path.exists():
            gone = f"{path} is a link to {os.readlink(path)}, which is gone"
            damaged.append(f"{gone}; isdiff weights register {name} PATH")
        elif path.exists():
            try:
                entry = weights.entries.get(name)
                print(f"{name:20} {weights.verify(entry, path) if entry else f'{verify(path.parent)} files as noted'}")
            except UserError as error:
                damaged.append(str(error))
    for text in damaged[:-1]:
        print(f"isdiff: {text}", file=sys.stderr)
    if damaged:
        raise UserError(damaged[-1])


def change(weights: Weights, command: str, name: str, path: Path | None) -> None:
    if name in weights.repositories:
        if command != "get":
            place = weights.root / name
            raise UserError(f"{name} is a folder from the hub, used as it is; put a copy of it at {place}")
        print(f"downloaded {download(weights.repositories[name], weights.root / name)}")
        return
    if command == "get":
        print(f"downloaded {weights.get(name)}")
    elif path:
        print(f"registered {weights.register(name, path)}")
    if command == "convert" or weights.entry(name).net:
        print(f"converted to {weights.convert(name)}")
