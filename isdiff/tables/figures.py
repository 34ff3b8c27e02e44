"""Figures as data: a sweep is a table whose rows are the values of one key; SVG, PNG and CSV."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from isdiff.io.files import atomic_open, atomic_save
from isdiff.metrics.contrast import contrast
from isdiff.metrics.intervals import Estimate, estimate
from isdiff.metrics.samples import MeanSample
from isdiff.runs.measure import build_metrics, sources
from isdiff.tables.cells import Cells, fill
from isdiff.tables.compare import UNUSED, Row
from isdiff.tables.counts import counted
from isdiff.tables.kl import divergences
from isdiff.tables.plan import TablePlan, load, names, plan
from isdiff.tables.render import comma_separated
from isdiff.tables.sheet import Column, Gaps, Sheet, Value
from isdiff.tables.spent import costs_of

Point = tuple[float, Estimate]


def figure_names() -> list[str]:
    """Fig. 4 before Fig. 10."""
    return sorted(names("figure"), key=lambda name: (len(name), name))


def as_table(figure: Any, dataset: str, profile: str) -> Any:
    """The figure's runs on one dataset as a table: a row for every line and value of the axis, and the references."""
    references = [line for line in figure.get("references", ()) if belongs(line, dataset, profile)]
    rows = [{key: value for key, value in line.items() if key != "only"} | masks_of(line) for line in references]
    for line in [line for line in figure.lines if belongs(line, dataset, profile)]:
        for name, label, overrides in points_of(figure, line, profile):
            row = {"name": name, "label": label, "overrides": [*line.overrides, *overrides]} | masks_of(line)
            rows.append(row | ({"against": [line.reference]} if "reference" in line else {}))
    kept = {key: figure[key] for key in ("title", "masks", "metrics", "limit", "seeds") if key in figure}
    return OmegaConf.create({**kept, "dataset": dataset, "rows": rows})


def belongs(line: Any, dataset: str, profile: str) -> bool:
    """Whether a line is drawn here, which its ``only`` may confine to a dataset, a profile and a mask."""
    only = line.get("only", {})
    return only.get("dataset", dataset) == dataset and only.get("profile", profile) == profile


def masks_of(line: Any) -> dict[str, Any]:
    """What a table's row says of the masks of a confined line, which is drawn on few images."""
    only = line.get("only", {})
    return {"masks": [only.mask], "costly": True} if "mask" in only else {}


def points_of(figure: Any, line: Any, profile: str) -> list[tuple[str, str, list[str]]]:
    """The runs of one line: a row's name, its label and what it overrides besides the line's own overrides."""
    if "points" in line:
        return [
            (f"{line.name}_{place}", f"{line.label}, {', '.join(point)}", list(point))
            for place, point in enumerate(line.points, 1)
        ]
    return [
        (line.name, line.label, [])
        if value is None
        else (
            row_name(line.name, value),
            f"{line.label}, {figure.axis.label} {value:g}",
            [f"{figure.axis['key']}={value}"],
        )
        for value in axis_values(figure, profile)
    ]


def axis_values(figure: Any, profile: str) -> list[float | None]:
    if "axis" not in figure:
        return [None]
    values = figure.axis["values"]
    return list(values[profile] if profile in values else values["paper"])


def row_name(line: str, value: float) -> str:
    return f"{line}_{value:g}"


@dataclass
class Drawn:
    """A figure's markup and caption for a report, both empty where none of its runs can be had, what it lacks, and what
    its runs cost."""

    name: str
    svg: str = ""
    caption: str = ""
    gaps: Gaps = field(default_factory=Gaps)
    costs: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)


