"""From a table's YAML and a profile to the runs behind every cell.

A table (``configs/table``) lists rows and columns in the paper's words; a profile (``configs/profile``) says what they
mean: which dataset stands for ImageNet, which metric for LPIPS, how many images, which seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import yaml
from omegaconf import OmegaConf

from isdiff.config.search_path import config_names
from isdiff.errors import UserError
from isdiff.paths import located
from isdiff.tables.labels import label_of


@dataclass(frozen=True)
class CellPlan:
    """The runs behind one cell, one for each seed.

    Attributes:
        overrides: Hydra overrides that all seeds share; empty where the cell cannot exist.
        impossible: why the cell cannot exist in this profile; empty where it can.
        paper: the printed values by metric, in the table's order; empty where the paper has none.
    """

    mask: str
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    impossible: str = ""
    paper: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class RowPlan:
    """
    Attributes:
        against: names of the rows that this one is compared with.
        paper_time: the paper's seconds per image on its own GPU.
        source: where its printed values come from, if not from the paper.
    """

    name: str
    label: str
    cells: tuple[CellPlan, ...]
    against: tuple[str, ...] = ()
    paper_time: float | None = None
    source: str = ""


@dataclass(frozen=True)
class TablePlan:
    """
    Attributes:
        metrics: from the paper's metric to the one that is measured, in order.
        dataset: in the paper's words.
        own_data: whether that dataset itself is used, and not one in its place.
        notes: sentences below the table.
        times: how its seconds were taken.
    """

    name: str
    title: str
    profile: str
    setting: str
    masks: tuple[str, ...]
    metrics: dict[str, str]
    rows: tuple[RowPlan, ...]
    bootstrap: int = 1000
    notes: tuple[str, ...] = field(default=())
    dataset: str = ""
    own_data: bool = True
    times: str = ""


class Printed(float):
    """A number of the paper's, which is written as it was printed: 143.00."""

    text: str

    def __new__(cls, text: str) -> Printed:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


class PaperLoader(yaml.SafeLoader):
    """Decimal numbers as :class:`Printed`."""


PaperLoader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: Printed(str(node.value)))


def paper_values() -> Any:
    """``configs/paper_values.yaml``: what the paper prints, by table, row and mask."""
    return yaml.load(located("configs/paper_values.yaml").read_text("utf-8"), PaperLoader)


def names(group: str) -> list[str]:
    """What ``configs/<group>`` holds."""
    return list(config_names(group))


def load(group: str, name: str) -> Any:
    """
    Raises:
        UserError: there is no such file.
    """
    there = config_names(group)
    if name not in there:
        raise UserError(f"there is no {group} {name!r}; there are {', '.join(there)}")
    return OmegaConf.load(there[name])


def plan(
    name: str,
    profile: str = "demo",
    *,
    table: Any = None,
    limit: int | None = None,
    seeds: Sequence[int] | None = None,
    masks: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    extra: Sequence[str] = (),
) -> TablePlan:
    """The runs of a table in a profile.

    Args:
        table: what a file of ``configs/table`` holds; by default that of ``name``.
        limit: at most so many images a cell.
        seeds: instead of the profile's.
        masks: only these.
        rows: only these, by name or pattern (``ddnm*``); rows that they are compared with come along. ``printed``:
            those that the paper has, and no others.
        extra: further overrides of every run.
    Raises:
        UserError: an unknown table, profile, mask or row.
    """
    table = load("table", name) if table is None else table
    setting = load("profile", profile)
    printed = paper_values()[table.paper] if "paper" in table else {}
    if rows == ["printed"]:
        rows = [row.name for row in table.rows if row.name in printed and "source" not in printed[row.name]]
        if not rows:
            raise NothingChosen(f"the paper prints no row of {name}")
        picked = set(rows)
    else:
        picked = with_partners(table.rows, chosen([row.name for row in table.rows], rows, f"rows of {name}"))
    shown = chosen(list(table.masks), masks, f"masks of {name}")
    made = []
    for row in table.rows:
        if row.name in picked:
            values = printed.get(row.name, {})
            cells = tuple(
                cell_plan(table, row, mask, setting, limit, seeds, [*extra], values.get(mask, ())) for mask in shown
            )
            against = tuple(partner for partner in row.get("against", ()) if partner in picked)
            instead = in_place(row, setting)
            label = label_of(row.label, own(row), instead, [*shared(row, setting), *instead, *extra], extra)
            made.append(RowPlan(row.name, label, cells, against, values.get("time"), values.get("source", "")))
    measured = {metric: setting.metrics[metric] for metric in table.metrics}
    return TablePlan(
        name,
        table.title,
        profile,
        stated(setting, table.dataset),
        tuple(shown),
        measured,
        tuple(made),
        setting.bootstrap,
        notes=notes_of(table, picked, setting),
        dataset=table.dataset,
        own_data=itself(setting, table.dataset),
        times=setting.get("times", ""),
    )


