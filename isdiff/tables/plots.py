"""Figures as pictures, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isdiff.config.metrics import build_metrics
from isdiff.metrics.intervals import Estimate, estimate
from isdiff.tables.cells import Cells
from isdiff.tables.kl import KL
from isdiff.tables.plan import TablePlan

Points = Sequence[tuple[float, Estimate]]
Series = dict[tuple[str, str], tuple[list[Any], dict[str, Estimate]]]  # by mask and metric: lines, and reference levels


def subplots(rows: int, columns: int, size: tuple[float, float] = (4.2, 3.2)) -> tuple[Any, Any]:
    """A picture and its axes (rows, columns)."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "isdiff"
    from matplotlib import pyplot

    whole = size[0] * columns, size[1] * rows
    return pyplot.subplots(rows, columns, figsize=whole, squeeze=False, constrained_layout=True)


def draw_sweep(figure: Any, metrics: Sequence[str], panels: Sequence[tuple[str, Sequence[str], Series]]) -> Any:
    """A panel for every dataset and mask (and metric), a line with 95 % intervals for every line of the figure.

    A row for every dataset; of one dataset with several metrics larger panels, a row for every mask.

    Args:
        panels: each dataset's name, its masks, and what is drawn.
    """
    headings = {metric.name: metric.heading for metric in build_metrics(metrics)}
    masks = panels[0][1]
    if len(panels) == 1 and len(metrics) > 1:
        picture, axes = subplots(len(masks), len(metrics), (6.4, 4.2))
    else:
        picture, axes = subplots(len(panels), len(masks) * len(metrics))
    difference = bool(figure.get("difference"))
    for row, (label, _, series) in zip(axes.reshape(len(panels), -1), panels, strict=True):
        for axis, ((mask, metric), (lines, levels)) in zip(row, series.items(), strict=True):
            for place, (line, points) in enumerate(zip(figure.lines, lines, strict=True)):
                if points:
                    plot_line(axis, line.label, points, f"C{place}", 3 * (place - (len(figure.lines) - 1) / 2))
            if difference:
                axis.axhline(0, color="gray", linewidth=0.8)
            for name, level in levels.items():
                axis.axhline(level.value, color="gray", linewidth=0.8, label=name)
                axis.axhspan(level.low, level.high, color="gray", alpha=0.15)
            if "mark" in figure:
                axis.axvline(figure.mark, color="gray", linestyle=":", linewidth=1)
            axis.set_title(f"{label}, {mask}", fontsize=9)
            set_scale(axis, figure.axis)
            axis.set_xlabel(figure.axis.label, fontsize=8)
            axis.set_ylabel(f"{headings[metric]}{', difference' if difference else ''}", fontsize=8)
            axis.tick_params(labelsize=7)
    picture.legend(*legend_of(axes), loc="outside lower center", ncols=5, fontsize=7)
    picture.suptitle(figure.title, fontsize=10)
    return picture


def set_scale(axis: Any, settings: Any) -> None:
    """``scale: log`` and ``ticks`` of a figure's axis, where it has them."""
    axis.set_xscale(settings.get("scale", "linear"))
    axis.autoscale_view()  # lines that are moved aside do not count by themselves
    if ticks := settings.get("ticks"):
        axis.set_xticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlim(0.8 * ticks[0], 1.3 * ticks[-1])


def legend_of(axes: np.ndarray) -> tuple[list[Any], list[str]]:
    """Every line once, though panels may lack some."""
    found = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    return list(found.values()), list(found)


def plot_line(axis: Any, label: str, points: Points, colour: str, offset: float) -> None:
    """Draw a line with its intervals.

    Args:
        aside: typographic points to the right, so that bars of several lines at one value do not hide one another.
    """
    from matplotlib.transforms import ScaledTranslation

    x, found = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    y = np.array([each.value for each in found])
    lengths = bars(found)
    moved = axis.transData + ScaledTranslation(offset / 72, 0, axis.figure.dpi_scale_trans)
    axis.errorbar(
        x, y, lengths, marker="o", markersize=3, capsize=2, linewidth=1, label=label, color=colour, transform=moved
    )  # fmt: skip
    axis.update_datalim([*zip(x, y - lengths[0], strict=True), *zip(x, y + lengths[1], strict=True)])


def bars(found: Sequence[Estimate]) -> np.ndarray:
    """Lengths of error bars, (2, N); none where no interval is known."""
    sides = [[each.value - each.low for each in found], [each.high - each.value for each in found]]
    return np.nan_to_num(np.array(sides)).clip(0)


def draw_initialisations(
    figure: Any, label: str, table: TablePlan, cells: Cells, divergent: Mapping[str, Mapping[str, float]]
) -> Any:
    """Fig. 4: how far each initialisation's colours are from the hole's true ones, and the quality that follows.

    Args:
        divergent: the distances, by row and image.
    """
    metrics = build_metrics(list(table.metrics.values()))
    (mask,) = table.masks
    picture, axes = subplots(1, 1 + len(metrics))
    first = axes[0][0]
    shown = [line for line in figure.lines if (line.name, mask) in cells]
    spread = [np.array(list(divergent[line.name].values())) for line in shown]
    first.boxplot(spread, orientation="horizontal", tick_labels=[line.label for line in shown], showfliers=False)
    first.set_xlabel(KL.heading, fontsize=8)
    first.set_title(f"n = {min(map(len, spread))} images", fontsize=9)
    for axis, metric in zip(axes[0][1:], metrics, strict=True):
        for line, values in zip(shown, spread, strict=True):
            sample = cells[line.name, mask].samples.get(metric.name)
            if sample is not None:
                found = estimate(sample, table.bootstrap)
                axis.errorbar([np.mean(values)], [found.value], bars([found]), marker="o", capsize=3, label=line.label)
        axis.set_xlabel("mean KL divergence (nats)", fontsize=8)
        axis.set_ylabel(metric.heading, fontsize=8)
        axis.set_title(f"n = {min(len(cells[line.name, mask].ids) for line in shown)} images", fontsize=9)
    picture.legend(*legend_of(axes), loc="outside lower center", ncols=len(shown), fontsize=7)
    for axis in axes[0]:
        axis.tick_params(labelsize=7)
    picture.suptitle(f"{figure.title} ({label}, {mask})", fontsize=10)
    return picture