def draw(name: str, profile: str, folder: Path, run: bool = True, **options: Any) -> Drawn:
    """Run what is missing and write ``<name>.svg``, ``.png`` and ``.csv``."""
    drawn = Drawn(name)
    figure = load("figure", name)
    of_seeds = figure.get("kind") == "initialisations"
    panels: list[tuple[str, TablePlan, Cells]] = []
    texts, lacking = [], 0
    for dataset in figure.datasets:
        table = plan(name, profile, table=as_table(figure, dataset, profile), **options)
        metrics = build_metrics(list(table.metrics.values()), UNUSED)
        sheet, cells = fill(table, metrics, run)
        if of_seeds:
            spread = {name: divergences(row, seeds_shown(figure, profile, options)) for (name, _), row in cells.items()}
            add_divergences(sheet, table, cells, spread)
        texts.append(comma_separated(sheet))
        drawn.gaps.add(sheet.gaps)
        drawn.costs |= costs_of(table, cells)
        lacking += sum(not cell.impossible for row in table.rows for cell in row.cells) - len(cells)
        if cells:
            label = next(iter(cells.values())).experiment.setup.names[0]
            panels.append((label, table, cells))
    with atomic_open(folder / f"{name}.csv") as stream:
        stream.write("".join(text if i == 0 else text.partition("\n")[2] for i, text in enumerate(texts)))
    if not panels:
        return drawn
    picture = initialisations(figure, *panels[0], spread) if of_seeds else sweep(figure, panels, profile)
    undated = {"Date": None}  # the same figure, the same file
    atomic_save(folder / f"{name}.svg", lambda stream: picture.savefig(stream, format="svg", metadata=undated))
    atomic_save(folder / f"{name}.png", lambda stream: picture.savefig(stream, format="png", dpi=160))
    svg = (folder / f"{name}.svg").read_text("utf-8")
    drawn.svg = svg[svg.index("<svg") :]
    left = f"{lacking} of its runs are not there yet: make {name} profile={profile}." if lacking else ""
    behind = "" if of_seeds else counted(panels, rows_of_lines(figure, profile))
    drawn.caption = " ".join(part for part in (f"{figure.title}.", figure.get("note", ""), behind, left) if part)
    return drawn


def rows_of_lines(figure: Any, profile: str) -> dict[str, list[str]]:
    """The names of the rows behind each line, by its label."""
    return {line.label: [name for name, *_ in points_of(figure, line, profile)] for line in figure.lines}


def subplots(rows: int, columns: int, size: tuple[float, float] = (4.2, 3.2)) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "isdiff"
    from matplotlib import pyplot

    whole = size[0] * columns, size[1] * rows
    return pyplot.subplots(rows, columns, figsize=whole, squeeze=False, constrained_layout=True)


def sweep(figure: Any, panels: Sequence[tuple[str, TablePlan, Cells]], profile: str) -> Any:
    """A panel for every dataset and mask (and metric), a line with 95 % intervals for every line of the figure.

    A row for every dataset; of one dataset with several metrics larger panels, a row for every mask.
    """
    metrics = list(panels[0][1].metrics.values())
    titles = {metric.name: metric.title for metric in build_metrics(metrics, UNUSED)}
    masks = panels[0][1].masks
    if len(panels) == 1 and len(metrics) > 1:
        picture, axes = subplots(len(masks), len(metrics), (6.4, 4.2))
    else:
        picture, axes = subplots(len(panels), len(masks) * len(metrics))
    axes = axes.reshape(len(panels), -1)
    for row, (label, table, cells) in zip(axes, panels, strict=True):
        for axis, (mask, metric) in zip(row, [(m, n) for m in masks for n in metrics], strict=True):
            for place, line in enumerate(figure.lines):
                points = line_points(figure, line, table, cells, mask, metric, profile)
                if points:
                    plot_line(axis, line.label, points, f"C{place}", 3 * (place - (len(figure.lines) - 1) / 2))
            if figure.get("difference"):
                axis.axhline(0, color="gray", linewidth=0.8)
            else:
                plot_references(figure, axis, table, cells, mask, metric)
            if "mark" in figure:
                axis.axvline(figure.mark, color="gray", linestyle=":", linewidth=1)
            axis.set_title(f"{label}, {mask}", fontsize=9)
            set_scale(axis, figure.axis)
            axis.set_xlabel(figure.axis.label, fontsize=8)
            axis.set_ylabel(f"{titles[metric]}{', difference' if figure.get('difference') else ''}", fontsize=8)
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


def line_points(
    figure: Any, line: Any, table: TablePlan, cells: Cells, mask: str, metric: str, profile: str
) -> list[Point]:
    """Values of a line, or differences to its reference, by the value of the axis or by what the runs cost."""
    points = []
    names = [name for name, *_ in points_of(figure, line, profile)]
    values = [None] * len(names) if "points" in line else axis_values(figure, profile)
    for name, value in zip(names, values, strict=True):
        found = cells.get((name, mask))
        if found is None or metric not in found.samples:
            continue
        value = found.means[figure.axis.measured] if value is None else value
        sample = found.samples[metric]
        if not figure.get("difference"):
            points.append((value, estimate(sample, table.bootstrap)))
        elif (base := cells.get((line.reference, mask))) is not None and metric in base.samples:
            points.append(
                (value, contrast(base.samples[metric], sample, table.bootstrap, (base.ids, found.ids)).difference)
            )
    return points