def stated(setting: Any, dataset: str) -> str:
    """The profile's title; with what stands for the dataset, where that is another."""
    overrides = " ".join(setting.datasets[dataset].overrides)
    return setting.title + ("" if itself(setting, dataset) else f" ({overrides} in the place of {dataset})")


def itself(setting: Any, dataset: str) -> bool:
    """Whether the dataset of this name is used, and not one in its place."""
    return list(setting.datasets[dataset].overrides) == [f"dataset={dataset}"]


class NothingChosen(UserError):
    """A pattern that fits nothing of a table; a report leaves such a table out."""


def chosen(there: list[str], asked: Sequence[str] | None, what: str) -> list[str]:
    """Those of ``there`` that a pattern of ``asked`` matches, all without patterns.

    Raises:
        NothingChosen: a pattern matches none.
    """
    if asked is None:
        return there
    for pattern in asked:
        if not any(fnmatchcase(name, pattern) for name in there):
            raise NothingChosen(f"{pattern!r} is none of the {what}: {', '.join(there)}")
    return [name for name in there if any(fnmatchcase(name, pattern) for pattern in asked)]


def with_partners(rows: Sequence[Any], picked: list[str]) -> set[str]:
    """The names in ``picked`` and those of the rows that they are compared with."""
    return set(picked) | {partner for row in rows if row.name in picked for partner in row.get("against", ())}


def cell_plan(
    table: Any,
    row: Any,
    mask: str,
    setting: Any,
    limit: int | None,
    seeds: Sequence[int] | None,
    extra: list[str],
    paper: Sequence[float | None],
) -> CellPlan:
    """One cell. What comes later wins: a profile's steps and resampling stand behind what a row says of single keys."""
    data = setting.datasets[table.dataset]
    costly = setting.get("costly", {}) if row.get("resampling") or row.get("costly") else {}
    limits = (costly.get("limit", setting.limit), table.get("limit"), data.get("limit"), limit)
    most = min((n for n in limits if n is not None), default=None)
    used = tuple(seeds or table.get("seeds") or costly.get("seeds") or setting.seeds)
    kind = row.get("model", "pixel")
    if kind not in data.models:
        return CellPlan(mask, (), used, data.get("note", f"no {kind} model for {table.dataset}"), tuple(paper))
    if mask not in row.get("masks", [mask]):
        return CellPlan(mask, (), used, f"with {' and '.join(row.masks)} masks alone", tuple(paper))
    resampling: list[str] = []
    if row.get("resampling"):
        jump, repeat = setting.resampling[mask]
        resampling = [f"sampler.jump={jump}", f"sampler.repeat={repeat}"]
    masked = [] if any(o.startswith("mask=") for o in data.overrides) or mask == table.dataset else [f"mask={mask}"]
    limited = [] if most is None else [f"limit={most}"]
    parts = [*masked, *data.overrides, *row.overrides, *data.models[kind], *shared(row, setting), *resampling, *limited]
    given = {o.split("=")[0].lstrip("+"): o for o in [*parts, *in_place(row, setting), *extra]}
    return CellPlan(mask, tuple(given.values()), used, "", tuple(paper))


def own(row: Any) -> list[str]:
    """What a row says of single keys."""
    return [override for override in row.overrides if "." in override.split("=")[0]]


def in_place(row: Any, setting: Any) -> list[str]:
    """The same with what the profile has in its place."""
    replaced = setting.get("replace", {})
    return [each for override in own(row) for each in replaced.get(override, [override])]


def shared(row: Any, setting: Any) -> list[str]:
    """What the profile says of all runs and of those with the row's method."""
    method = next(o.partition("=")[2] for o in row.overrides if o.startswith("method="))
    return [*setting.common, *setting.get("methods", {}).get(method, ())]


def notes_of(table: Any, picked: set[str], setting: Any) -> tuple[str, ...]:
    """The table's own, and what the profile says of the kinds of models that its rows have."""
    kinds = {row.get("model", "pixel") for row in table.rows if row.name in picked}
    said = setting.datasets[table.dataset].get("notes", {})
    return (*table.get("notes", ()), *(text for kind, text in said.items() if kind in kinds))
