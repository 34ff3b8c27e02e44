"""Run a comparison and print its table: ``python scripts/compare.py demo``, or the name of any configs/compare file.

``--limit``, ``--seeds`` and ``--masks`` narrow it; further arguments are Hydra overrides of every run, e.g.
``runtime.device=cuda``.
"""

import argparse
import sys
from pathlib import Path

from omegaconf import OmegaConf

sys.path.insert(0, str(Path(__file__).parents[1]))

from isdiff.errors import UserError, explained
from isdiff.experiments.compare import CONFIGS, compare, narrow

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(p.stem for p in (CONFIGS / "compare").glob("*.yaml")))
    parser.add_argument("--limit", type=int, help="at most so many images in every group")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], help="such as 0,1,2")
    parser.add_argument("--masks", type=lambda text: text.split(","), help="such as half,expand")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    plan = OmegaConf.load(CONFIGS / "compare" / f"{args.name}.yaml")
    narrowed = {name: value for name in ("limit", "seeds", "masks") if (value := getattr(args, name)) is not None}
    try:
        folder = compare(narrow(plan, **narrowed), args.overrides)
    except (UserError, OSError) as error:
        print(f"isdiff: {explained(error)}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        sys.exit("isdiff: stopped; the same command goes on from here")
    print((folder / "summary.md").read_text("utf-8"))
    print(f"pictures and numbers: {folder}")
