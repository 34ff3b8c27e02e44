"""What a process has once and its other code may have set: aside while isdiff works, and back afterwards."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch.utils._contextlib import context_decorator

F = TypeVar("F", bound=Callable)


@contextmanager
def own_defaults() -> Iterator[None]:
    """Set torch's usual default dtype and device, no autocast, and what numpy usually says of odd numbers."""
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
    """Keep diffusers and transformers from telling and showing what they load."""
    from diffusers.utils import logging as diffusers
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging as transformers

    with ExitStack() as stack:
        if are_progress_bars_disabled():
            stack.callback(disable_progress_bars)  # which showing transformers' own again enables
        for library in (diffusers, transformers):
            stack.callback(library.set_verbosity, library.get_verbosity())
            if library.is_progress_bar_enabled():
                stack.callback(library.enable_progress_bar)
            library.set_verbosity_error()
            library.disable_progress_bar()
        yield
