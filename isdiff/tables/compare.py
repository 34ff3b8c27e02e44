"""Comparisons of anyone's rows (``configs/compare``): tables with paired differences, and a picture for each mask."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isdiff.config.build import read_checked
from isdiff.config.nodes import MISSING, Config
from isdiff.config.setup import Setup
from isdiff.errors import UserError
from isdiff.io.files import atomic_save
from isdiff.io.texts import csv_text, markdown_line
from isdiff.paths import placed
from isdiff.runs.report import GRID_ROWS
from isdiff.tables.cells import configs_of, fill
from isdiff.tables.plan import CellPlan, RowPlan, TablePlan
from isdiff.tables.render import comparison_entries, markdown, part_of, plain_numbers, value_entries
from isdiff.tables.sheet import Gaps
from isdiff.tables.strips import common_ids, draw_strips


@dataclass
class PlannedRow:
    """A method, how it runs, and the label of the row that it is compared with; the group's first if empty."""

    label: str = MISSING
    overrides: list[str] = MISSING
    against: str = ""


@dataclass
class Group:
    """Rows that are compared over the same images; masks and seeds are the plan's if empty."""

    rows: list[PlannedRow] = MISSING
    limit: int = MISSING
    title: str = ""
    common: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)


@dataclass
class Plan:
    """A comparison's file: keys, their kinds and defaults."""

    groups: list[Group] = MISSING
    title: str = "Comparison"
    folder: str = "outputs/compare/own"
    common: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=lambda: ["half"])
    seeds: list[int] = field(default_factory=lambda: [0])
    metrics: list[str] = field(default_factory=lambda: ["lite0_perceptual"])
    bootstrap: int = 1000


def read_plan(path: Path) -> Config:
    """A comparison's file, with defaults where it leaves something out."""
    plan = read_checked(path, Plan(title=path.stem, folder=f"outputs/compare/{path.stem}"), "comparison")
    return plan


def narrow(
    plan: Config, limit: int | None = None, seeds: Sequence[int] | None = None, masks: Sequence[str] | None = None
) -> Config:
    """The plan with fewer images, other seeds or other masks; its folder says so, so that no fuller result is lost."""
    plan = plan.copy()
    if (limit is not None and limit < 1) or seeds == [] or masks == []:
        raise UserError("--limit must be at least 1, --seeds and --masks must name some")
    plan.seeds, plan.masks = list(seeds or plan.seeds), list(masks or plan.masks)
    for group in plan.groups:
        group.limit = min(group.limit, limit or group.limit)
        if seeds and group.seeds:
            group.seeds = [seed for seed in group.seeds if seed in seeds] or list(seeds)
        if masks and group.masks:
            group.masks = [mask for mask in group.masks if mask in masks] or list(masks)
    if limit or seeds or masks:
        parts = [f"limit {limit}" * bool(limit), f"seeds {seeds}" * bool(seeds), f"masks {masks}" * bool(masks)]
        plan.folder = f"{plan.folder}_{'_'.join(re.findall(r'[a-z0-9]+', ' '.join(parts)))}"
    return plan


def table_of(plan: Config, group: Config, extra: Sequence[str]) -> TablePlan:
    """A group as a table; rows go by their labels."""
    labels, seeds = [row.label for row in group.rows], tuple(group.seeds or plan.seeds)
    if len(set(labels)) < len(labels):
        raise UserError(f"a group has two rows with the same label: {', '.join(labels)}")
    masks = tuple(group.masks or plan.masks)
    rows: list[RowPlan] = []
    for row in group.rows:
        overrides = (*plan.common, *group.common, f"limit={group.limit}", *row.overrides, *extra)
        cells = tuple(CellPlan(mask, overrides, seeds) for mask in masks)
        if row.against == row.label or row.against not in ("", *labels):
            raise UserError(f"row {row.label} is compared with {row.against}, which is no other row of its group")
        rows.append(
            RowPlan(row.label, row.label, cells, against=(row.against or labels[0],) if rows or row.against else ())
        )
    title = ", ".join(filter(None, [group.title, f"mask {', '.join(masks)}", f"limit {group.limit}"]))
    metrics = dict(zip(plan.metrics, plan.metrics, strict=True))
    return TablePlan(placed(plan.folder).name, title, "", "", masks, metrics, tuple(rows), plan.bootstrap)


CELL = ("group", "label", "mask", "metric", "value", "low", "high", "n", "seed_sd", "network_calls",
        "seconds_per_image", "missing")  # fmt: skip
DIFFERENCE = ("difference", "low", "high", "relative_percent", "p", "verdict")


def joined_csv(values: Sequence[dict[str, Any]], comparisons: Sequence[dict[str, Any]]) -> str:
    """A line for each value, with its paired difference to the first row of its group."""
    paired = {tuple(each[key] for key in ("group", "method", "mask", "metric")): each for each in comparisons}
    lines: list[list[Any]] = [[*CELL, "difference", "difference_low", "difference_high", *DIFFERENCE[3:]]]
    for entry in values:
        found = paired.get(tuple(entry[key] for key in CELL[:4]), {})
        lines.append([*(entry[key] for key in CELL), *(found.get(key) for key in DIFFERENCE)])
    return csv_text(lines)


def compare(plan: Config, extra: Sequence[str] = ()) -> tuple[Path, Gaps]:
    """Run every row of ``plan`` on every mask; returns the folder of what is written, and what it lacks.

    ``summary.md``, ``table.csv`` and ``table.json`` have all groups; each group and mask has a picture of its first
    images. ``extra`` are overrides of every run.
    """
    folder, gaps = placed(plan.folder), Gaps()
    tables = [table_of(plan, group, extra) for group in plan.groups]
    for _, cfg in configs_of(tables, strict=True):  # before anything is sampled
        Setup.of(cfg)
    text, values, comparisons = [markdown_line(f"# {plan.title}"), ""], [], []
    for group, table in zip(plan.groups, tables, strict=True):
        sheet, cells = fill(table)
        gaps.add(sheet.gaps)
        text.append(markdown(part_of(sheet), "##"))
        values += [{"group": group.title} | plain_numbers(entry) for entry in value_entries(sheet)]
        comparisons += [{"group": group.title} | plain_numbers(entry) for entry in comparison_entries(sheet)]
        for mask in table.masks:
            rows = [cells[row.name, mask] for row in table.rows if (row.name, mask) in cells]
            if ids := common_ids(rows)[:GRID_ROWS]:
                name = "_".join([mask, str(group.limit), *re.findall(r"\w+", group.title.lower())])
                draw_strips(folder / f"{name}.png", rows, ids)
        atomic_save(folder / "table.json", json.dumps({"rows": values, "comparisons": comparisons}, indent=1))
        atomic_save(folder / "summary.md", "\n".join(text))
        atomic_save(folder / "table.csv", joined_csv(values, comparisons))
    return folder, gaps
