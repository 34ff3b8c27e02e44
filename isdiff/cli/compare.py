"""Run several methods over the same images and print a table with paired differences to the first.

``isdiff compare ddnm ddnm+isdiff dataset=photos mask=half limit=32``: a row is a method, or in quotes a method with
overrides of its own (``"ddnm sampler.steps=50"``). KEY=VALUE are overrides of all rows; ``mask=half,wide`` and
``seed=0,1`` may have several values, ``metrics.names=[lite0_perceptual,ssim]`` chooses columns, and 32 images are taken
unless ``limit=`` says otherwise. ``isdiff compare demo`` runs the rows of a file in configs/compare instead, which
``--limit``, ``--seeds`` and ``--masks`` narrow. ``runner=local`` and ``runner=ray`` are as in ``isdiff table``.

The table also stands in a folder, as Markdown (summary.md), CSV (table.csv) and JSON (table.json).
"""

from isdiff.cli.command import Parser
from isdiff.cli.table import conclude
from isdiff.config.search_path import config_names
from isdiff.parallel.runner import jobs_of, split
from isdiff.tables.cells import configs_of
from isdiff.tables.compare import asked_plan, compare, narrow, read_plan, table_of


def whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(arguments: list[str]) -> int:
    plans = config_names("compare")
    parser = Parser("isdiff compare", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"methods, or one of {', '.join(plans)}")
    parser.add_argument("--limit", type=int, help="at most so many images in every group")
    parser.add_argument("--seeds", type=whole_numbers, help="such as 0,1,2")
    parser.add_argument("--masks", type=lambda text: text.split(","), help="such as half,expand")
    args, overrides = parser.parse_with_overrides(arguments)
    runner, overrides = split(overrides)
    if args.names[0] in plans and len(args.names) == 1:
        plan = narrow(read_plan(plans[args.names[0]]), args.limit, args.seeds, args.masks)
    else:
        options = {"limit": [args.limit], "seed": args.seeds, "mask": args.masks}
        given = [f"{key}={','.join(map(str, each))}" for key, each in options.items() if each and each != [None]]
        plan, overrides = asked_plan(args.names, [*overrides, *given]), []
    if runner:
        runner(jobs_of(configs_of(table_of(plan, group, overrides) for group in plan.groups)))
    folder, gaps = compare(plan, overrides)
    print((folder / "summary.md").read_text("utf-8"))
    print(f"pictures and numbers: {folder}")
    return conclude(gaps)
