"""A comparison from the words of a command: ``isdiff compare ddnm ddnm+isdiff dataset=photos mask=half limit=32``."""

import hashlib
import re
import shlex
from collections.abc import Sequence
from typing import Any

from isdiff.config.composing import compose_run
from isdiff.config.nodes import Config, make_config
from isdiff.config.search_path import config_names
from isdiff.errors import UserError
from isdiff.tables.compare import Group, Plan, PlannedRow
from isdiff.tables.plan import key_of, values_of

IMAGES = 32  # unless limit=... says how many
SHARED = ("mask", "seed", "limit", "metrics.names", "metrics.bootstrap")  # keys that are the comparison's
LONGEST = 100  # letters of a folder's name


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
    named = "_".join(re.findall(r"[\w.+,-]+", " ".join([*rows, *said, *(f"{k}={given[k]}" for k in lists)])))
    if len(named) > LONGEST:
        named = f"{named[:LONGEST]}-{hashlib.sha256(named.encode()).hexdigest()[:8]}"
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
