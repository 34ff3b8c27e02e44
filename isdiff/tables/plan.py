"""From a table's YAML and a profile to the runs behind every cell.

A table (``configs/table``) lists rows and columns in the paper's words; a profile (``configs/profile``) says what they
mean: which dataset stands for ImageNet, which metric for LPIPS, how many images, which seeds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import yaml

from isdiff.config.nodes import merge_configs, read_config
from isdiff.config.search_path import config_names
from isdiff.errors import UserError
from isdiff.paths import located


@dataclass(frozen=True)
class CellPlan:
    """The runs behind one cell, one for each seed."""

    mask: str
    overrides: tuple[str, ...]  # that all seeds share; empty where the cell cannot exist
    seeds: tuple[int, ...]
    impossible: str = ""  # why it cannot exist in this profile
    paper: tuple[Decimal | None, ...] = ()  # the printed values by metric; empty where there are none


@dataclass(frozen=True)
class RowPlan:
    """The cells of one row, one for each mask."""

    name: str
    label: str
    cells: tuple[CellPlan, ...]
    against: tuple[str, ...] = ()  # names of the rows that this one is compared with
    paper_time: Decimal | None = None  # the paper's seconds per image on its own GPU
    source: str = ""  # where its printed values come from, if not from the paper
    isdiff: bool = False  # whether it runs with IS-Diff


@dataclass(frozen=True)
class TablePlan:
    """A table's rows and columns in a profile."""

    name: str
    title: str
    profile: str
    setting: str
    masks: tuple[str, ...]
    metrics: dict[str, str]  # from the paper's metric to the one that is measured, in order
    rows: tuple[RowPlan, ...]
    bootstrap: int = 1000
    notes: tuple[str, ...] = ()  # sentences below the table
    dataset: str = ""  # in the paper's words
    own_data: bool = True  # whether that dataset itself is used, and not one in its place
    times: str = ""  # how its seconds were taken

    def cells(self) -> list[tuple[RowPlan, CellPlan]]:
        """Row by row."""
        return [(row, cell) for row in self.rows for cell in row.cells]


class PaperLoader(yaml.SafeLoader):
    """The paper's numbers as they are printed: 143.00."""


PaperLoader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: Decimal(str(node.value)))


def paper_values() -> Any:
    """``configs/paper_values.yaml``: what the paper prints, by table, row and mask."""
    return yaml.load(located("configs/paper_values.yaml").read_text("utf-8"), PaperLoader)


