"""What a dataset is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from isdiff.errors import UserError


class Dataset(ABC):
    """Images by id."""

    name: str

    @abstractmethod
    def ids(self) -> list[str]:
        """Every id, in the dataset's order; a run with ``limit=n`` takes the first n."""

    def require(self, ids: Sequence[str]) -> None:  # noqa: B027
        """
        Raises:
            Missing: some of these images are not here.
        """

    @abstractmethod
    def image(self, image_id: str) -> np.ndarray:
        """(H, W, 3), uint8 RGB."""

    def stamp(self, image_id: str) -> str:
        """A cheap signature of the file that the image comes from. Equal ones: surely the same content; different ones,
        or an empty one: look at the content."""
        return ""

    def notes(self) -> list[str]:
        """Sentences about what was found that a user should read once, such as files that were passed over."""
        return []

    def caption(self, image_id: str) -> str:
        """A sentence that describes the image.

        Raises:
            UserError: the dataset has none.
        """
        raise UserError(f"dataset {self.name} has no captions; give prompt=...")
