"""How much faster a comparison is when its runs are measured already.

``python benchmarks/table_reread.py`` makes small runs of the photographs' comparison (two steps each) in a temporary
folder, and then times its tables twice: with nothing measured, as every table once was, and read from what is kept.
Sampling is in neither time; composing configurations, bootstrap and pictures are in both.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from isdiff.config.search_path import config_names
from isdiff.tables.compare import compare, narrow, read_plan

SMALL = ["sampler.steps=2", "sampler.jump=1", "runtime.workers=1"]


def seconds(plan, overrides: list[str]) -> dict[str, float]:
    wall, processor = time.perf_counter(), time.process_time()
    compare(plan, overrides)
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--groups", type=int, help="only so many of the comparison's groups")
    args = parser.parse_args()
    plan = read_plan(config_names("compare")["photos"])
    plan.groups = plan.groups[: args.groups]
    plan = narrow(plan, limit=args.limit, seeds=list(range(args.seeds)), masks=["half"])
    with tempfile.TemporaryDirectory() as folder:
        plan.folder = f"{folder}/table"
        overrides = [f"output_root={folder}", *SMALL]
        compare(plan, overrides)
        first = (Path(folder) / "table" / "table.json").read_text()
        for kept in [path for path in Path(folder).rglob("measured") if path.is_dir()]:
            shutil.rmtree(kept)
        times = {"measured": seconds(plan, overrides), "read": seconds(plan, overrides)}
        assert (Path(folder) / "table" / "table.json").read_text() == first, "a table read again says the same"
    report = {
        "images": args.limit, "seeds": args.seeds, "rows": sum(len(group.rows) for group in plan.groups),
        "seconds": {name: {k: round(v, 2) for k, v in found.items()} for name, found in times.items()},
        "ratio": {k: round(times["measured"][k] / times["read"][k], 1) for k in times["read"]},
    }  # fmt: skip
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
