"""A dashboard for runs in Weights & Biases: ``isdiff dashboard table1``, or without a name for all runs of the project.

Sections: quality by method, cost, the refinement (DSR), pictures, progress. Keys are the logger's, such as
``logger.project=NAME``, ``logger.entity=NAME`` or ``logger.group=NAME``, and a table's ``profile``. Each call makes a
new workspace; ``--out`` writes its specification to a JSON file instead, which needs no account.
"""

import json
from pathlib import Path

from isdiff.cli.command import Parser
from isdiff.errors import UserError


def main(arguments: list[str]) -> None:
    parser = Parser("isdiff dashboard", description=__doc__)
    parser.add_argument("table", nargs="?", help="only runs of this table; then KEY=VALUE: profile=demo, logger....")
    parser.add_argument("--out", type=Path, help="write the specification to this file")
    args, overrides = parser.parse_with_overrides(arguments)
    from isdiff.config.composing import compose_run
    from isdiff.config.metrics import build_metrics, configured_metrics
    from isdiff.io.files import atomic_save
    from isdiff.loggers.dashboard import build_logger, save, specification, workspace
    from isdiff.tables.make import is_logging
    from isdiff.tables.plan import plan

    others = dict(word.split("=", 1) for word in overrides if not is_logging(word))
    profile = others.pop("profile", "demo")
    if others:
        raise UserError(f"isdiff dashboard does not take {min(others)!r}; it takes profile=... and logger.KEY=...")
    logger = build_logger(list(filter(is_logging, overrides)))
    planned = args.table and plan(args.table, profile)
    metrics = build_metrics(list(planned.metrics.values())) if planned else configured_metrics(compose_run([]))
    made = workspace(logger, metrics, args.table)
    if args.out:
        atomic_save(args.out, json.dumps(specification(made), indent=1) + "\n")
    print(f"dashboard: {args.out or save(logger, made)}")
