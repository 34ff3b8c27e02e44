"""The file of a comparison (``configs/compare``), and a smaller one of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING, DictConfig, OmegaConf

from isdiff.config.build import as_dict
from isdiff.config.checked import read_checked
from isdiff.errors import UserError


@dataclass
class PlannedRow:
    """A method and how it runs."""

    label: str = MISSING
    overrides: list[str] = MISSING


@dataclass
class Group:
    """Rows that are compared with the first of them, over the same images."""

    rows: list[PlannedRow] = MISSING
    limit: int = MISSING
    title: str = ""
    common: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)


@dataclass
class Plan:
    """A comparison's file: keys, their kinds, and what is meant where they are left out."""

    groups: list[Group] = MISSING
    title: str = "Comparison"
    folder: str = "outputs/compare/own"
    common: list[str] = field(default_factory=list)
    masks: list[str] = field(default_factory=lambda: ["half"])
    seeds: list[int] = field(default_factory=lambda: [0])
    metrics: list[str] = field(default_factory=lambda: ["lite0_perceptual"])
    bootstrap: int = 1000


def read_plan(path: Path) -> DictConfig:
    """A comparison's file, with what is meant where it leaves something out.

    Raises:
        UserError: it is no comparison: a key that nobody reads, a value of another kind, or something is missing.
    """
    usual = Plan(title=path.stem, folder=f"outputs/compare/{path.stem}")
    plan, _ = read_checked(path, usual, "comparison")
    left_out = {key: value for key, value in vars(usual).items() if key not in plan and key != "groups"}
    return OmegaConf.create(left_out | as_dict(plan))


def overrides_of(plan: DictConfig, group: DictConfig, row: DictConfig, extra: Sequence[str]) -> list[str]:
    """What a row's runs are composed of."""
    return [*plan.common, *group.get("common", []), f"limit={group.limit}", *row.overrides, *extra]


def seeds_of(plan: DictConfig, group: DictConfig) -> Sequence[int]:
    """A group's own, or the plan's."""
    return group.get("seeds", plan.seeds)


def narrow(
    plan: DictConfig, limit: int | None = None, seeds: Sequence[int] | None = None, masks: Sequence[str] | None = None
) -> DictConfig:
    """The plan with fewer images, other seeds or other masks; its folder says so, so that no fuller result is lost.

    Raises:
        UserError: nothing is left.
    """
    plan = plan.copy()
    if (limit is not None and limit < 1) or seeds == [] or masks == []:
        raise UserError("--limit must be at least 1, --seeds and --masks must name some")
    if seeds is not None:
        plan.seeds = list(seeds)
    if masks is not None:
        plan.masks = list(masks)
    for group in plan.groups:
        group.limit = min(group.limit, limit or group.limit)
        if seeds is not None and "seeds" in group:
            group.seeds = [seed for seed in group.seeds if seed in seeds] or list(seeds)
        if masks is not None and "masks" in group:
            group.masks = [mask for mask in group.masks if mask in masks]
    if limit or seeds or masks:
        parts = [f"limit {limit}" * bool(limit), f"seeds {seeds}" * bool(seeds), f"masks {masks}" * bool(masks)]
        plan.folder = f"{plan.folder}_{'_'.join(re.findall(r'[a-z0-9]+', ' '.join(parts)))}"
    return plan
