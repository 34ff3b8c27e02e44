"""What a pipeline with IS-Diff remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

from isdiff.refine import Refinement
from isdiff.seeds.base import Start
from isdiff.trajectory import Attempt


@dataclass
class Made:
    """How one image of a call came about: its attempts, which of them it is of (from 0), and its network calls."""

    attempts: list[Attempt] = field(default_factory=list)
    chosen: int = 0
    calls: int = 0


@dataclass
class Plugin:
    """What a pipeline was given, as ``pipe.isdiff``.

    Attributes:
        start: where attempts begin.
        refinement: how they are judged; None where there is one attempt only.
        run_seed: with an image's id it fixes all of its noise; None: the call's generators do.
        images: of the latest call, how each of its images came about.
        behind: steps that an attempt has made before the stock call that runs now.
    """

    start: Start
    refinement: Refinement | None
    run_seed: int | None = None
    images: list[Made] = field(default_factory=list)
    behind: int = 0
