"""What a process has once and its other code may have set: aside while isdiff works, and back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch.utils._contextlib import context_decorator

F = TypeVar("F", bound=Callable)


@contextmanager
def own_defaults() -> Iterator[None]:
    """The usual default dtype and device of torch, no autocast, and what numpy usually says of odd numbers."""
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":  # else each of torch's calls would take longer for nothing
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def with_own_defaults(function: F) -> F:
    """The function, or a generator from one step to the next, within :func:`own_defaults`."""
    return context_decorator(own_defaults, function)


@contextmanager
def quiet() -> Iterator[None]:
    """diffusers and transformers tell and show nothing of what they load."""
    from diffusers.utils import logging as diffusers
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging as transformers

    libraries = [(each, each.get_verbosity(), each.is_progress_bar_enabled()) for each in (diffusers, transformers)]
    hub_shows_none = are_progress_bars_disabled()
    for each, _, _ in libraries:
        each.set_verbosity_error()
        each.disable_progress_bar()
    try:
        yield
    finally:
        for each, verbosity, shows in libraries:
            each.set_verbosity(verbosity)
            if shows:
                each.enable_progress_bar()
        if hub_shows_none:
            disable_progress_bars()
