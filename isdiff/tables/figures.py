"""Figures as data: a sweep is a table whose rows are the values of one key; SVG, PNG and CSV."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from isdiff.io.files import atomic_open, atomic_save
from isdiff.metrics.contrast import contrast
from isdiff.metrics.intervals import Estimate, estimate
from isdiff.tables.cells import Cells, fill
from isdiff.tables.kl import KL, divergence_sample, divergences
from isdiff.tables.plan import TablePlan, load, names, plan
from isdiff.tables.plots import Series, draw_initialisations, draw_sweep
from isdiff.tables.render import comma_separated
from isdiff.tables.rows import Costs
from isdiff.tables.sheet import Column, Gaps, Sheet, Value


@dataclass(frozen=True)
class Panel:
    """What was measured on one dataset; ``dataset`` is the name that people read."""

    dataset: str
    table: TablePlan
    cells: Cells


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
            f"{line.name}_{value:g}",
            f"{line.label}, {figure.axis.label} {value:g}",
            [f"{figure.axis['key']}={value}"],
        )
        for value in axis_values(figure, profile)
    ]


def axis_values(figure: Any, profile: str) -> list[float | None]:
    """The values of the axis in a profile; of a figure without an axis one that is none."""
    if "axis" not in figure:
        return [None]
    return list(figure.axis["values"].get(profile, figure.axis["values"]["paper"]))


@dataclass
class Drawn:
    """A figure's markup and caption (both empty where none of its runs is there), its gaps, and its runs' costs."""

    name: str
    svg: str = ""
    caption: str = ""
    gaps: Gaps = field(default_factory=Gaps)
    costs: Costs = field(default_factory=dict)


def draw(name: str, profile: str, folder: Path, run: bool = True, **options: Any) -> Drawn:
    """Run what is missing and write ``<name>.svg``, ``.png`` and ``.csv``."""
    drawn, figure = Drawn(name), load("figure", name)
    of_seeds = figure.get("kind") == "initialisations"
    panels: list[Panel] = []
    texts, lacking = [], 0
    for dataset in figure.datasets:
        table = plan(name, profile, table=as_table(figure, dataset, profile), **options)
        sheet, cells = fill(table, run)
        if of_seeds:
            spread = {name: divergences(row, count_seeds(figure, profile, options)) for (name, _), row in cells.items()}
            add_divergences(sheet, table, cells, spread)
        texts.append(comma_separated(sheet))
        drawn.gaps.add(sheet.gaps)
        for row in cells.values():
            drawn.costs |= row.costs()
        lacking += sum(not cell.impossible for row in table.rows for cell in row.cells) - len(cells)
        if cells:
            panels.append(Panel(next(iter(cells.values())).experiment.setup.names[0], table, cells))
    with atomic_open(folder / f"{name}.csv") as stream:
        stream.write("".join(text if i == 0 else text.partition("\n")[2] for i, text in enumerate(texts)))
    if not panels:
        return drawn
    if of_seeds:
        picture = draw_initialisations(figure, panels[0].dataset, panels[0].table, panels[0].cells, spread)
    else:
        shown = [(panel.dataset, panel.table.masks, series_of(figure, panel, profile)) for panel in panels]
        picture = draw_sweep(figure, list(panels[0].table.metrics.values()), shown)
    undated = {"Date": None}  # the same figure, the same file
    atomic_save(folder / f"{name}.svg", lambda stream: picture.savefig(stream, format="svg", metadata=undated))
    atomic_save(folder / f"{name}.png", lambda stream: picture.savefig(stream, format="png", dpi=160))
    svg = (folder / f"{name}.svg").read_text("utf-8")
    drawn.svg = svg[svg.index("<svg") :]
    left = f"{lacking} of its runs are not there yet: make {name} profile={profile}." if lacking else ""
    behind = "" if of_seeds else count(figure, profile, panels)
    drawn.caption = " ".join(part for part in (f"{figure.title}.", figure.get("note", ""), behind, left) if part)
    return drawn


def series_of(figure: Any, panel: Panel, profile: str) -> Series:
    """What to draw on one dataset, by mask and metric: the points of each line, and the level of each reference."""
    found: Series = {}
    for mask in panel.table.masks:
        for metric in panel.table.metrics.values():
            lines = [line_points(figure, line, panel, mask, metric, profile) for line in figure.lines]
            levels = {}
            for reference in [] if figure.get("difference") else figure.get("references", ()):
                row = panel.cells.get((reference.name, mask))
                if row is not None and metric in row.samples:
                    levels[reference.label] = estimate(row.samples[metric], panel.table.bootstrap)
            found[mask, metric] = (lines, levels)
    return found


def line_points(
    figure: Any, line: Any, panel: Panel, mask: str, metric: str, profile: str
) -> list[tuple[float, Estimate]]:
    """Values of a line, or differences to its reference, by the value of the axis or by what the runs cost."""
    points = []
    names = [name for name, *_ in points_of(figure, line, profile)]
    values = [None] * len(names) if "points" in line else axis_values(figure, profile)
    bootstrap = panel.table.bootstrap
    for name, value in zip(names, values, strict=True):
        found = panel.cells.get((name, mask))
        if found is None or metric not in found.samples:
            continue
        value = found.mean(figure.axis.measured) if value is None else value
        sample = found.samples[metric]
        if not figure.get("difference"):
            points.append((value, estimate(sample, bootstrap)))
        elif (base := panel.cells.get((line.reference, mask))) is not None and metric in base.samples:
            compared = contrast(base.samples[metric], sample, bootstrap, (base.ids, found.ids))
            points.append((value, compared.difference))
    return points


def count(figure: Any, profile: str, panels: Sequence[Panel]) -> str:
    """One sentence: how many seeds and images are behind the lines."""
    seeds = sorted({len(row.runs) for panel in panels for row in panel.cells.values()})
    number = " or ".join("one" if n == 1 else str(n) for n in seeds)
    parts = [f"{count_images(figure, profile, panel.cells)} of {panel.dataset}" for panel in panels]
    return f"{number.capitalize()} seed{'s' if seeds[-1] > 1 else ''}, images: {', '.join(parts)}."


def count_images(figure: Any, profile: str, cells: Cells) -> str:
    """Their number in most lines, and behind it the lines with another."""
    found = defaultdict(list)
    for line in figure.lines:
        names = [name for name, *_ in points_of(figure, line, profile)]
        if sizes := [len(row.ids) for (name, _), row in cells.items() if name in names]:
            found[min(sizes)].append(line.label)
    usual = max(found, key=lambda n: (len(found[n]), n), default=0)
    others = [f"{n} in {', '.join(map(repr, found[n]))}" for n in sorted(found) if n != usual]
    return f"{usual} ({'; '.join(others)})" if others else str(usual)


def count_seeds(figure: Any, profile: str, options: dict[str, Any]) -> int:
    """How many images' seeds are looked at, at least; 0 for those with results, as sampling takes much longer."""
    return min(figure.get("divergences", {}).get(profile, 0), options.get("limit") or sys.maxsize)


def add_divergences(sheet: Sheet, table: TablePlan, cells: Cells, spread: Mapping[str, Mapping[str, float]]) -> None:
    """Another column: the mean over images of :func:`~isdiff.tables.kl.divergences`, ``spread`` by row."""
    (mask,) = table.masks
    sheet.columns.append(Column(mask, KL))
    for line in sheet.lines:
        row, value = cells.get((line.name, mask)), Value(missing=line.values[0].missing)
        if row is not None:
            value = Value(ours=estimate(divergence_sample(row, spread[line.name]), table.bootstrap))
        line.values.append(value)
