"""What a row is called: where it runs with other values than it says, its label says which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WORDS = {
    "sampler.steps": "{} steps",
    "sampler.inner_steps": "{} iterations",
    "sampler.repeat": "{} repeats",
    "sampler.eta": "eta {}",
    "isdiff.refine.attempts": "N = {}",
    "isdiff.start.lambda": "lambda {}",
}


def values_of(overrides: Iterable[str]) -> dict[str, str]:
    """Values by key; of a key that stands twice the last."""
    return {key.lstrip("+"): value for key, _, value in (override.partition("=") for override in overrides)}


STATED = ("sampler.eta", "sampler.repeat")  # what labels say also of rows that leave it to their method


def label_of(
    label: str, own: Sequence[str], instead: Sequence[str], given: Sequence[str], extra: Sequence[str] = ()
) -> str:
    """``label`` with its ``{steps}`` filled in, and behind it every value that is not the row's own.

    Args:
        own: overrides of single keys that the row gives.
        instead: what a profile has in their place.
        given: all overrides that say how the row runs.
        extra: those of them that a command gives.
    """
    said, runs = values_of(own), values_of(given)
    keys = values_of([*own, *instead, *(text for text in extra if text.partition("=")[0].lstrip("+") in STATED)])
    other = [in_words(key, runs[key]) for key in keys if key in runs and said.get(key) != runs[key]]
    whole = label.replace("{steps}", runs.get("sampler.steps", "its"))
    return f"{whole} (here {', '.join(other)})" if other else whole


def in_words(key: str, value: str) -> str:
    text = WORDS.get(key, f"{key} {{}}").format(value)
    return text.removesuffix("s") if value == "1" and key in WORDS else text
