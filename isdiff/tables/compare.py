"""Comparisons of anyone's rows: tables with paired differences, and a picture for each mask.

The rows are those of a file (``configs/compare``), of a command (``isdiff compare ddnm ddnm+isdiff mask=half``) or of
the jobs of a multirun.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isdiff.config.build import read_checked
from isdiff.config.composing import compose_run
from isdiff.config.nodes import MISSING, Config, make_config
from isdiff.config.search_path import config_names
from isdiff.config.setup import Setup
from isdiff.errors import UserError
from isdiff.io.files import atomic_save
from isdiff.io.texts import csv_text, markdown_line
from isdiff.paths import placed
from isdiff.runs.experiment import Experiment
from isdiff.runs.report import GRID_ROWS
from isdiff.tables.cells import configs_of, fill
from isdiff.tables.plan import CellPlan, RowPlan, TablePlan, key_of, values_of
from isdiff.tables.render import comparison_entries, markdown, part_of, plain_numbers, value_entries
from isdiff.tables.sheet import Gaps
from isdiff.tables.strips import common_ids, draw_strips

IMAGES = 32  # unless limit=... says how many
SHARED = ("mask", "seed", "limit", "metrics.names", "metrics.bootstrap")  # keys that are the comparison's
LONGEST = 100  # letters of a folder's name


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
    return read_checked(path, Plan(title=path.stem, folder=f"outputs/compare/{path.stem}"), "comparison")


def asked_plan(rows: Sequence[str], overrides: Sequence[str]) -> Config:
    """The comparison of ``rows``, each with the first.

    Args:
        rows: a method each, which overrides of its own may follow: ``ddnm`` or ``ddnm sampler.steps=50``.
        overrides: of all rows; ``mask`` and ``seed`` may have several values: ``mask=half,wide``.
    """
    methods, planned = config_names("method"), []
    for row in rows:
        try:
            method, *own = shlex.split(row) or [""]
        except ValueError as error:
            raise UserError(f"{row!r} cannot be read: {error}") from None
        if method not in methods:
            comparisons = f", and comparisons: {', '.join(config_names('compare'))}" if len(rows) == 1 else ""
            raise UserError(f"there is no method {method!r}; there are {', '.join(methods)}{comparisons}")
        if both := [each for each in own if key_of(each) in SHARED]:
            raise UserError(f"{both[0]} must be the same in all rows; give it as a word of its own")
        planned.append(PlannedRow(row, [f"method={method}", *own]))
    given, common = values_of(overrides), [each for each in overrides if key_of(each) not in SHARED]
    lists = {key: [part.strip() for part in given[key].strip("[]").split(",")] for key in SHARED if key in given}
    masks = lists.get("mask") or [str(compose_run([*common, *planned[0].overrides]).mask.name)]
    numbers = {}
    for key, default in (("seed", [0]), ("limit", [IMAGES]), ("metrics.bootstrap", [1000])):
        try:
            numbers[key] = [int(text) for text in lists.get(key, default)]
        except ValueError:
            raise UserError(f"{key}={given[key]} is no whole number") from None
    if len(numbers["limit"]) > 1 or numbers["limit"][0] < 1:
        raise UserError(f"limit={given['limit']} must be a whole number of at least 1")
    said = [each for each in overrides if key_of(each) not in ("output_root", *SHARED)]
    named = folder_name([*rows, *said, *(f"{key}={given[key]}" for key in lists)])
    plan: Any = Plan(
        groups=[Group(planned, numbers["limit"][0])],
        title=" ".join(["Comparison:", *said]).rstrip(":"),
        folder=f"{given.get('output_root', 'outputs')}/compare/{named}",
        common=common,
        masks=masks,
        seeds=numbers["seed"],
        metrics=lists.get("metrics.names") or Plan().metrics,
        bootstrap=numbers["metrics.bootstrap"][0],
    )
    return make_config(plan)


def folder_name(words: Sequence[str]) -> str:
    named = "_".join(re.findall(r"[\w.+,-]+", " ".join(words)))
    return named if len(named) <= LONGEST else f"{named[:LONGEST]}-{hashlib.sha256(named.encode()).hexdigest()[:8]}"


def swept_plan(jobs: Sequence[Sequence[str]]) -> Config | None:
    """The comparison of a multirun's finished jobs, given by their overrides; None if they cannot stand in a table.

    Masks are columns and seeds are averaged, as ``isdiff compare`` has them; other datasets or limits make other
    groups, all else that was swept makes rows. The metrics are those that the first job has.
    """
    texts = [{key_of(text): text for text in job if not key_of(text).startswith(("hydra", "logger"))} for job in jobs]
    given = [values_of(each.values()) for each in texts]
    keys = list(dict.fromkeys(key for each in given for key in each))
    swept = [key for key in keys if len({each.get(key) for each in given}) > 1]
    apart = [key for key in swept if key.split(".")[0] == "dataset" or key == "limit" or key.startswith("mask.")]
    named = [key for key in swept if key not in (*apart, "mask", "seed")]
    first = Experiment.of(compose_run(list(jobs[0])))
    summary = first.store.read_json("summary.json")
    metrics = [name for name, found in summary.get("metrics", {}).items() if "value" in found]
    masks, seeds = (
        list(dict.fromkeys(each.get(key, str(default)) for each in given))
        for key, default in (("mask", first.setup.names[1]), ("seed", first.setup.seed))
    )
    groups: dict[tuple[str, ...], dict[str, PlannedRow]] = {}
    for each, words in zip(given, texts, strict=True):
        label = " ".join(each[key] if key == "method" else f"{key}={each.get(key, 'default')}" for key in named)
        row = PlannedRow(label, [words[key] for key in named if key in words])
        groups.setdefault(tuple(words[key] for key in apart if key in words), {})[label] = row
    rows = sum(map(len, groups.values()))
    if not named or not metrics or len(jobs) != rows * len(masks) * len(seeds):
        return None
    limit = int(summary["n"]) + len(summary["failed"])
    shared = (*swept, *SHARED, "output_root")
    common = [text for key, text in texts[0].items() if key not in shared]
    root = given[0].get("output_root", "outputs")
    plan: Any = Plan(
        groups=[
            Group(list(each.values()), limit=int(values_of(words).get("limit", limit)), title=" ".join(words),
                  common=[word for word in words if key_of(word) != "limit"])
            for words, each in groups.items()
        ],
        title=" ".join(["Comparison:", *common]).rstrip(":"),
        folder=f"{root}/compare/{folder_name([*(word for each in groups.values() for word in each), *common])}",
        common=[*common, f"output_root={root}"],
        masks=masks,
        seeds=[int(seed) for seed in seeds],
        metrics=metrics,
        bootstrap=int(first.setup.config["metrics"].get("bootstrap", 1000)),
    )  # fmt: skip
    return make_config(plan)


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
