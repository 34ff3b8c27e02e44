"""What a mask generator is."""

import hashlib
from abc import ABC, abstractmethod

import numpy as np

from isdiff.component import Component

GENERATED = "generated"  # the stamp of a hole that follows from the id and the configuration alone


class MaskSource(Component, ABC):
    """Gives every image its hole, a function of the image's id, its size and the configuration alone."""

    not_hashed = ("path",)
    labels = ("name", "task")

    @abstractmethod
    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        """(height, width), bool, True = generate."""

    def stamp(self, image_id: str) -> str:
        """A cheap signature of the file that the hole comes from, or :data:`GENERATED`. Never raises.

        Equal stamps: surely the same content; different ones, or ``""``: look at the content.
        """
        return ""


class GeneratedMask(MaskSource):
    def stamp(self, image_id: str) -> str:
        return GENERATED


def random_state(seed: int, image_id: str) -> np.random.RandomState:
    """The legacy generator, whose draws are frozen for good, keyed by (seed, image id)."""
    digest = hashlib.sha256(f"mask/{seed}/{image_id}".encode()).digest()
    return np.random.RandomState(int.from_bytes(digest[:4], "little"))
