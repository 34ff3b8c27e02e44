"""Figures (``configs/figure``) as SVG, PNG and CSV: a sweep is a table whose rows are the values of one key."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isdiff.config.metrics import build_metrics
from isdiff.config.nodes import make_config
from isdiff.config.search_path import config_names
from isdiff.io.files import atomic_save
from isdiff.metrics.intervals import Estimate, contrast
from isdiff.tables.cells import Cells, Row, fill
from isdiff.tables.kl import KL, add_divergences, divergences
from isdiff.tables.plan import TablePlan, load
from isdiff.tables.render import comma_separated, value_entries
from isdiff.tables.sheet import Gaps

Points = Sequence[tuple[float, Estimate]]


@dataclass(frozen=True)
class Panel:
    """What was measured on one dataset; ``dataset`` is the name that people read."""

    dataset: str
    table: TablePlan
    cells: Cells

    def estimate(self, name: str, mask: str, metric: str, reference: str = "") -> Estimate | None:
        """A row's value, or its difference to a ``reference``; None where there is none."""
        rows = [self.cells.get((each, mask)) for each in (reference, name) if each]
        found = [row for row in rows if row is not None and metric in row.samples]
        if len(found) < len(rows):
            return None
        if not reference:
            return found[0].estimate(metric, self.table.bootstrap)
        base, row = found
        both = (base.samples[metric], row.samples[metric])
        return contrast(*both, self.table.bootstrap, (base.ids, row.ids)).difference


def figure_names() -> list[str]:
    """Fig. 4 before Fig. 10."""
    return sorted(config_names("figure"), key=lambda name: (len(name), name))


def as_table(figure: Any, dataset: str, profile: str) -> Any:
    """The figure's runs on one dataset as a table: a row for every line and value of the axis, and the references.

    A line's ``only`` may confine it to a dataset, a profile, and a mask with few images.
    """

    def here(lines: Any) -> list[tuple[Any, dict[str, Any]]]:
        asked = [(line, line.get("only", {})) for line in lines]
        return [
            (line, {"masks": [only.mask], "costly": True} if "mask" in only else {}) for line, only in asked
            if only.get("dataset", dataset) == dataset and only.get("profile", profile) == profile
        ]  # fmt: skip

    rows = [
        {key: value for key, value in line.items() if key != "only"} | confined
        for line, confined in here(figure.get("references", ()))
    ]
    for line, confined in here(figure.lines):
        against = {"against": [line.reference]} if "reference" in line else {}
        for name, label, overrides, _ in points_of(figure, line, profile):
            row = {"name": name, "label": label, "overrides": [*line.overrides, *overrides]}
            rows.append(row | confined | against)
    kept = {key: figure[key] for key in ("title", "masks", "metrics", "limit", "seeds") if key in figure}
    return make_config({**kept, "dataset": dataset, "rows": rows})


def points_of(figure: Any, line: Any, profile: str) -> list[tuple[str, str, list[str], float | None]]:
    """The runs of a line: a row's name, its label, its own overrides, and the axis' value (None: it is measured)."""
    if "points" in line:
        return [
            (f"{line.name}_{place}", f"{line.label}, {', '.join(point)}", list(point), None)
            for place, point in enumerate(line.points, 1)
        ]
    if "axis" not in figure:
        return [(line.name, line.label, [], None)]
    axis = figure.axis
    return [
        (f"{line.name}_{value:g}", f"{line.label}, {axis.label} {value:g}", [f"{axis['key']}={value}"], value)
        for value in axis["values"].get(profile, axis["values"]["paper"])
    ]


def line_points(figure: Any, line: Any, panel: Panel, mask: str, metric: str) -> list[tuple[float, Estimate]]:
    """Values of a line, or differences to its reference, by the value of the axis or by what the runs cost."""
    reference = line.reference if figure.get("difference") else ""
    points = []
    for name, _, _, value in points_of(figure, line, panel.table.profile):
        found = panel.estimate(name, mask, metric, reference)
        if found is not None:
            points.append((panel.cells[name, mask].mean(figure.axis.measured) if value is None else value, found))
    return points


