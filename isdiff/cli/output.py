"""What commands print to: a stream that ends none of them with an error."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

CLOSED = 141  # the exit code that shells have for a command whose reader went away


class Output:
    """A stream: what its encoding lacks becomes ``?``; where nobody reads any more, the command ends in silence."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream or io.StringIO()  # there is none where it was closed before the command began

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        encoding = self.stream.encoding or "utf-8"
        return self.heard(self.stream.write, text.encode(encoding, "replace").decode(encoding))

    def flush(self) -> None:
        self.heard(self.stream.flush)

    def heard(self, action: Callable[..., Any], *given: str) -> Any:
        try:
            return action(*given)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # for what is flushed at the end
            raise SystemExit(CLOSED) from None
