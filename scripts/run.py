"""Run one experiment: ``python scripts/run.py dataset=avatars mask=half method=ddnm+isdiff limit=16 seed=0``."""

import sys
from pathlib import Path

import hydra

sys.path.insert(0, str(Path(__file__).parents[1]))

from isdiff.errors import UserError


@hydra.main(version_base="1.3", config_path="../configs", config_name="config")
def main(cfg) -> None:
    from isdiff.runner import execute

    try:
        store = execute(cfg)
    except UserError as error:
        print(f"isdiff: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit("isdiff: stopped; the same command goes on from here")
    print((store.path / "summary.md").read_text("utf-8"))
    print(f"results: {store.path}")


if __name__ == "__main__":
    main()
