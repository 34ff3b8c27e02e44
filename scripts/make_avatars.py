"""Draw a split of avatars: ``python scripts/make_avatars.py --split test --count 1000`` (see make_drawn.py)."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.argv.insert(1, "avatars")
    runpy.run_path(str(Path(__file__).with_name("make_drawn.py")), run_name="__main__")
