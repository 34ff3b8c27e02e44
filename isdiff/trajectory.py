"""One image on its way: what is asked, where it stands, and its own source of noise."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Task:
    """One image with its hole, as the engine takes it.

    Attributes:
        id: names the image; with the run's seed it fixes every random number of its trajectory.
        image: (C, H, W), float32 in [-1, 1]; what it holds inside the hole is never used.
        hole: (1, H, W), bool, True = generate.
        condition: whatever the prior needs besides the image (a class label, a prompt, ...).
        truth: the whole image, where a run may know it (the oracle seed).
        sure: (1, H, W), bool, what a seed is fitted to; default: everything outside the hole.
        guess: a clean image that attempts begin with, in the place of a seed or of noise alone.
        strength: (1, H, W), 1 where a pixel is generated from the start, 0 < s < 1 where it stays known until noise is
            down to s of the process; 0 outside the hole. None: 1 in all of the hole.
        seconds: what the encoders of image and prompt took.
    """

    id: str
    image: Tensor
    hole: Tensor
    condition: Any = None
    truth: Tensor | None = None
    sure: Tensor | None = None
    guess: Tensor | None = None
    strength: Tensor | None = None
    seconds: float = 0.0

    @property
    def pixel_hole(self) -> Tensor:
        """The hole in the picture; another one than ``hole`` for tasks in a latent space."""
        return self.hole

    def reference(self, picture: Tensor) -> Tensor:
        """Where DCE takes the known pixels from when it judges ``picture``: the input."""
        return self.image

    def compose(self, inside: Tensor, known: Tensor | None = None) -> Tensor:
        """``inside`` in the hole, ``known`` (default: the image) elsewhere."""
        return torch.where(self.hole, inside, self.image if known is None else known)


class Stream:
    """Normal noise that depends on (run seed, image id, attempt) alone; drawn on the CPU, so on no device's whims."""

    def __init__(self, run_seed: int, image_id: str, attempt: int = 0) -> None:
        key = hashlib.sha256(f"{run_seed}/{image_id}/{attempt}".encode()).digest()
        self.entropy = int.from_bytes(key[:8], "little") >> 1
        self.generator = torch.Generator().manual_seed(self.entropy)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal noise of the shape of ``like``, float32, on its device."""
        return torch.randn(like.shape, generator=self.generator).to(like.device)

    def numpy(self) -> np.random.Generator:
        """An independent numpy generator of the same key, for seeds and fits."""
        return np.random.default_rng(self.entropy)


@dataclass
class Attempt:
    """What an attempt began with and what its checkpoint said (``dce`` is None if it was never judged)."""

    start_timestep: float
    dce: float | None = None


@dataclass
class Trajectory:
    """The state of one image in one attempt.

    Attributes:
        task: its hole is what is generated now: less than ``whole``'s at first, where the mask is soft.
        plan: indices into the grid, from the start to -1, that a sampler walks along.
        x: (C, H, W) float32, the noisy image where the sampler stands.
        x0: (C, H, W), the latest prediction of the clean image, before any correction; None at the start.
        start: (C, H, W), ``x`` as the attempt began.
    """

    task: Task
    stream: Stream
    plan: tuple[int, ...]
    x: Tensor
    x0: Tensor | None = None

    def __post_init__(self) -> None:
        self.start, self.whole = self.x, self.task

    def soften(self, level: float) -> None:
        """Keep known what the mask's strength does not reach at this share of the process (Levin & Fried 2023)."""
        if self.whole.strength is not None:
            self.task = replace(self.whole, hole=self.whole.hole & (self.whole.strength >= level))

    def noise(self) -> Tensor:
        """Fresh standard normal noise of this attempt, (C, H, W)."""
        return self.stream.normal(like=self.x)
