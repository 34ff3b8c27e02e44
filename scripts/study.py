"""The human study of Table III: ``python scripts/study.py build PLAN | collect KEY ANSWERS...``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from isdiff.cli.study import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
