"""``python -m isdiff`` is the command ``isdiff``."""

import sys

from isdiff.cli import main

if __name__ == "__main__":  # sampling processes import this module as well
    sys.exit(main())
