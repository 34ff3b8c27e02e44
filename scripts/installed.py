"""Imported by the scripts beside it: ends them with one sentence where the package is not installed."""

import sys
from importlib.util import find_spec

if find_spec("isdiff") is None:
    sys.exit("isdiff: the package is not installed in this Python; run make install and use .venv/bin/python")
