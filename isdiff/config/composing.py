"""Configurations from overrides, and what to say of overrides that give none."""

from __future__ import annotations

import re
import shlex
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isdiff.config.build import build, resolved
from isdiff.config.search_path import config_names, own_hydra
from isdiff.data.base import quote
from isdiff.errors import UserError
from isdiff.models.base import Model
from isdiff.paths import config_folders

COMPOSING = threading.Lock()  # Hydra composes with something that a process has once
NO_NAMES = (bool, int, float, dict, type(None))


def composed(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """What Hydra makes of the overrides; from several threads too."""
    with COMPOSING, own_hydra() as folder, initialize_config_dir(folder, version_base="1.3"):
        return compose(config_name, [as_typed(text) for text in overrides])


def as_typed(text: str, sweeps: bool = False) -> str:
    """An override whose value Hydra's grammar does not take (é, parentheses, a second =) with it as the text that it
    is. Lists stay, and with ``sweeps`` what may be several values."""
    value = text.partition("=")[2]
    if parsed(text) or value[:1] in ("", "[", "{") or (sweeps and "," in value) or not parsed(quoted(text)):
        return text
    return quoted(text)


def quoted(text: str) -> str:
    key, _, value = text.partition("=")
    return f"{key}={QuotedString(value, Quote.double).with_quotes()}"


def parsed(text: str) -> Override | None:
    """What Hydra reads in it; None where it cannot."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def refused(
    overrides: Sequence[str], error: Exception, config_name: str = "config", also: Sequence[str] = ()
) -> UserError:
    """One sentence.

    Args:
        error: what Hydra raised; on some overrides it stumbles with Python's own errors.
        also: keys of a command's own.
    """
    if isinstance(error, OverrideParseException):
        text = quoted(error.override)
        if "=" in error.override and parsed(text):
            return UserError(f"{error.override!r} cannot be read; as a text it is {shlex.quote(text)}")
        return UserError(f"{error.override!r} is no override, which is KEY=VALUE")
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return UserError(f"there is no {group} {name!r}; there are {', '.join(error.options)}")
    if missing := re.match(r"Could not override '(.+?)'\.", str(error)):
        keys = [*also, *keys_there(config_name, overrides)]
        if missing[1] not in keys:
            return UserError(no_such_key(missing[1], keys))
    if odd := nameless(overrides):
        key = odd.lstrip("+~").partition("=")[0]
        return UserError(f"{odd!r}: {key} takes a name" if key else f"{odd!r} has no key; an override is KEY=VALUE")
    for text in overrides:
        if (override := parsed(text)) and override.is_sweep_override() and "ultirun" in str(error):
            return UserError(
                f"{text!r} has several values, each for a run of its own (isdiff run -m); as a text it is "
                f"{shlex.quote(quoted(text))}, as a list KEY=[A,B]"
            )
    reason = " ".join(str(error).partition("\nTo append")[0].split())
    return UserError(f"these overrides do not compose: {' '.join(overrides)} ({reason})")


def no_such_key(key: str, keys: Sequence[str]) -> str:
    """A sentence that says which key may be meant: one of the same name elsewhere, or the closest."""
    last = key.rpartition(".")[2]
    near = [each for each in keys if each.rpartition(".")[2] == last] or get_close_matches(key, keys, 1)
    advice = f"is {near[0]} meant?" if near else "isdiff run --cfg job shows those that there are"
    return f"there is no key {key!r}; {advice}"


def nameless(overrides: Sequence[str]) -> str | None:
    """The first that gives a group of files something that is no name, or has no key at all."""
    for text in overrides:
        if (override := parsed(text)) is None:
            continue
        key, value = override.key_or_group, override._value
        removed = override.type is OverrideType.DEL and value is None
        unnamed = any(isinstance(each, NO_NAMES) for each in (value if isinstance(value, list) else [value]))
        if not key or (is_group(key) and unnamed and not removed):
            return text
    return None


def is_group(key: str) -> bool:
    """Whether files are chosen by it, as by ``model`` and ``isdiff/seed``."""
    return any((folder / key).is_dir() for folder in config_folders())


def keys_there(config_name: str, overrides: Sequence[str]) -> list[str]:
    """All keys under the choices of files among ``overrides``; under the usual ones where these do not compose."""
    choices = [text for text in overrides if is_group(text.partition("=")[0])]
    for given in (choices, []):
        with suppress(Exception):
            cfg = composed(config_name, given)
            break
    else:  # the file itself does not compose
        return []
    groups = [path.relative_to(folder).as_posix() for folder in config_folders() for path in folder.glob("*/*/")]
    within = [group for group in groups if group.partition("/")[0] in cfg and is_group(group)]
    return [*flattened(OmegaConf.to_container(cfg)), *within]


def flattened(node: Any, before: str = "") -> Iterator[str]:
    """The keys of a node and of all below it, with dots."""
    for key, value in node.items():
        yield f"{before}{key}"
        if isinstance(value, dict):
            yield from flattened(value, f"{before}{key}.")


def compose_run(overrides: Sequence[str], also: Sequence[str] = ()) -> DictConfig:
    """The configuration that ``isdiff run`` would get from these overrides; from several threads too.

    Args:
        also: keys of a command's own, one of which may be meant where there is no such key.
    Raises:
        UserError: they do not compose.
    """
    try:
        return composed("config", overrides)
    except Exception as error:  # Hydra's own and, where it had not thought of it, Python's
        raise refused(overrides, error, also=also) from None


def runs_of(group: str) -> dict[str, DictConfig]:
    """The configuration of a run with each name of ``model`` or ``method``; files that give none, such as another
    program's, are left out, which is said."""
    found = {}
    for name, file in config_names(group).items():
        try:
            cfg = compose_run([f"{group}={name}"])
            if "name" not in resolved(cfg[group]):
                raise UserError("it has no name")
            build(cfg.model, Model)
        except (UserError, OmegaConfBaseException) as error:
            print(f"isdiff: {quote(file)} is left out: {' '.join(str(error).split())}", file=sys.stderr)
        else:
            found[name] = cfg
    return found
