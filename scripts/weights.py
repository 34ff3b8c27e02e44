"""Published weights: ``python scripts/weights.py list | get NAME | register NAME PATH | check | convert NAME``."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from isdiff import hub
from isdiff.errors import UserError
from isdiff.weights import Weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default="models", help="folder of the weights (model_root)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, and what is here")
    commands.add_parser("check", help="verify size and hash of everything that is here")
    for name, text in (("get", "download and convert"), ("convert", "convert a downloaded file to safetensors")):
        commands.add_parser(name, help=text).add_argument("name")
    register = commands.add_parser("register", help="use a file that you already have")
    register.add_argument("name")
    register.add_argument("path", type=Path)
    args = parser.parse_args()
    weights = Weights(args.root)
    if args.command == "list":
        for entry in weights.entries.values():
            print(f"{entry.name:20} {weights.status(entry):12} {entry.file}: {entry.source} ({entry.licence})")
        for repo in weights.repositories.values():
            status = "ready" if (weights.root / repo.name / hub.SUMS).exists() else "missing"
            about = f"{repo.source}, {repo.gigabytes} GB ({repo.licence})"
            print(f"{repo.name:20} {status:12} hub {repo.repo}: {about}")
    elif args.command == "check":
        for entry in weights.entries.values():
            if weights.path(entry).exists():
                print(f"{entry.name:20} {weights.verify(entry, weights.path(entry))}")
        for name in weights.repositories:
            if (weights.root / name / hub.SUMS).exists():
                print(f"{name:20} {hub.verify(weights.root / name)} files as noted")
    elif args.command == "get" and args.name in weights.repositories:
        print(f"downloaded {hub.download(weights.repositories[args.name], weights.root / args.name)}")
    elif args.command == "get":
        print(f"downloaded {weights.get(args.name)}")
        print(f"converted to {weights.convert(args.name)}")
    elif args.command == "register":
        print(f"registered {weights.register(args.name, args.path)}")
        print(f"converted to {weights.convert(args.name)}")
    else:
        print(f"converted to {weights.convert(args.name)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"isdiff: {error}")
