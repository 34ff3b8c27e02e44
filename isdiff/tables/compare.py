"""Several runs over the same images, side by side: a table with paired differences, and a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isdiff.config.metrics import build_metrics
from isdiff.config.setup import Setup
from isdiff.io.contact_sheet import TILE, contact_sheet, with_hole
from isdiff.io.files import atomic_open
from isdiff.io.texts import markdown_line
from isdiff.metrics.base import Metric
from isdiff.metrics.intervals import VERDICT_IMAGES, Estimate, difference, estimate
from isdiff.paths import placed
from isdiff.runs.report import GRID_ROWS
from isdiff.tables.compare_plan import overrides_of, seeds_of
from isdiff.tables.grid import Grid, Text
from isdiff.tables.rows import Row, row_configs, run_row

LARGEST_TILE = 220  # pixels; larger pictures are reduced


def compare(plan: DictConfig, extra: Sequence[str] = ()) -> Path:
    """Run every row of ``plan`` on every mask; write ``summary.md``, ``table.json`` and a picture per mask.

    Args:
        plan: as :mod:`isdiff.tables.compare_plan` reads it; rows of a group are compared with its first.
    """
    folder = placed(plan.folder)
    metrics = build_metrics(list(plan.metrics))
    for _, cfg in configs_of(plan, extra):  # before anything is sampled
        Setup.of(cfg)
    tables: list[list[dict[str, Any]]] = []
    notes: dict[str, str] = {}
    for group in plan.groups:
        for mask in group.get("masks", plan.masks):
            rows = []
            for row in group.rows:
                overrides, seeds = overrides_of(plan, group, row, extra), seeds_of(plan, group)
                measured, skipped = run_row(row.label, mask, overrides, metrics, seeds, group=folder.name)
                rows.append(measured)
                notes |= skipped
            tables.append(entries(rows, metrics, plan.bootstrap, group.get("title", "")))
            name = "_".join([mask, str(group.limit), *re.findall(r"\w+", group.get("title", "").lower())])
            draw(folder / f"{name}.png", rows)
            write(folder, plan.title, tables, metrics, notes)
    return folder


def configs_of(plan: DictConfig, extra: Sequence[str] = ()) -> Iterator[tuple[str, DictConfig]]:
    """All runs of a comparison, with what each is called.

    Raises:
        UserError: the overrides of one do not compose.
    """
    for group in plan.groups:
        for mask in group.get("masks", plan.masks):
            for row in group.rows:
                overrides, seeds = overrides_of(plan, group, row, extra), seeds_of(plan, group)
                folder = placed(plan.folder).name
                for cfg in row_configs(mask, overrides, list(plan.metrics), seeds, folder, row.label):
                    yield f"{row.label}, {mask}, seed {cfg.seed}", cfg


def entries(rows: list[Row], metrics: list[Metric], bootstrap: int, title: str) -> list[dict[str, Any]]:
    """Table entries of rows over the same images."""
    found, first = [], rows[0]
    for row in rows:
        entry: dict[str, Any] = {
            "group": title, "mask": row.mask, "label": row.label, "n": len(row.records),
            "run": str(row.experiment.store.path), "network": row.experiment.network,
            **{key: row.mean(key) for key in ("network_calls", "seconds", "attempts")},
        }  # fmt: skip
        for name in [metric.name for metric in metrics if metric.name in row.samples]:
            entry[name] = estimate(row.samples[name], bootstrap).as_dict()
            entry[f"{name}_seed_sd"] = row.samples[name].spread()
            if row is not first and name in first.samples:
                paired = difference(first.samples[name], row.samples[name], bootstrap, (first.ids, row.ids))
                entry[f"{name}_difference"] = paired.as_dict()
        found.append(entry)
    return found


def grid(entries: list[dict[str, Any]], metrics: list[Metric]) -> Grid:
    """The table of one group and mask. Differences are to the first row; bold ones exclude zero."""
    used = [m for m in metrics if any(m.name in e for e in entries)]
    several = any(e.get(f"{m.name}_seed_sd") for e in entries for m in used)
    rows, first = [], entries[0]
    for e in entries:
        few = "" if e["n"] == first["n"] else f", {e['n']} images"
        row = [Text(e["label"] + few), Text(f"{e['network_calls']:.0f}"), Text(f"{e['seconds']:.2f}")]
        for m in used:
            row.append(Text(str(Estimate.of(e[m.name])) if m.name in e else ""))
            if several:
                row.append(Text(f"{e[f'{m.name}_seed_sd']:.3f}" if m.name in e else ""))
            paired = Estimate.of(e[f"{m.name}_difference"]) if f"{m.name}_difference" in e else None
            bold = "best" if paired and paired.excludes_zero else ""
            row.append(Text(paired.text("+.3f") if paired else "", "", bold))
        rows.append(row)
    heads = ["method", "calls", "s/image"]
    heads += [h for m in used for h in (m.heading, *(["SD of seeds"] if several else []), "difference")]
    title = f"{first['mask']} mask, {first['n']} images{', ' + first['group'] if first['group'] else ''}"
    return Grid(title, heads, rows)


def write(
    folder: Path, title: str, tables: list[list[dict[str, Any]]], metrics: list[Metric], notes: dict[str, str]
) -> None:
    """``table.json`` with everything, and ``summary.md`` for people."""
    rows = [entry for table in tables for entry in table]
    with atomic_open(folder / "table.json") as stream:
        json.dump({"rows": rows, "skipped": notes}, stream, indent=1)
    parts = [markdown_line(f"# {title}"), ""]
    for each in [grid(table, metrics) for table in tables]:
        parts += [markdown_line(f"## {each.title}"), "", *each.markdown(), ""]
    parts.append(
        "95 % bootstrap intervals over images; differences are paired, to the first row over images that both have, "
        f"bold where zero is outside and at least {VERDICT_IMAGES} images stand behind it."
    )
    models = dict.fromkeys("{model}, {size}, weights: {weights}".format(**e["network"]) for e in rows)
    parts.append(f"\nModels: {'; '.join(models)}.")
    parts += [f"\n{name} skipped: {reason}" for name, reason in notes.items() if not any(name in e for e in rows)]
    with atomic_open(folder / "summary.md") as stream:
        stream.write("\n".join(parts) + "\n")


def draw(path: Path, rows: list[Row]) -> None:
    """Input, every method's result and truth, for the first images of a group."""
    tiles = []
    records = [{record["id"]: record for record in row.records} for row in rows]
    everywhere = set.intersection(*map(set, records))
    for image_id in [i for i in rows[0].ids if i in everywhere][:GRID_ROWS]:
        given = rows[0].experiment.read(image_id)
        results = [
            (row.experiment.store.image(image_id), f"{own[image_id]['network_calls']} calls")
            for row, own in zip(rows, records, strict=True)
        ]
        tiles.append([(with_hole(given.pixels, given.hole), image_id), *results, (given.pixels, "")])
    side = min(LARGEST_TILE, max(TILE, *(picture.shape[0] for picture, _ in tiles[0])))
    contact_sheet(path, ["input", *(row.label for row in rows), "truth"], tiles, side)
