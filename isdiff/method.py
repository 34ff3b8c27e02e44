"""A method as one object: how images move through the noise levels, how known regions are treated, where it begins."""

from dataclasses import dataclass, field

from isdiff.diffusion.schedule import TimestepPlan
from isdiff.known import KnownRegion
from isdiff.priors.conditioning import Conditioning
from isdiff.refine import Refinement
from isdiff.samplers.base import Sampler
from isdiff.seeds.base import NoiseStart, Start


@dataclass(frozen=True)
class Method:
    """How holes are filled; the objects that ``method=``, ``sampler=`` and ``isdiff=`` of a run name.

    Args:
        sampler: how an image moves from one noise level to the next.
        known: how the known region is treated.
        steps: the timesteps, and the order in which they are visited.
        start: where attempts begin; IS-Diff's is ``SeededStart(seed)``.
        refinement: how attempts are judged; None: the first one is kept.
        conditioning: how a latent model is asked; None for methods that work on pixels.
        name: for messages.
    """

    sampler: Sampler
    known: KnownRegion
    steps: TimestepPlan = field(default_factory=TimestepPlan)
    start: Start = field(default_factory=NoiseStart)
    refinement: Refinement | None = None
    conditioning: Conditioning | None = None
    name: str = "own"
