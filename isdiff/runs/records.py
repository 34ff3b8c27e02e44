"""One image's line in ``per_image.jsonl``: which lines are records."""

from __future__ import annotations

import json
from typing import Any

from isdiff.checks import is_number


def parsed(line: str) -> dict[str, Any] | None:
    """The record in a line; None where it is none, or says what no run writes."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and is_record(record) else None


def is_record(record: dict[str, Any]) -> bool:
    """Whether all values are of their kinds, and attempts go together with what is said of each."""
    if not all(fits(record.get(name)) for name, fits in KINDS.items()):
        return False
    attempts, judged = record["attempts"], len(record["dce"])
    # All but the last attempt were judged, or there would have been no other; without IS-Diff none is.
    together = len(record["start_timesteps"]) == attempts and judged in (attempts - 1, attempts)
    return together and record["chosen_attempt"] < attempts


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_whole(value: Any) -> bool:
    return type(value) is int  # true and false are no numbers


def is_measured(value: Any) -> bool:
    return is_number(value) and abs(value) < TOO_LARGE


def is_amount(value: Any) -> bool:
    return is_measured(value) and value >= 0


def is_count(value: Any) -> bool:
    return is_whole(value) and is_amount(value)


def is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 16 and set(value) <= HEX


def are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(map(is_measured, values))


def are_texts(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(map(is_text, values))


TOO_LARGE = 1e100
HEX = set("0123456789abcdef")
KINDS = {
    "id": is_text, "run": is_text, "seed": is_whole, "model": is_text, "weights": is_text, "size": is_text,
    "network_calls": is_count, "attempts": is_count, "chosen_attempt": is_count, "seconds": is_amount,
    "dce": are_numbers, "start_timesteps": are_numbers, "stamps": are_texts,
    "image_sha": is_hash, "mask_sha": is_hash, "picture_sha": is_hash,
}  # fmt: skip
