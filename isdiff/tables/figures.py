"""Figures as data (``configs/figure``): a sweep is a table whose rows are the values of one key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from isdiff.metrics.contrast import contrast
from isdiff.metrics.intervals import Estimate, estimate
from isdiff.tables.cells import Cells
from isdiff.tables.plan import TablePlan, names


@dataclass(frozen=True)
class Panel:
    """What was measured on one dataset; ``dataset`` is the name that people read."""

    dataset: str
    table: TablePlan
    cells: Cells

    def estimate(self, name: str, mask: str, metric: str, reference: str = "") -> Estimate | None:
        """A row's value, or its difference to a ``reference``; None where there is none."""
        rows = [self.cells.get((each, mask)) for each in (reference, name) if each]
        found = [(row.samples[metric], row.ids) for row in rows if row is not None and metric in row.samples]
        if len(found) < len(rows):
            return None
        if not reference:
            return estimate(found[0][0], self.table.bootstrap)
        (base, base_ids), (sample, ids) = found
        return contrast(base, sample, self.table.bootstrap, (base_ids, ids)).difference


def figure_names() -> list[str]:
    """Fig. 4 before Fig. 10."""
    return sorted(names("figure"), key=lambda name: (len(name), name))


def as_table(figure: Any, dataset: str, profile: str) -> Any:
    """The figure's runs on one dataset as a table: a row for every line and value of the axis, and the references."""
    references = [line for line in figure.get("references", ()) if belongs(line, dataset, profile)]
    rows = [{key: value for key, value in line.items() if key != "only"} | masks_of(line) for line in references]
    for line in [line for line in figure.lines if belongs(line, dataset, profile)]:
        against = {"against": [line.reference]} if "reference" in line else {}
        for name, label, overrides, _ in points_of(figure, line, profile):
            row = {"name": name, "label": label, "overrides": [*line.overrides, *overrides]}
            rows.append(row | masks_of(line) | against)
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
