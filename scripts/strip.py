"""``isdiff strip`` by its place in the repository; see isdiff/cli/strip.py."""

import sys

import installed  # noqa: F401

from isdiff.cli import main

if __name__ == "__main__":  # sampling processes import this file as well
    sys.exit(main(["strip", *sys.argv[1:]]))
