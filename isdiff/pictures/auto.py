"""``method=auto``: a method and a model for each picture, from its hole and from what is installed.

1. A prompt, or a hole of more than half the picture: Stable Inpainting, if public weights are here. A prompt without
   them is refused.
2. Thin lines, no hole pixel more than :data:`THIN` from a known one: OpenCV's Telea. It takes no time, and two readers
   called scratches close between it and the patches (docs/results.md).
3. Else, and for soft masks, the patches with DDNM + IS-Diff, which the same readers preferred on seven photographs to
   Telea and to the shipped network, and on six of them to PatchMatch.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import Any

import cv2
import numpy as np

from isdiff.errors import UserError
from isdiff.pictures.canvas import Filled, Job
from isdiff.pictures.jobs import Inpainter

AUTO = "auto"
THIN, LARGE = 3.0, 0.5
PUBLIC = ("sd2_inpainting", "sd15_inpainting")


class AutoInpainter:
    """Used as an :class:`Inpainter`, it has one for each method that pictures take.

    Args:
        options: those of an ``Inpainter`` but for its method and model.
    """

    label, model = AUTO, "a model for each picture"

    def __init__(self, model: Any = None, **options: Any) -> None:
        if model is not None:
            raise UserError("method auto takes its models itself; leave the model out, or name a method")
        self.prompt, pixels = options.get("prompt", ""), options | {"prompt": "", "negative_prompt": ""}
        self.named = cache(lambda name: Inpainter(name, **pixels))
        self.public = cache(lambda: next((i for i in (Inpainter("si", p, **options) for p in PUBLIC) if i.ready), None))
        self.took: dict[str, set[str]] = {}
        self.at_work: Inpainter | None = None

    @property
    def squares(self) -> str:
        """As of the :class:`Inpainter` that is at work."""
        return self.at_work.squares if self.at_work else ""

    def choice(self, job: Job) -> tuple[Inpainter, str]:
        """The inpainter for a picture, and why."""
        asked, large = job.prompt if self.prompt == "caption" else self.prompt, job.hole.mean() > LARGE
        if job.strength is None and (asked or large) and (public := self.public()):
            return public, "there is a prompt" if asked else "more than half is hidden"
        if asked:
            raise UserError(f"a prompt needs a model with public weights: isdiff weights get {PUBLIC[0]}")
        away = cv2.distanceTransform(job.hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        thin = job.strength is None and away.max() <= THIN
        return self.named("telea" if thin else "ddnm+isdiff"), "thin lines" if thin else "no thin lines"

    def inpainter(self, job: Job) -> Inpainter:
        """The inpainter for a picture; :meth:`said` tells of it."""
        found, why = self.choice(job)
        self.took.setdefault(f"{found.name_of(job)} ({why})", set()).add(job.name)
        return found

    def said(self) -> str:
        """What was taken and why, in a line."""
        several = sum(map(len, self.took.values())) > 1
        return "auto took " + ", ".join(what + f" for {len(names)}" * several for what, names in self.took.items())

    def method_hash(self, job: Job) -> str:
        """That of the method that a picture takes."""
        return self.inpainter(job).method_hash(job)

    def name_of(self, job: Job) -> str:
        """The method and the model that a picture takes."""
        return self.inpainter(job).name_of(job)

    def load(self) -> None:
        """Load nothing yet: models follow from pictures."""

    def unlike(self, job: Job) -> bool:
        """No model that is taken here knows one kind of picture only."""
        return False

    def stream(self, jobs: Iterable[Job], **options: Any) -> Iterator[Filled]:
        """Yield what comes of jobs as :meth:`Inpainter.stream` does; neighbours of one method share batches."""
        for inpainter, group in groupby(jobs, self.inpainter):
            self.at_work = inpainter
            yield from inpainter.stream(group, **options)


def inpainter_of(method: Any, model: Any = None, **options: Any) -> Any:
    """The inpainter of a method, which may be ``auto``."""
    return AutoInpainter(model, **options) if method == AUTO else Inpainter(method, model, **options)
