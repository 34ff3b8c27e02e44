"""The internal patch prior: what a picture's own known patches say of its hole.

The denoiser is the mean of a mixture: the windows about a cell are taken to be known windows of the same picture, whose
colours may be a little off. It is the local, translation-equivariant denoiser of Kamb & Ganguli (2024) with one picture
as its data. Noise decides at which scale windows are compared. Where a scale has too many to compare them all, those
are compared that the coarser scales led to (:mod:`isdiff.priors.patches.search`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate

from isdiff.errors import UserError
from isdiff.prediction import Prediction
from isdiff.priors.base import OnPixels
from isdiff.priors.patches.level import Level, build_level
from isdiff.priors.patches.membrane import match_edge
from isdiff.priors.patches.search import Given, Precision, average_all, best_of_all, compare, refine_matches
from isdiff.trajectory import Task

CONTEXT = 0.5  # radius of windows as a share of the hole's depth, where that is smaller
TOLERANCE = 0.15  # standard deviation by which the known part of a window differs from another known window
FEW_PAIRS = 1_000_000  # of windows, which are always compared, however deep the hole


@dataclass(frozen=True)
class PatchSettings:
    """How windows are taken and compared. Colours and noise are in units of the picture."""

    window: int = 7  # side of windows in cells, odd; smaller ones where few are known or the hole is narrow
    noise: float = 0.35  # noise level at which a scale is used, after averaging over its cells
    rows: float = 0.05  # standard deviation of how far up or down patches come from, as a share of the height
    columns: float = 2.0  # the same sideways, in units of the hole's depth
    shift: float = 0.02  # standard deviation by which a patch's mean colour may differ
    edge: float = 0.15  # differences of colour at the hole's edge that are evened out; 0: none
    features: int = 48  # numbers by which windows are compared
    matches: int = 4  # known windows that are kept for a cell, where not all are compared
    compared: int = 20_000_000  # most pairs of windows that are compared at a scale
    exact: int = 2_000_000  # most pairs at a scale where known cells are compared as known, not as the state has them
    depth: float = 4.0  # all known windows are compared at scales where the hole is at most so many cells deep
    coarsest: int = 6  # least number of cells of the shorter side


@dataclass(frozen=True, eq=False)
class Pyramid:
    """What is known of a picture, at all scales."""

    levels: dict[int, Level]  # by the side of their cells in pixels, 1, 2, 4, ...
    complete: int  # cells' side from which on all known windows are compared
    depth: float  # of the hole: the farthest that one of its pixels is from a known one


def build_pyramid(image: Tensor, hole: Tensor, settings: PatchSettings) -> Pyramid:
    """Take the known windows of a picture (3, H, W) outside of its hole (1, H, W), from the coarsest scale down."""
    image = image.masked_fill(hole, 0.0)
    depth = float(ndimage.distance_transform_edt(hole[0].cpu().numpy()).max())
    levels: dict[int, Level] = {}
    cells = [1]
    while min(hole.shape[1:]) / (2 * cells[-1]) >= settings.coarsest:
        cells.append(2 * cells[-1])
    radius = settings.window  # no limit yet
    for cell in reversed(cells):
        # What is known of a coarse window must do for the finer ones in it, so their radius at most doubles.
        radius = min(settings.window // 2, max(1, int(CONTEXT * depth / cell)), 2 * radius or settings.window)
        level = build_level(image, hole, cell, 2 * radius + 1, settings.features)
        if level is not None:
            levels[cell], radius = level, level.side // 2
    complete = max(levels)
    for cell in sorted(levels, reverse=True):
        pairs = len(levels[cell].windows) * len(levels[cell].places)
        if pairs > (settings.compared if depth / cell <= settings.depth else FEW_PAIRS):
            break
        complete = cell
    return Pyramid(levels, complete, depth)


class PatchPrior(OnPixels):
    """The exact denoiser of one picture: the mean of its known windows, weighed by likelihood.

    ``levels`` leads from a timestep to signal and noise level, (alpha, sigma), of any process.
    """

    def __init__(self, levels: Callable[[float], tuple[float, float]], settings: PatchSettings | None = None) -> None:
        self.levels, self.settings = levels, settings or PatchSettings()

    def prepare(self, task: Task, prompt: str = "") -> Task:
        """The task with its patches, which live as long as the task does."""
        task = super().prepare(task, prompt)
        if task.hole.all():
            raise UserError(f"image {task.id} has no known pixel to take patches from")
        return replace(task, condition=build_pyramid(task.image, task.hole, self.settings))

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        found = []
        for x, timestep, task in zip(states, timesteps, tasks, strict=True):
            alpha, sigma = self.levels(timestep)
            clean = Noisy(x, alpha, sigma, task, self.settings).clean()
            found.append(Prediction((x - alpha * clean) / sigma if sigma else torch.zeros_like(x), clean=clean))
        return found


@dataclass(frozen=True)
class Noisy:
    """A noisy picture ``x = alpha picture + sigma noise``, (3, H, W), and what is known of the picture."""

    x: Tensor
    alpha: float
    sigma: float
    task: Task
    settings: PatchSettings
    queries: dict[int, Tensor] = field(default_factory=dict)

    @property
    def pyramid(self) -> Pyramid:
        assert isinstance(self.task.condition, Pyramid)
        return self.task.condition

    def clean(self) -> Tensor:
        """The expected picture (3, H, W); known pixels are the task's."""
        level = self.level()
        if level.cell < self.pyramid.complete:
            found, away = self.matches(level)
            colours = self.shifted(level, ((away / -2).softmax(1)[..., None] * level.answers[found]).sum(1))
        elif self.is_exact(level):
            colours = self.given(level).average(level)
        else:
            colours = self.shifted(level, average_all(level, self.query(level), self.precision(level)))
        return self.enlarged(level, colours)

    def level(self) -> Level:
        """The level at which this noise is nearest to what windows are compared at; the coarsest where all is noise."""
        wanted = self.sigma / max(self.alpha, 1e-9) / self.settings.noise
        cell = min(max(self.pyramid.levels), 2 ** max(0, round(math.log2(max(wanted, 1e-9)))))
        return self.pyramid.levels[max(cell, min(self.pyramid.levels))]

    def precision(self, level: Level) -> Precision:
        s, sigma = self.settings, max(self.sigma, 1e-6) / level.cell
        rows, columns = s.rows * level.shape[0], s.columns * self.pyramid.depth / level.cell
        return Precision.at(self.alpha, sigma, level, shift=s.shift, rows=rows, columns=columns)

    def query(self, level: Level) -> Tensor:
        if level.cell not in self.queries:
            self.queries[level.cell] = level.query(self.x)
        return self.queries[level.cell]

    def is_exact(self, level: Level) -> bool:
        return len(level.windows) * len(level.places) <= self.settings.exact

    def given(self, level: Level) -> Given:
        return compare(
            level, self.x, self.task.image, self.task.hole, self.alpha, max(self.sigma, 1e-6) / level.cell,
            precision=self.precision(level), tolerance=TOLERANCE, shift=self.settings.shift,
        )  # fmt: skip

    def matches(self, level: Level) -> tuple[Tensor, Tensor]:
        """Numbers (M, k) of the windows that coarser levels lead to, and their distances."""
        coarse, count = self.pyramid.levels[self.pyramid.complete], self.settings.matches
        if self.is_exact(coarse):
            found = self.given(coarse).best(coarse, count)
        else:
            found = best_of_all(coarse, self.query(coarse), self.precision(coarse), count)
        away = torch.zeros_like(found, dtype=self.x.dtype)
        while coarse.cell > level.cell:
            fine = self.pyramid.levels[coarse.cell // 2]
            found, away = refine_matches(coarse, fine, found, self.query(fine), self.precision(fine), count)
            coarse = fine
        return found, away

    def shifted(self, level: Level, means: Tensor) -> Tensor:
        """Colours (M, 3) from mean ``answers`` (M, 6), moved towards the mean colours of the noisy windows."""
        share = self.precision(level).shared
        if not share:
            return means[:, :3]
        return means[:, :3] + share * (self.query(level)[:, :3] / (self.alpha * level.side) - means[:, 3:])

    def enlarged(self, level: Level, colours: Tensor) -> Tensor:
        """The hole's cells (M, 3) as the hole of the picture, their colours matched to those at its edge."""
        small = level.image.clone()
        small[:, level.hole] = colours.T
        if self.settings.edge:
            small = torch.where(level.hole, small + match_edge(small, level.hole, self.settings.edge), small)
        if level.cell > 1:
            small = interpolate(small[None], scale_factor=level.cell, mode="bicubic", align_corners=False)[0]
        height, width = self.task.image.shape[1:]
        return self.task.compose(small[:, :height, :width])
