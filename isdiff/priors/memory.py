"""Network calls on a device whose memory may run out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class Halving:
    """Calls ``part`` on as many images at once as fit.

    Each time that memory runs out it halves their number, for as long as the model stays loaded.

    Args:
        part: from columns of equal length, one entry an image, to one answer an image.
    """

    def __init__(self, part: Callable[..., list[Any]]) -> None:
        self.part = part
        self.most: int | None = None  # images per call, once memory has run out

    def __call__(self, *columns: Sequence[Any]) -> list[Any]:
        """The answers of ``part`` for all images, in their order.

        Raises:
            torch.cuda.OutOfMemoryError: a single image does not fit.
        """
        answers: list[Any] = []
        size = self.most or len(columns[0])
        while len(answers) < len(columns[0]):
            found = self.attempt(*(column[len(answers) : len(answers) + size] for column in columns))
            if found is None:
                # After the exception is gone, and with it the frames that hold what was computed so far.
                torch.cuda.empty_cache()
                self.most = size = max(1, size // 2)
            else:
                answers += found
        return answers

    def attempt(self, *columns: Sequence[Any]) -> list[Any] | None:
        try:
            return self.part(*columns)
        except torch.cuda.OutOfMemoryError:
            if len(columns[0]) == 1:
                raise
            return None