@dataclass
class Drawn:
    """A figure's markup and caption (both empty where none of its runs is there), and its gaps."""

    name: str
    svg: str = ""
    caption: str = ""
    gaps: Gaps = field(default_factory=Gaps)


def draw(
    name: str,
    plans: Sequence[TablePlan],
    folder: Path,
    run: bool = True,
    limit: int | None = None,
    known: dict[object, Row] | None = None,
) -> Drawn:
    """Run what is missing of the datasets' ``plans`` and write ``<name>.svg``, ``.png`` and ``.csv``.

    At most ``limit`` images are looked at where only seeds are compared.
    ``known`` is as of :func:`~isdiff.tables.cells.fill`.
    """
    drawn, figure, profile = Drawn(name), load("figure", name), plans[0].profile
    of_seeds = figure.get("kind") == "initialisations"
    panels: list[Panel] = []
    entries: list[dict[str, Any]] = []
    lacking = 0
    for table in plans:
        sheet, cells = fill(table, run, known, paired=False)
        if of_seeds:  # of more images than have results, as sampling takes much longer
            first = min(figure.get("divergences", {}).get(profile, 0), limit or sys.maxsize)
            spread = {name: divergences(row, first) for (name, _), row in cells.items()}
            add_divergences(sheet, table, cells, spread)
        entries += value_entries(sheet)
        drawn.gaps.add(sheet.gaps)
        lacking += sum(not cell.impossible for _, cell in table.cells()) - len(cells)
        if cells:
            panels.append(Panel(next(iter(cells.values())).experiment.setup.names[0], table, cells))
    atomic_save(folder / f"{name}.csv", comma_separated(entries))
    if not panels:
        return drawn
    picture = draw_initialisations(figure, panels[0], spread) if of_seeds else draw_sweep(figure, panels)
    undated = {"Date": None}  # the same figure, the same file
    atomic_save(folder / f"{name}.svg", lambda stream: picture.savefig(stream, format="svg", metadata=undated))
    atomic_save(folder / f"{name}.png", lambda stream: picture.savefig(stream, format="png", dpi=160))
    svg = (folder / f"{name}.svg").read_text("utf-8")
    drawn.svg = svg[svg.index("<svg") :]
    left = f"{lacking} of its runs are not there yet: make {name} profile={profile}." if lacking else ""
    parts = (f"{figure.title}.", figure.get("note", ""), "" if of_seeds else count(panels), left)
    drawn.caption = " ".join(filter(None, parts))
    return drawn


def count(panels: Sequence[Panel]) -> str:
    """One sentence: how many seeds and images are behind the lines."""
    rows = [row for panel in panels for row in panel.cells.values()]
    seeds, images = ({len(row.runs) for row in rows}, {len(row.ids) for row in rows})
    spans = [" to ".join(map(str, sorted({min(n), max(n)}))) for n in (seeds, images)]
    return f"Seeds: {spans[0]}; images a line: {spans[1]} of {', '.join(panel.dataset for panel in panels)}."


