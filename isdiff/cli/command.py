"""What all commands share: reading options, and telling errors."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from isdiff.errors import UserError, explained

CLOSED = 141  # the exit code that shells have for a command whose reader went away


class Parser(argparse.ArgumentParser):
    """Raises ``UserError`` where argparse would end the process."""

    def __init__(self, prog: str | None = None, **options: Any) -> None:
        super().__init__(prog, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help says more)")

    def parse_with_overrides(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse options and names; the words KEY=VALUE are handed back as they are."""
        words, overrides = split_overrides(arguments)
        return self.parse_intermixed_args(words), overrides


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part words from overrides, KEY=VALUE. A name may have words behind it."""
    overrides = [word for word in arguments if "=" in word.partition(" ")[0] and not word.startswith("-")]
    return [word for word in arguments if word not in overrides], overrides


def tell(error: BaseException) -> str:
    """One sentence for an error of the user's, of the machine's or of a configuration; bugs are raised again."""
    if type(error).__module__.partition(".")[0] in ("hydra", "omegaconf"):  # which take long to import
        return f"the configuration does not resolve: {' '.join(str(error).split())}"
    if not isinstance(error, (UserError, OSError)):
        raise error
    return explained(error)


def call(name: str, arguments: list[str]) -> int:
    return guard(lambda: import_module(f"isdiff.cli.{name}").main(arguments))


def guard(action: Callable[[], int | None]) -> int:
    """Return the exit code of what a command does; what went wrong is told on stderr."""
    try:
        try:
            return action() or 0
        finally:
            if sys.stdout:
                sys.stdout.flush()  # here a closed pipe is heard of
    except KeyboardInterrupt:
        print("isdiff: stopped; what is finished is kept, the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        return CLOSED
    except Exception as error:
        print(f"isdiff: {tell(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