def load(group: str, name: str) -> Any:
    """The content of ``configs/<group>/<name>.yaml``; a ``base`` gives what it lacks, rows but those ``without``."""
    there = config_names(group)
    if name not in there:
        raise UserError(f"there is no {group} {name!r}; there are {', '.join(there)}")
    content: Any = read_config(there[name])
    if "base" not in content:
        return content
    left_out = content.pop("without", [])
    whole: Any = merge_configs(load(group, content.pop("base")), content)
    whole.rows = [row for row in whole.rows if row.name not in left_out]
    return whole


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
    """
    table = load("table", name) if table is None else table
    setting = load("profile", profile)
    data = setting.datasets[table.dataset]
    printed = paper_values()[table.paper] if "paper" in table else {}
    if rows == ["printed"]:
        picked = {row.name for row in table.rows if row.name in printed and "source" not in printed[row.name]}
        if not picked:
            raise NothingChosen(f"the paper prints no row of {name}")
    else:
        picked = set(choose([row.name for row in table.rows], rows, f"rows of {name}"))
        picked |= {partner for row in table.rows if row.name in picked for partner in row.get("against", ())}
    chosen_masks = choose(list(table.masks), masks, f"masks of {name}")
    planner = Planner(table, setting, limit, seeds, extra)
    made = []
    for row in [row for row in table.rows if row.name in picked]:
        values = printed.get(row.name, {})
        cells = tuple(planner.cell(row, mask, tuple(values.get(mask, ()))) for mask in chosen_masks)
        against = tuple(partner for partner in row.get("against", ()) if partner in picked)
        isdiff = method_of(row).endswith("+isdiff") and "isdiff=off" not in row.overrides
        time, source = values.get("time"), values.get("source", "")
        made.append(RowPlan(row.name, planner.label(row), cells, against, time, source, isdiff))
    kinds = {row.get("model", "pixel") for row in table.rows if row.name in picked}
    own_data = list(data.overrides) == [f"dataset={table.dataset}"]
    instead = "" if own_data else f" ({' '.join(data.overrides)} in the place of {table.dataset})"
    return TablePlan(
        name, table.title, profile, setting.title + instead, tuple(chosen_masks),
        {metric: setting.metrics[metric] for metric in table.metrics}, tuple(made), setting.bootstrap,
        notes=(*table.get("notes", ()), *(text for kind, text in data.get("notes", {}).items() if kind in kinds)),
        dataset=table.dataset, own_data=own_data, times=setting.get("times", ""),
    )  # fmt: skip


class NothingChosen(UserError):
    """A pattern that fits nothing of a table; a report leaves such a table out."""


def choose(there: list[str], asked: Sequence[str] | None, what: str) -> list[str]:
    """Those of ``there`` that a pattern of ``asked`` matches, each of which must match one; all without patterns."""
    for pattern in asked or ():
        if not any(fnmatchcase(name, pattern) for name in there):
            raise NothingChosen(f"{pattern!r} is none of the {what}: {', '.join(there)}")
    return [name for name in there if asked is None or any(fnmatchcase(name, pattern) for pattern in asked)]


WORDS = {
    "sampler.steps": "{} steps", "sampler.inner_steps": "{} iterations", "sampler.repeat": "{} repeats",
    "sampler.eta": "eta {}", "isdiff.refine.attempts": "N = {}", "isdiff.start.lambda": "lambda {}",
    "output.composite": "output {}",
}  # fmt: skip
# What labels say also of rows that leave it to their method.
STATED = ("sampler.eta", "sampler.repeat", "output.composite")


@dataclass(frozen=True)
class Planner:
    """Rows of a table in a profile (``setting``); the other values are those of :func:`plan`."""

    table: Any
    setting: Any
    limit: int | None
    seeds: Sequence[int] | None
    extra: Sequence[str]

    def cell(self, row: Any, mask: str, paper: tuple[Decimal | None, ...]) -> CellPlan:
        """One cell. What comes later wins: the profile's steps and resampling stand behind a row's single keys."""
        table, setting = self.table, self.setting
        data, kind = setting.datasets[table.dataset], row.get("model", "pixel")
        costly = setting.get("costly", {}) if row.get("resampling") or row.get("costly") else {}
        limits = (costly.get("limit", setting.limit), table.get("limit"), data.get("limit"), self.limit)
        used = tuple(self.seeds or table.get("seeds") or costly.get("seeds") or setting.seeds)
        if kind not in data.models:
            return CellPlan(mask, (), used, data.get("note", f"no {kind} model for {table.dataset}"), paper)
        if mask not in row.get("masks", [mask]):
            return CellPlan(mask, (), used, f"with {' and '.join(row.masks)} masks alone", paper)
        named = any(o.startswith("mask=") for o in data.overrides) or mask == table.dataset
        parts = [*([] if named else [f"mask={mask}"]), *data.overrides, *row.overrides, *data.models[kind]]
        if setting.get("sized") and "size" in table:  # one size and one mask an image, whatever size a model works at
            parts += [f"dataset.size={table.size}", "output.scale=true"]
        parts += self.shared(row)
        if row.get("resampling"):
            jump, repeat = setting.resampling[mask]
            parts += [f"sampler.jump={jump}", f"sampler.repeat={repeat}"]
        if known := [n for n in limits if n is not None]:
            parts.append(f"limit={min(known)}")
        given = {key_of(o): o for o in [*parts, *self.replaced(row), *self.extra]}
        return CellPlan(mask, tuple(given.values()), used, "", paper)

    def shared(self, row: Any) -> list[str]:
        """What the profile says of all runs and of those with the row's method."""
        return [*self.setting.common, *self.setting.get("methods", {}).get(method_of(row), ())]

    def replaced(self, row: Any) -> list[str]:
        """A row's single keys, with what the profile has in their place."""
        instead = self.setting.get("replace", {})
        return [each for override in single_keys(row) for each in instead.get(override, [override])]

    def label(self, row: Any) -> str:
        """The row's label with its ``{steps}`` filled in, and behind it every value that is not the row's own."""
        said, runs = values_of(single_keys(row)), values_of([*self.shared(row), *self.replaced(row), *self.extra])
        stated = [override for override in self.extra if key_of(override) in STATED]
        keys = values_of([*single_keys(row), *self.replaced(row), *stated])
        other = []
        for key in [key for key in keys if key in runs and said.get(key) != runs[key]]:
            text = WORDS.get(key, f"{key} {{}}").format(runs[key])
            other.append(text.removesuffix("s") if runs[key] == "1" and key in WORDS else text)
        whole = row.label.replace("{steps}", runs.get("sampler.steps", "its"))
        return f"{whole} (here {', '.join(other)})" if other else whole


def single_keys(row: Any) -> list[str]:
    """What a row says of single keys, and not of whole groups."""
    return [override for override in row.overrides if "." in key_of(override)]


def method_of(row: Any) -> str:
    return values_of(row.overrides)["method"]


def key_of(override: str) -> str:
    return override.partition("=")[0].lstrip("+")


def values_of(overrides: Iterable[str]) -> dict[str, str]:
    """Values by key; of a key that stands twice the last."""
    return {key_of(override): override.partition("=")[2] for override in overrides}