def subplots(rows: int, columns: int, size: tuple[float, float] = (4.2, 3.2)) -> tuple[Any, Any]:
    """A picture and its axes (rows, columns)."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "isdiff"
    from matplotlib import pyplot

    whole = size[0] * columns, size[1] * rows
    return pyplot.subplots(rows, columns, figsize=whole, squeeze=False, constrained_layout=True)


def finish(picture: Any, axes: np.ndarray, title: str, columns: int) -> Any:
    """The picture with its title and one legend, which has every line once, though panels may lack some."""
    found: dict[str, Any] = {}
    for axis in axes.flat:
        axis.tick_params(labelsize=7)
        found |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    picture.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns, fontsize=7)
    picture.suptitle(title, fontsize=10)
    return picture


def draw_sweep(figure: Any, panels: Sequence[Panel]) -> Any:
    """A panel for every dataset and mask (and metric), a line with 95 % intervals for every line of the figure.

    A row for every dataset; of one dataset with several metrics larger panels, a row for every mask.
    """
    metrics, masks = build_metrics(list(panels[0].table.metrics.values())), panels[0].table.masks
    if len(panels) == 1 and len(metrics) > 1:
        picture, axes = subplots(len(masks), len(metrics), (6.4, 4.2))
    else:
        picture, axes = subplots(len(panels), len(masks) * len(metrics))
    places = [(panel, mask, metric) for panel in panels for mask in panel.table.masks for metric in metrics]
    for axis, (panel, mask, metric) in zip(axes.flat, places, strict=True):
        for place, line in enumerate(figure.lines):
            if points := line_points(figure, line, panel, mask, metric.name):
                plot_line(axis, line.label, points, f"C{place}", 3 * (place - (len(figure.lines) - 1) / 2))
        if figure.get("difference"):
            axis.axhline(0, color="gray", linewidth=0.8)
        for reference in () if figure.get("difference") else figure.get("references", ()):
            if (level := panel.estimate(reference.name, mask, metric.name)) is not None:
                axis.axhline(level.value, color="gray", linewidth=0.8, label=reference.label)
                axis.axhspan(level.low, level.high, color="gray", alpha=0.15)
        if "mark" in figure:
            axis.axvline(figure.mark, color="gray", linestyle=":", linewidth=1)
        axis.set_title(f"{panel.dataset}, {mask}", fontsize=9)
        set_scale(axis, figure.axis)
        axis.set_xlabel(figure.axis.label, fontsize=8)
        axis.set_ylabel(f"{metric.heading}{', difference' if figure.get('difference') else ''}", fontsize=8)
    return finish(picture, axes, figure.title, 5)


def set_scale(axis: Any, settings: Any) -> None:
    """``scale: log`` and ``ticks`` of a figure's axis, where it has them."""
    axis.set_xscale(settings.get("scale", "linear"))
    axis.autoscale_view()  # lines that are moved aside do not count by themselves
    if ticks := settings.get("ticks"):
        axis.set_xticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlim(0.8 * ticks[0], 1.3 * ticks[-1])


def plot_line(axis: Any, label: str, points: Points, colour: str, offset: float) -> None:
    """Draw a line with its intervals, ``offset`` typographic points to the right of where it is, beside other lines."""
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


def draw_initialisations(figure: Any, panel: Panel, divergent: Mapping[str, Mapping[str, float]]) -> Any:
    """Fig. 4: how far each initialisation's colours are from the hole's true ones, and the quality that follows."""
    metrics = build_metrics(list(panel.table.metrics.values()))
    (mask,) = panel.table.masks
    picture, axes = subplots(1, 1 + len(metrics))
    first = axes[0][0]
    shown = [line for line in figure.lines if (line.name, mask) in panel.cells]
    spread = [np.array(list(divergent[line.name].values())) for line in shown]
    first.boxplot(spread, orientation="horizontal", tick_labels=[line.label for line in shown], showfliers=False)
    first.set_xlabel(KL.heading, fontsize=8)
    first.set_title(f"n = {min(map(len, spread))} images", fontsize=9)
    for axis, metric in zip(axes[0][1:], metrics, strict=True):
        for line, values in zip(shown, spread, strict=True):
            if (found := panel.estimate(line.name, mask, metric.name)) is not None:
                axis.errorbar([np.mean(values)], [found.value], bars([found]), marker="o", capsize=3, label=line.label)
        axis.set_xlabel("mean KL divergence (nats)", fontsize=8)
        axis.set_ylabel(metric.heading, fontsize=8)
        axis.set_title(f"n = {min(len(panel.cells[line.name, mask].ids) for line in shown)} images", fontsize=9)
    return finish(picture, axes, f"{figure.title} ({panel.dataset}, {mask})", len(shown))
