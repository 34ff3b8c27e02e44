"""Run a comparison and print its table: ``isdiff compare demo``, or the name of any configs/compare file.

``--limit``, ``--seeds`` and ``--masks`` narrow it; further arguments are Hydra overrides of every run, e.g.
``runtime.device=cuda``, besides ``runner=local`` and ``runner=ray``: as in ``isdiff table``.
"""

from __future__ import annotations

from isdiff.cli.command import Parser
from isdiff.cli.table import conclude
from isdiff.config.search_path import config_names


def whole_numbers(text: str) -> list[int]:
    """Read ``0,1,2``."""
    return [int(part) for part in text.split(",")]


def main(arguments: list[str]) -> int:
    """Run it, and print where its files are; the exit code is as of ``isdiff table``."""
    plans = config_names("compare")
    parser = Parser("isdiff compare", description=__doc__)
    parser.add_argument("name", choices=list(plans))
    parser.add_argument("--limit", type=int, help="at most so many images in every group")
    parser.add_argument("--seeds", type=whole_numbers, help="such as 0,1,2")
    parser.add_argument("--masks", type=lambda text: text.split(","), help="such as half,expand")
    args, overrides = parser.parse_with_overrides(arguments)
    from isdiff.parallel.runner import jobs_of, split
    from isdiff.tables.cells import configs_of
    from isdiff.tables.compare import compare, narrow, read_plan, table_of

    plan = narrow(read_plan(plans[args.name]), args.limit, args.seeds, args.masks)
    runner, overrides = split(overrides)
    if runner:
        runner(jobs_of(configs_of(table_of(plan, group, overrides) for group in plan.groups)))
    folder, gaps = compare(plan, overrides)
    print((folder / "summary.md").read_text("utf-8"))
    print(f"pictures and numbers: {folder}")
    return conclude(gaps)
