"""A dashboard for runs in Weights & Biases: ``isdiff dashboard table1``, or without a name for all runs of the project.

Sections: quality by method, cost, the refinement (DSR), pictures, progress. Keys are the logger's, such as
``logger.project=NAME``, ``logger.entity=NAME`` or ``logger.group=NAME``, and a table's ``profile``. Each call makes a
new workspace; ``--out`` writes its specification to a JSON file instead, which needs no account.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from isdiff.errors import UserError, explained


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="isdiff dashboard", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="TABLE|KEY=VALUE", help="a table, profile=demo, logger.project=...")
    parser.add_argument("--out", type=Path, help="write the specification to this file")
    args = parser.parse_intermixed_args(list(arguments))
    try:
        return make(args.words, args.out)
    except (UserError, OSError) as error:
        print(f"isdiff: {explained(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        sys.exit("isdiff: stopped; nothing was made")


def make(words: Sequence[str], out: Path | None) -> int:
    """Make the workspace, or its specification in ``out``.

    Raises:
        UserError: an unknown table, profile or key; no key, or an answer of wandb's.
    """
    from isdiff.io.files import atomic_open
    from isdiff.tables.dashboard import build_logger, metrics_of, save, specification, workspace
    from isdiff.tables.make import is_logging

    names = [word for word in words if "=" not in word]
    given = dict(word.split("=", 1) for word in words if "=" in word and not is_logging(word))
    profile = given.pop("profile", "demo")
    if len(names) > 1 or given:
        wrong = names[1] if len(names) > 1 else next(iter(given))
        raise UserError(f"isdiff dashboard does not take {wrong!r}; it takes a table, profile=... and logger.KEY=...")
    table = names[0] if names else None
    logger = build_logger([word for word in words if is_logging(word)])
    made = workspace(logger, metrics_of(table, profile), table)
    if out is None:
        print(f"dashboard: {save(logger, made)}")
        return 0
    with atomic_open(out) as stream:
        json.dump(specification(made), stream, indent=1)
        stream.write("\n")
    print(f"dashboard: {out}")
    return 0
