"""``isdiff study`` by its place in the repository; see isdiff/cli/study.py."""

import sys

import installed  # noqa: F401

from isdiff.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", *sys.argv[1:]]))
