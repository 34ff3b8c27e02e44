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
from isdiff.runs.experiment import Experiment
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
    """A folder's name of words of a command."""
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
