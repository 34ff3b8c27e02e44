"""Run a comparison and print its table: ``isdiff compare demo``, or the name of any configs/compare file.

``--limit``, ``--seeds`` and ``--masks`` narrow it; further arguments are Hydra overrides of every run, e.g.
``runtime.device=cuda``, besides ``runner=local`` and ``runner=ray``: as in ``isdiff table``.
"""

from __future__ import annotations

import argparse
import sys

from isdiff.config.search_path import config_names
from isdiff.errors import UserError, explained


def main(arguments: list[str]) -> int:
    plans = config_names("compare")
    parser = argparse.ArgumentParser("isdiff compare", description=__doc__)
    parser.add_argument("name", choices=list(plans))
    parser.add_argument("--limit", type=int, help="at most so many images in every group")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], help="such as 0,1,2")
    parser.add_argument("--masks", type=lambda text: text.split(","), help="such as half,expand")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args(arguments)
    from isdiff.tables.compare import compare, configs_of
    from isdiff.tables.compare_plan import narrow, read_plan

    narrowed = {name: value for name in ("limit", "seeds", "masks") if (value := getattr(args, name)) is not None}
    try:
        plan, overrides = narrow(read_plan(plans[args.name]), **narrowed), args.overrides
        if any(item.startswith("runner") for item in overrides):
            from isdiff.parallel.runner import jobs_of, split

            runner, overrides = split(overrides)
            if runner:
                runner(jobs_of(configs_of(plan, overrides)))
        folder = compare(plan, overrides)
    except (UserError, OSError) as error:
        print(f"isdiff: {explained(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        sys.exit("isdiff: stopped; the same command goes on from here")
    print((folder / "summary.md").read_text("utf-8"))
    print(f"pictures and numbers: {folder}")
    return 0
