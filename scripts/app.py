"""``isdiff app`` by its place in the repository; see isdiff/cli/app.py."""

import sys

import installed  # noqa: F401

from isdiff.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", *sys.argv[1:]]))