def plot_line(axis: Any, label: str, points: Sequence[Point], colour: str, aside: float) -> None:
    """
    Args:
        aside: typographic points to the right, so that bars of several lines at one value do not hide one another.
    """
    from matplotlib.transforms import ScaledTranslation

    x, found = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    y = np.array([each.value for each in found])
    moved = axis.transData + ScaledTranslation(aside / 72, 0, axis.figure.dpi_scale_trans)
    axis.errorbar(
        x, y, bars(found), marker="o", markersize=3, capsize=2, linewidth=1, label=label, color=colour, transform=moved
    )  # fmt: skip
    lengths = bars(found)
    axis.update_datalim([*zip(x, y - lengths[0], strict=True), *zip(x, y + lengths[1], strict=True)])


def bars(found: Sequence[Estimate]) -> np.ndarray:
    """Lengths of error bars, (2, N); none where no interval is known."""
    sides = [[each.value - each.low for each in found], [each.high - each.value for each in found]]
    return np.nan_to_num(np.array(sides)).clip(0)


def plot_references(figure: Any, axis: Any, table: TablePlan, cells: Cells, mask: str, metric: str) -> None:
    for reference in figure.get("references", ()):
        found = cells.get((reference.name, mask))
        if found is not None and metric in found.samples:
            level = estimate(found.samples[metric], table.bootstrap)
            axis.axhline(level.value, color="gray", linewidth=0.8, label=reference.label)
            axis.axhspan(level.low, level.high, color="gray", alpha=0.15)


KL = Column("", "kl", "KL divergence to the hole's true colours (nats)", paper_metric="", same=False)


def seeds_shown(figure: Any, profile: str, options: dict[str, Any]) -> int:
    """How many images' seeds are looked at, at least; 0 for those with results, as sampling takes much longer."""
    return min(figure.get("divergences", {}).get(profile, 0), options.get("limit") or sys.maxsize)


def add_divergences(sheet: Sheet, table: TablePlan, cells: Cells, spread: Mapping[str, Mapping[str, float]]) -> None:
    """Another column: the mean over images of :func:`~isdiff.tables.kl.divergences`, ``spread`` by row."""
    (mask,) = table.masks
    sheet.columns.append(replace(KL, mask=mask))
    for line in sheet.lines:
        row = cells.get((line.name, mask))
        line.values.append(
            Value(missing=line.values[0].missing)
            if row is None
            else Value(ours=estimate(divergence_sample(row, spread[line.name]), table.bootstrap))
        )


def divergence_sample(row: Row, values: Mapping[str, float]) -> MeanSample:
    sample = MeanSample(np.array(list(values.values())))
    sample.groups = sources(row.experiment, [{"id": image_id} for image_id in values])
    return sample


def initialisations(
    figure: Any, label: str, table: TablePlan, cells: Cells, divergent: Mapping[str, Mapping[str, float]]
) -> Any:
    """Fig. 4: how far each initialisation's colours are from the hole's true ones (``divergent``, by row and image),
    and the quality that follows, each with its number of images."""
    metrics = build_metrics(list(table.metrics.values()), UNUSED)
    (mask,) = table.masks
    picture, axes = subplots(1, 1 + len(metrics))
    first = axes[0][0]
    shown = [line for line in figure.lines if (line.name, mask) in cells]
    spread = [np.array(list(divergent[line.name].values())) for line in shown]
    first.boxplot(spread, orientation="horizontal", tick_labels=[line.label for line in shown], showfliers=False)
    first.set_xlabel(KL.title, fontsize=8)
    first.set_title(f"n = {min(map(len, spread))} images", fontsize=9)
    for axis, metric in zip(axes[0][1:], metrics, strict=True):
        for line, values in zip(shown, spread, strict=True):
            sample = cells[line.name, mask].samples.get(metric.name)
            if sample is not None:
                found = estimate(sample, table.bootstrap)
                axis.errorbar([np.mean(values)], [found.value], bars([found]), marker="o", capsize=3, label=line.label)
        axis.set_xlabel("mean KL divergence (nats)", fontsize=8)
        axis.set_ylabel(metric.title, fontsize=8)
        axis.set_title(f"n = {min(len(cells[line.name, mask].ids) for line in shown)} images", fontsize=9)
    picture.legend(*legend_of(axes), loc="outside lower center", ncols=len(shown), fontsize=7)
    for axis in axes[0]:
        axis.tick_params(labelsize=7)
    picture.suptitle(f"{figure.title} ({label}, {mask})", fontsize=10)
    return picture
