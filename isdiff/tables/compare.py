"""Several runs over the same images, side by side: a table with paired differences, and a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.errors import UserError
from isdiff.io.contact_sheet import TILE, contact_sheet, with_hole
from isdiff.io.files import atomic_open
from isdiff.io.texts import markdown_line, markdown_table
from isdiff.loggers.base import grouped
from isdiff.metrics.base import Metric
from isdiff.metrics.intervals import VERDICT_IMAGES, Estimate, difference, estimate
from isdiff.metrics.samples import Sample, SeedsSample
from isdiff.paths import placed
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import build_metrics, samples
from isdiff.runs.report import GRID_ROWS
from isdiff.runs.run import execute
from isdiff.tables.compare_plan import overrides_of, seeds_of

# Metrics that measure are built from the configuration of each run.
UNUSED = OmegaConf.create({"model_root": "models", "metrics": {"features": None}})


LARGEST_TILE = 220  # pixels; larger pictures are reduced


@dataclass
class Row:
    """One method on one mask: what was measured on its images, with one or several seeds.

    ``experiment`` and ``records`` are the first seed's; ``means`` are over all seeds. ``failed``: why images could not
    be made, by id.
    """

    label: str
    mask: str
    experiment: Experiment
    records: list[dict[str, Any]]
    means: dict[str, float]
    samples: dict[str, SeedsSample]
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in self.records]


def seeded(composed: DictConfig, seeds: Sequence[int]) -> list[DictConfig]:
    """The configuration with each of the seeds; composing takes much longer than copying."""
    configs = [composed.copy() for _ in seeds]
    for cfg, seed in zip(configs, seeds, strict=True):
        cfg.seed = seed
    return configs


def row_configs(
    mask: str, overrides: Sequence[str], metrics: Sequence[str], seeds: Sequence[int], group: str, name: str
) -> list[DictConfig]:
    """The runs of a row, one for each seed: see :func:`run_row`.

    Raises:
        UserError: the overrides do not compose.
    """
    composed = compose_run([f"mask={mask}", f"metrics.names=[{','.join(metrics)}]", *overrides])
    if group:
        grouped(composed, group, name)
    return seeded(composed, seeds)


def run_row(
    label: str,
    mask: str,
    overrides: Sequence[str],
    metrics: list[Metric],
    seeds: Sequence[int],
    *,
    group: str = "",
    name: str = "",
) -> tuple[Row, dict[str, str]]:
    """Run (or take up) one experiment and measure it; also says which metrics could not run, and why.

    Args:
        group: of all rows of a table in a logger, where each goes by its ``name``.
    """
    runs, rows = [], []
    measured: list[dict[str, Sample]] = []
    skipped: dict[str, str] = {}
    for cfg in row_configs(mask, overrides, [metric.name for metric in metrics], seeds, group, name or label):
        outcome = execute(cfg)
        found = outcome.experiment.store.records()
        runs.append((outcome, [found[i] for i in outcome.experiment.ids() if i in found]))
    # An image that failed with one seed is left out with all, or seeds would be compared on other images.
    common = set.intersection(*({r["id"] for r in records} for _, records in runs))
    if not common:
        raise UserError(f"{label} on {mask} masks: no image could be made with every seed")
    for outcome, every in runs:
        records = [r for r in every if r["id"] in common]
        kept, why = samples(outcome.experiment, records, outcome.experiment.setup.metrics)
        rows.append((outcome.experiment, records))
        measured.append(kept)
        skipped |= why
    every = [record for _, records in rows for record in records]
    means = {key: float(np.mean([r[key] for r in every])) for key in ("network_calls", "seconds", "attempts")}
    everywhere = [name for name in measured[0] if all(name in kept for kept in measured)]
    pooled = {name: SeedsSample([kept[name] for kept in measured]) for name in everywhere}
    failed = {i: reason for outcome, _ in runs for i, reason in outcome.failed.items()}
    return Row(label, mask, *rows[0], means, pooled, failed), skipped


def compare(plan: DictConfig, extra: Sequence[str] = ()) -> Path:
    """Run every row of ``plan`` on every mask; write ``summary.md``, ``table.json`` and a picture per mask.

    Args:
        plan: as :mod:`isdiff.tables.compare_plan` reads it; rows of a group are compared with its first.
    """
    folder = placed(plan.folder)
    metrics = build_metrics(list(plan.metrics), UNUSED)  # for their titles
    for _, cfg in configs_of(plan, extra):  # before anything is sampled
        Setup.of(cfg)
    tables: list[dict[str, Any]] = []
    notes: dict[str, str] = {}
    for group in plan.groups:
        for mask in group.get("masks", plan.masks):
            rows = []
            for row in group.rows:
                overrides = overrides_of(plan, group, row, extra)
                measured, skipped = run_row(
                    row.label, mask, overrides, metrics, seeds_of(plan, group), group=folder.name
                )
                rows.append(measured)
                notes |= skipped
            tables += entries(rows, metrics, plan.bootstrap, group.get("title", ""))
            name = "_".join([mask, str(group.limit), *re.findall(r"\w+", group.get("title", "").lower())])
            draw(folder / f"{name}.png", rows)
            write(folder, plan, tables, metrics, notes)
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
    found = []
    for row in rows:
        entry: dict[str, Any] = {
            "group": title, "mask": row.mask, "label": row.label, "n": len(row.records),
            "run": str(row.experiment.store.path), "network": row.experiment.network, **row.means,
        }  # fmt: skip
        for metric in metrics:
            if metric.name in row.samples:
                entry[metric.name] = estimate(row.samples[metric.name], bootstrap).as_dict()
                entry[f"{metric.name}_seed_sd"] = row.samples[metric.name].spread()
                if row is not rows[0] and metric.name in rows[0].samples:
                    ids = rows[0].ids, row.ids
                    paired = difference(rows[0].samples[metric.name], row.samples[metric.name], bootstrap, ids)
                    entry[f"{metric.name}_difference"] = paired.as_dict()
        found.append(entry)
    return found


def markdown(entries: list[dict[str, Any]], metrics: list[Metric]) -> str:
    """The table of one group and mask. Differences are to the first row; bold ones exclude zero."""
    used = [m for m in metrics if any(m.name in e for e in entries)]
    several = any(e.get(f"{m.name}_seed_sd") for e in entries for m in used)
    heads = ["method", "calls", "s/image"]
    heads += [h for m in used for h in (m.title, *(["SD of seeds"] if several else []), "difference")]
    rows = []
    for e in entries:
        cells = [e["label"], f"{e['network_calls']:.0f}", f"{e['seconds']:.2f}"]
        for m in used:
            cells.append(str(Estimate.of(e[m.name])) if m.name in e else "")
            if several:
                cells.append(f"{e[f'{m.name}_seed_sd']:.3f}" if m.name in e else "")
            paired = e.get(f"{m.name}_difference")
            if paired is None:
                cells.append("")
                continue
            found = Estimate.of(paired)
            cells.append(f"**{found.text('+.3f')}**" if found.excludes_zero else found.text("+.3f"))
        rows.append(cells)
    return "\n".join(markdown_table(heads, rows))


def write(folder: Path, plan: DictConfig, tables: list[dict[str, Any]], metrics: list[Metric], notes: dict) -> None:
    """``table.json`` with everything, and ``summary.md`` for people."""
    with atomic_open(folder / "table.json") as stream:
        json.dump({"rows": tables, "skipped": notes}, stream, indent=1)
    parts = [markdown_line(f"# {plan.title}"), ""]
    seen: list[tuple[str, str, int]] = []
    for e in tables:
        key = (e["group"], e["mask"], e["n"])
        if key not in seen:
            seen.append(key)
    for group, mask, n in seen:
        chosen = [e for e in tables if (e["group"], e["mask"], e["n"]) == (group, mask, n)]
        parts += [
            markdown_line(f"## {mask} mask, {n} images{', ' + group if group else ''}"),
            "",
            markdown(chosen, metrics),
            "",
        ]
    parts.append(
        "95 % bootstrap intervals over images; differences are paired, to the first row over images that both have, "
        f"bold where zero is outside and at least {VERDICT_IMAGES} images stand behind it."
    )
    models = dict.fromkeys("{model}, {size}, weights: {weights}".format(**e["network"]) for e in tables)
    parts.append(f"\nModels: {'; '.join(models)}.")
    parts += [f"\n{name} skipped: {reason}" for name, reason in notes.items() if not any(name in e for e in tables)]
    with atomic_open(folder / "summary.md") as stream:
        stream.write("\n".join(parts) + "\n")


def draw(path: Path, rows: list[Row]) -> None:
    """Input, every method's result and truth, for the first images of a group."""
    tiles = []
    first = rows[0].experiment
    everywhere = set.intersection(*(set(row.ids) for row in rows))
    for record in [r for r in rows[0].records if r["id"] in everywhere][:GRID_ROWS]:
        truth = first.dataset.image(record["id"])
        hole = first.read(record["id"]).hole
        line = [(with_hole(truth, hole), record["id"])]
        for row in rows:
            own = next(r for r in row.records if r["id"] == record["id"])
            line.append((row.experiment.store.image(own["id"]), f"{own['network_calls']} calls"))
        tiles.append([*line, (truth, "")])
    side = min(LARGEST_TILE, max(TILE, *(picture.shape[0] for picture, _ in tiles[0])))
    contact_sheet(path, ["input", *(row.label for row in rows), "truth"], tiles, side)
