"""An image to inpaint, in the latent space of a model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from isdiff.trajectory import Task


@dataclass(frozen=True, eq=False)
class LatentTask(Task):
    """A task in latent space: ``image`` (4, h, w) are the masked image's latents, ``hole`` the mask channel.

    Attributes:
        context: (1 or 2, tokens, E), the embedded prompts; two for classifier-free guidance, the negative one first.
        tokens: (tokens,) bool, those of the user's prompt.
        holes: the hole at the sizes of attention layers, (gh, gw) bool each, from the largest to the smallest.
        hidden: (1, H, W) bool, the hole in the picture.
    """

    context: Tensor | None = None
    tokens: Tensor | None = None
    holes: tuple[Tensor, ...] = ()
    hidden: Tensor | None = None

    @property
    def pixel_hole(self) -> Tensor:
        assert self.hidden is not None
        return self.hidden

    def reference(self, picture: Tensor) -> Tensor:
        """Both sides from the decoded picture, in which the autoencoder's colour shifts cancel."""
        return picture
