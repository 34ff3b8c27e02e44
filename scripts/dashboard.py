"""``isdiff dashboard`` by its place in the repository; see isdiff/cli/dashboard.py."""

import sys

import installed  # noqa: F401

from isdiff.cli import main

if __name__ == "__main__":
    sys.exit(main(["dashboard", *sys.argv[1:]]))
