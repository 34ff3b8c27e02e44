"""How far a hole's initial values are from what belongs there: the divergence of Fig. 4."""

from collections.abc import Mapping

import numpy as np
import torch

from isdiff.data.images import to_tensor
from isdiff.errors import UserError
from isdiff.metrics.intervals import estimate
from isdiff.metrics.samples import MeanStatistic
from isdiff.runs.measure import sources
from isdiff.seeds.base import SeededStart
from isdiff.tables.cells import Cells, Row
from isdiff.tables.plan import TablePlan
from isdiff.tables.sheet import Column, Measure, Sheet, Value

BINS = 8  # of each colour channel
TITLE = "KL divergence to the hole's true colours (nats)"
KL = Measure("kl", TITLE, heading=TITLE)  # smaller is nearer, and neither is better


def divergences(row: Row, first: int = 0) -> dict[str, float]:
    """KL divergence, in nats, of the hole's true colours from what the row's first attempt fills the hole with.

    By id: of the row's images, and of the ``first`` of its dataset that can be read, whether they have results or not.
    Both as joint histograms of 8 x 8 x 8 colours over [-1, 1] (values outside count into the outermost bins), with one
    pixel spread evenly over the bins of the second, so that the divergence stays finite.
    """
    experiment = row.experiment
    start = experiment.setup.start
    values = {}
    for image_id in dict.fromkeys([*row.ids, *experiment.dataset.ids()[:first]]):
        try:
            given = experiment.read(image_id)
            task = experiment.task(image_id, given)
        except UserError:
            if image_id in row.ids:
                raise
            continue
        stream = experiment.stream(image_id, 0)
        filled = start.seed.fill(task, stream) if isinstance(start, SeededStart) else stream.normal(like=task.image)
        values[image_id] = divergence(to_tensor(given.pixels), filled.cpu(), torch.from_numpy(given.hole))
    return values


def add_divergences(sheet: Sheet, table: TablePlan, cells: Cells, spread: Mapping[str, Mapping[str, float]]) -> None:
    """Another column: the mean of :func:`divergences`, which ``spread`` has by row, over images."""
    (mask,) = table.masks
    sheet.columns.append(Column(mask, KL))
    missing = {value.row.name: value.missing for value in sheet.values}
    for row in table.rows:
        value = Value(row, sheet.columns[-1], missing=missing[row.name])
        if (found := cells.get((row.name, mask))) is not None:
            sample = MeanStatistic(np.array(list(spread[row.name].values())))
            sample.groups = sources(found.experiment, [{"id": image_id} for image_id in spread[row.name]])
            value.ours, value.missing = estimate(sample, table.bootstrap), ""
        sheet.values.append(value)
    order = [row.name for row in table.rows]
    sheet.values.sort(key=lambda value: order.index(value.row.name))


def divergence(truth: torch.Tensor, filled: torch.Tensor, hole: torch.Tensor) -> float:
    """The divergence of two images (3, H, W) of about [-1, 1] in one hole (H, W)."""
    true, given = (counts(image[:, hole]) for image in (truth, filled))
    p = true / true.sum()
    q = (given + 1 / given.size) / (given.sum() + 1)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())


def counts(colours: torch.Tensor) -> np.ndarray:
    """(3, N) in about [-1, 1] to a histogram of BINS ** 3."""
    cells = ((colours.double().clamp(-1, 1) + 1) / 2 * BINS).long().clamp(max=BINS - 1)
    index = (cells[0] * BINS + cells[1]) * BINS + cells[2]
    return torch.bincount(index, minlength=BINS**3).double().numpy()
