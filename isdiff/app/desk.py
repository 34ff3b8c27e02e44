"""What visitors have before them: their photos so far, the hole, and results; it outlives a reload of the page."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from isdiff.app.guard import DESKS, Shares
from isdiff.app.photo import Photo, to_screen
from isdiff.app.studio import Order, Variant
from isdiff.errors import UserError
from isdiff.pictures.edges import FEATHER, PASTED, POISSON, Edge
from isdiff.pictures.inpaint import DRAWN, hole_of
from isdiff.pictures.shapes import grow_hole, reshape

LONGEST = 12  # photos in a history; the second one goes first, the first one never
CHANGES = {"Grow": 1, "Shrink": -1, "Invert": 0}
EDGES = {
    "sharp edge": PASTED,
    **{f"feather {band} px": Edge(FEATHER, band) for band in (4, 8, 16, 32)},
    "even colours": Edge(POISSON),
}
READY = ("add a mask", *DRAWN)
SHAPES = ("10 %", "25 %", "50 %", "1:1", "4:3", "3:2", "16:9", "3:4", "2:3", "9:16")  # that borders make


@dataclass(eq=False)
class Step:
    """A photo of the history and the hole in it, (H, W) bool."""

    photo: Photo
    hole: np.ndarray

    @cached_property
    def small(self) -> np.ndarray:
        """A picture of it for the history."""
        return to_screen(self.photo.picture.rgb(), 160)


@dataclass(eq=False)
class Desk:
    """What one visitor has."""

    steps: list[Step] = field(default_factory=list)  # the history, oldest first
    at: int = 0  # the step that is on the canvas
    filled: Order | None = None  # what was asked for last
    variants: list[Variant] = field(default_factory=list)  # its fills; none once one is gone on with
    chosen: int = 0  # which of them is looked at
    choices: list[Any] = field(default_factory=list)  # method, model and so on, as the page has them
    folder: Any = field(default_factory=lambda: tempfile.TemporaryDirectory(prefix="isdiff-app-"))

    @property
    def step(self) -> Step:
        """What is on the canvas."""
        if not self.steps:
            raise UserError("there is no photo yet: load one, or pick an example")
        return self.steps[self.at]

    @property
    def shown(self) -> Photo:
        """What there is to download: the result that is looked at, or else the photo on the canvas."""
        return (self.variants[self.chosen].photo if self.variants else None) or self.step.photo

    def put(self, photo: Photo, hole: np.ndarray | None = None, anew: bool = False) -> None:
        """Put a photo on the canvas, at the end of the history or at the beginning of a new one."""
        self.steps = [] if anew else self.steps
        self.steps.append(Step(photo, np.zeros(photo.shape, bool) if hole is None else hole))
        if len(self.steps) > LONGEST:
            del self.steps[1]
        self.go_to(len(self.steps) - 1)

    def go_to(self, at: int) -> None:
        """Put a step of the history back on the canvas."""
        self.at, self.variants = min(at, len(self.steps) - 1), []

    def change(self, how: str) -> None:
        """Grow, shrink or invert the hole, or add a ready-made mask."""
        step = self.step
        if how in DRAWN:
            step.hole = step.hole | hole_of(how, step.photo.picture)
        elif how == "Invert":
            step.hole = ~step.hole
        elif how in CHANGES:
            step.hole = grow_hole(step.hole, CHANGES[how] * max(1, round(max(step.photo.shape) / 100)))

    def extend(self, added: Sequence[int], megapixels: float) -> None:
        """Add borders to the photo, so many pixels left, top, right and bottom; they become hole."""
        photo, (left, top, right, bottom) = self.step.photo, added
        if (photo.shape[0] + top + bottom) * (photo.shape[1] + left + right) > megapixels * 1e6:
            raise UserError(f"it would have more than {megapixels:g} megapixels, which this page takes; add less")
        borders = f"left={left},top={top},right={right},bottom={bottom}"
        picture, hole = reshape(photo.picture, self.step.hole, extend=borders)
        self.put(Photo(photo.name, picture, photo.info, "extended"), hole)


class Desks(dict[str, Desk]):
    """The desks of all visitors by secret names, so many as there is room for."""

    def __init__(self) -> None:
        self.shares = Shares(DESKS)

    def of(self, name: object) -> Desk:
        """The desk of a name."""
        if not name:
            raise UserError("this page is still loading; try again in a moment")
        if not isinstance(name, str) or name not in self:
            raise UserError("this page has been away for long; reload it")
        return self[name]

    def open(self, name: object, visitor: str) -> str:
        """The name of a desk that is there, or else of a new one."""
        found = name if isinstance(name, str) and name in self else secrets.token_urlsafe()
        if (gone := self.shares.take(found, visitor)) is not None:
            self.pop(gone, None)
        self.setdefault(found, Desk())
        return found


def borders_for(shape: str, height: int, width: int) -> tuple[int, int, int, int]:
    """The pixels left, top, right and bottom that make a photo of such a shape: ``16:9``, or ``25 %`` on all sides."""
    if shape.endswith("%"):
        across, down = (round(side * float(shape[:-1]) / 100) for side in (width, height))
        return across, down, across, down
    a, b = map(int, shape.split(":"))
    across, down = max(0, round(height * a / b) - width), max(0, round(width * b / a) - height)
    return across // 2, down // 2, across - across // 2, down - down // 2
