"""Configurations from overrides, and what to say of overrides that give none."""

import os
import re
import shlex
import sys
import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isdiff.config.build import build, resolved
from isdiff.config.search_path import config_names, own_hydra
from isdiff.data.base import file_stamp
from isdiff.data.base import quote as quote_place
from isdiff.errors import UserError
from isdiff.models.base import Model
from isdiff.paths import config_folders

COMPOSING = threading.Lock()  # Hydra composes with something that a process has once


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose the overrides; from several threads too.

    Hydra composes each choice of files once. Values are set in copies, as Hydra sets them.
    """
    typed = tuple(as_typed(text) for text in overrides)
    folders = config_folders()
    files = sorted(f"{where}/{name}" for folder in folders for where, _, names in os.walk(folder) for name in names)
    stamp = (*folders, *((file, file_stamp(file)) for file in files if file.endswith(".yaml")))
    read = [parse(text) for text in typed]
    with COMPOSING:
        if all(each and each.type is OverrideType.CHANGE and each.package is None for each in read):
            values = [each for each in read if each and is_value(each, folders)]
            choices = tuple(text for text, each in zip(typed, read, strict=True) if each not in values)
            with suppress(OmegaConfBaseException):  # Hydra, below, explains it better
                return with_values(by_hydra(choices, stamp), values)
        return deepcopy(by_hydra(typed, stamp))


def is_value(override: Override, folders: Sequence[Path]) -> bool:
    """Tell whether an override sets one value and chooses no file."""
    key = override.key_or_group
    if "/" in key or override.is_hydra_override() or override.is_sweep_override():
        return False
    return not any((folder / key).is_dir() for folder in folders)


def with_values(cfg: DictConfig, values: Sequence[Override]) -> DictConfig:
    cfg = deepcopy(cfg)
    for each in values:
        OmegaConf.update(cfg, each.key_or_group, each.value(), merge=True)
    return cfg


@lru_cache(maxsize=128)
def by_hydra(overrides: Sequence[str], stamp: Hashable) -> DictConfig:
    """Compose with Hydra; ``stamp`` tells the state of all files."""
    with own_hydra() as folder, initialize_config_dir(folder, version_base="1.3"):
        return compose("config", [*overrides])


def as_typed(text: str, sweeps: bool = False) -> str:
    """Quote an override's value if Hydra's grammar does not take it (é, parentheses), unless it may be several."""
    value = text.partition("=")[2]
    if parse(text) or value[:1] in ("", "[", "{") or (sweeps and "," in value) or not parse(quote(text)):
        return text
    return quote(text)


def quote(text: str) -> str:
    key, _, value = text.partition("=")
    return f"{key}={QuotedString(value, Quote.double).with_quotes()}"


@lru_cache(maxsize=1024)
def parse(text: str) -> Override | None:
    """Read an override; None where Hydra cannot."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def refuse(overrides: Sequence[str], error: Exception, also: Sequence[str] = (), sweeps: bool = False) -> UserError:
    """Make one sentence of what Hydra raised on overrides.

    Args:
        also: keys of a command's own, one of which may be meant where there is no such key.
        sweeps: whether an override may have several values.
    """
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return UserError(f"there is no {group} {name!r}; there are {', '.join(error.options)}")
    for text in [error.override] if isinstance(error, OverrideParseException) else overrides:
        if fault := fault_of(text, sweeps):
            return UserError(fault)
    if found := re.match("Could not override '([^']+)'", str(error)):
        key, last = found[1], found[1].rpartition(".")[2]
        groups = {path.relative_to(folder).as_posix() for folder in config_folders() for path in folder.glob("*/*/")}
        keys = [*also, *flatten(OmegaConf.to_container(composed([]))), *sorted(groups)]
        near = [each for each in keys if each.rpartition(".")[2] == last] or get_close_matches(key, keys, 1)
        advice = f"is {near[0]} meant?" if near else "isdiff run --cfg job shows those that there are"
        return UserError(f"there is no key {key!r}; {advice}")
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"these overrides do not compose: {' '.join(overrides)} ({reason})")


def fault_of(text: str, sweeps: bool) -> str | None:
    """Say what is wrong with an override by itself; None if nothing is."""
    override = parse(text)
    as_text = f"as a text it is {shlex.quote(quote(text))}"
    if override is None and "=" in text and parse(quote(text)):
        return f"{text!r} cannot be read; {as_text}"
    if override is None or not text.lstrip("+~").partition("=")[0]:
        return f"{text!r} is no override, which is KEY=VALUE"
    if override.is_sweep_override() and not sweeps:
        several = f"{text!r} has several values, each for a run of its own (isdiff run -m)"
        return f"{several}; {as_text}, as a list KEY=[A,B]"
    return None


def flatten(node: Any, before: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{before}{key}"
        if isinstance(value, dict):
            yield from flatten(value, f"{before}{key}.")


def compose_run(overrides: Sequence[str], also: Sequence[str] = ()) -> DictConfig:
    """Compose the configuration that ``isdiff run`` would get from these overrides; ``also`` as for :func:`refuse`."""
    try:
        return composed(overrides)
    except Exception as error:  # Hydra's own and, where it had not thought of it, Python's
        raise refuse(overrides, error, also=also) from None


def runs_of(group: str) -> dict[str, DictConfig]:
    """Compose a run with each name of ``model`` or ``method``; files that give none are left out, which is said."""
    found = {}
    for name, file in config_names(group).items():
        try:
            cfg = compose_run([f"{group}={name}"])
            if "name" not in resolved(cfg.get(group), group):
                raise UserError("it has no name")
            build(cfg.get("model"), Model)
        except UserError as error:
            print(f"isdiff: {quote_place(file)} is left out: {' '.join(str(error).split())}", file=sys.stderr)
        else:
            found[name] = cfg
    return found
