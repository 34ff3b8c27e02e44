"""A batch of a pipeline, row by row: what was given for some of its images, and what came out for each."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isdiff.errors import UserError

TEXTS = tuple(f"{sign}prompt{which}" for sign in ("", "negative_") for which in ("", "_2", "_3"))
EMBEDDED = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


def named_arguments(stock: Callable, pipe: Any, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a pipeline was called with, by name, defaults included."""
    bound = inspect.signature(stock).bind(pipe, *args, **kwargs)
    bound.apply_defaults()
    del bound.arguments[next(iter(bound.arguments))]  # self
    return {**bound.arguments, **bound.arguments.pop("kwargs", {})}


def prompts(given: Mapping[str, Any]) -> int:
    """How many prompts there are."""
    prompt, embedded = given.get("prompt"), given.get("prompt_embeds")
    if embedded is None and (prompt is None or (isinstance(prompt, list) and not prompt)):
        raise UserError("the pipeline was given no prompt; give prompt (it may be empty) or prompt_embeds")
    if isinstance(prompt, str):
        return 1
    return len(prompt or embedded)  # type: ignore[arg-type]


def texts_of(given: Mapping[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """What is said about these rows, one entry each; as in diffusers, the images of a prompt lie together."""
    each = given["num_images_per_prompt"]
    chosen: dict[str, Any] = {}
    for key in TEXTS:
        if (value := given.get(key)) is not None:
            chosen[key] = [value if isinstance(value, str) else value[row // each] for row in rows]
    for key in EMBEDDED:
        if (value := given.get(key)) is not None:
            chosen[key] = value[[row // each for row in rows]]
    return chosen


def pick(value: Any, count: int, rows: Sequence[int]) -> Any:
    """Those of these rows, of ``count`` pictures, masks or latents in any form that diffusers takes.

    As in diffusers, fewer than there are rows are repeated as a whole. A single one stands for all.
    """
    if value is None or count == 1:
        return value
    if isinstance(value, (list, tuple)) and len(value) != count:  # of batches
        value = torch.cat(list(value)) if isinstance(value[0], Tensor) else np.concatenate(list(value))
    chosen = [row % count for row in rows]
    return [value[i] for i in chosen] if isinstance(value, (list, tuple)) else value[chosen]


def merge(parts: Mapping[int, tuple[Any, int]], return_dict: bool) -> Any:
    """One output of a pipeline from, for each row, an output and the place in it."""
    outputs = [parts[row] for row in sorted(parts)]
    kind = type(outputs[0][0])
    fields = {}
    for name in (field.name for field in dataclasses.fields(kind)):
        values = [(getattr(output, name), place) for output, place in outputs]
        fields[name] = None if values[0][0] is None else join([value[place] for value, place in values])
    return kind(**fields) if return_dict else tuple(fields.values())


def join(values: list[Any]) -> Any:
    """Tensors and arrays as one; anything else as a list."""
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    return np.stack(values) if isinstance(values[0], np.ndarray) else values
