"""Seeds that libraries make: ways to fill holes that need no network, and stand on their own as methods."""

from abc import abstractmethod
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from isdiff.checks import FromOne, Whole
from isdiff.errors import Missing, UserError
from isdiff.seeds.base import PerTask, Seed
from isdiff.trajectory import Stream, Task


@dataclass(eq=False)
class PictureSeed(Seed):
    """Fills pictures of 8 bits a colour; the same for every attempt at an image."""

    pictures_only = True
    filled: PerTask[Tensor] = field(default_factory=PerTask, init=False)  # they go when the tasks do

    @abstractmethod
    def inpaint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Fill the hole (H, W) bool, neither empty nor everything, of (H, W, 3) uint8 that are gray inside it."""

    def fill(self, task: Task, stream: Stream) -> Tensor:
        check_picture(task)
        if task not in self.filled:
            known = task.image.masked_fill(task.hole, 0.0).clamp(-1, 1)  # libraries look at what is hidden
            pixels = ((known + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
            made = self.inpaint(np.ascontiguousarray(pixels), task.hole[0].cpu().numpy())
            self.filled[task] = (torch.from_numpy(made).permute(2, 0, 1).float() / 127.5 - 1).to(task.image)
        return self.filled[task]


def check_picture(task: Task) -> None:
    """Refuse a task in a latent space."""
    if len(task.image) != 3 or task.pixel_hole is not task.hole:
        raise UserError(f"image {task.id}: this seed fills pictures, not latent spaces; isdiff/seed=gmm fills both")
    if task.hole.all():
        raise ValueError(f"image {task.id} has no known pixel to fill it from: its mask covers everything")


@dataclass(eq=False)
class TeleaSeed(PictureSeed):
    """OpenCV's inpainting by fast marching (Telea 2004): the colours at the hole's edge, carried inwards."""

    radius: FromOne = 3  # of the neighbourhood that a pixel is made from, in pixels

    def inpaint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.inpaint(pixels, hole.astype(np.uint8), self.radius, cv2.INPAINT_TELEA))


@dataclass(eq=False)
class PatchMatchSeed(PictureSeed):
    """Content-aware fill by PatchMatch (Barnes et al. 2009), as the package ``patchmatch-cython`` has it."""

    loops: Whole = 3  # rounds of matching and voting at every coarse scale

    def inpaint(self, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        try:
            from patchmatch_cython import inpaint_pyramid, inpaint_single
        except ImportError:
            raise Missing(["PatchMatch is missing: pip install patchmatch-cython"]) from None
        try:
            return inpaint_pyramid(pixels, hole, seed=0, em_loops=self.loops)
        except ValueError:  # at one of its scales no patch is known as a whole: single pixels always are
            return inpaint_single(pixels, hole, patch_size=1, seed=0, em_loops=self.loops)
