"""``torchrun --nproc_per_node=8 -m isdiff run ...``: rank 0 is the command, the others sample what it asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable

from isdiff.errors import UserError
from isdiff.experiments import ranks

SHARED = ("run", "compare", "table")  # commands that sample experiments


def together(words: list[str], alone: Callable[[list[str]], int]) -> int:
    """The exit code of this rank. The others' is 0 as long as rank 0 can be told what went wrong: torchrun ends all
    ranks with the first that fails, and rank 0 is to say why in peace."""
    if not ranks.several():
        return alone(words)
    try:
        team = ranks.Team.joined()
        if team.rank:
            from isdiff.experiments.sampling import sample_for_leader

            sample_for_leader(team)
            return 0
    except UserError as error:
        print(f"isdiff: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # rank 0 says so
        return 130
    try:
        if words and words[0] not in SHARED and not words[0].startswith("-"):
            raise UserError(
                f"isdiff {words[0]} is one process; start it without torchrun (which is for {', '.join(SHARED)})"
            )
        ranks.lead(team)
        return alone(words)
    except UserError as error:
        print(f"isdiff: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        team.finish()
