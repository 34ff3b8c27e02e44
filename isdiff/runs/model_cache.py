"""The model that was used last, for the next run that would load the same."""

from __future__ import annotations

import gc
from collections.abc import Callable

from isdiff.priors.base import Prior


class ModelCache:
    """Has room for one model: rows of a table are many, and each holding its own would fill the memory.

    For runs one after the other, not for threads.
    """

    def __init__(self) -> None:
        self.key: object = None
        self.prior: Prior | None = None

    def get(self, key: object, load: Callable[[], Prior]) -> Prior:
        """What ``load`` gives, which is called where the model that stands here has another ``key``."""
        if self.prior is not None and key == self.key:
            return self.prior
        self.prior = self.key = None
        gc.collect()  # the last one has references to itself; the next needs its room
        prior = load()
        self.key, self.prior = key, prior
        return prior


MODEL_CACHE = ModelCache()  # of the runs that this process makes one after the other
