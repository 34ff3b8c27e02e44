"""How a fill meets what is known: soft masks, and results that are blended at the edge of the hole."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from isdiff.checks import check_choice, check_flag, check_whole
from isdiff.priors.patches.membrane import match_edge

PASTE, FEATHER, POISSON = "paste", "feather", "poisson"
TOLERANCE = 1.0  # of pictures in [-1, 1]: of larger steps at the edge less is spread, they may be borders of things


@dataclass(frozen=True)
class Edge:
    """How a fill meets what is known. By default it is pasted: known pixels stay, bit for bit.

    Args:
        kind: ``paste``, ``feather`` or ``poisson``. ``feather`` fills ``band`` pixels more on all sides and fades the
            fill out over them: known pixels change there, and nowhere else. ``poisson`` spreads the step in colour at
            the edge over the hole (Perez et al. 2003; both sides are means over 5x5 pixels), known pixels stay.
        band: see above.
        match_color: fit each colour's gain and offset so that what the model makes of known pixels agrees with them.
    """

    kind: str = PASTE
    band: int = 8
    match_color: bool = False

    def __post_init__(self) -> None:
        check_choice("edge", self.kind, (PASTE, FEATHER, POISSON))
        check_whole("band", self.band)
        check_flag("match_color", self.match_color)

    def matched(self, picture: np.ndarray, pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Match what a model made, (h, w, 3) in 0..255, to ``pixels`` where they are known, (h, w) bool."""
        if not self.match_color or not known.any():
            return picture
        made, given = picture[known], pixels[known].astype(np.float32)
        spread, together = made.var(0), ((made - made.mean(0)) * (given - given.mean(0))).mean(0)
        gain = np.where(spread > 1, together / np.maximum(spread, 1), 1)
        return (picture - made.mean(0)) * gain + given.mean(0)

    def evened(self, values: np.ndarray, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Spread the step at the edge of ``hole`` (H, W) bool over the values in it, (H, W, 3) in 0..255."""
        if self.kind != POISSON:
            return values
        picture = np.where(hole[..., None], values, pixels).astype(np.float32) / 127.5 - 1
        shift = match_edge(torch.from_numpy(picture).permute(2, 0, 1), torch.from_numpy(hole), TOLERANCE)
        return (values + 127.5 * shift.permute(1, 2, 0).numpy()).clip(0, 255)


PASTED = Edge()


def fading(hole: np.ndarray, pixels: int) -> np.ndarray:
    """1 in a hole (H, W) bool, falling to 0 over so many pixels outside it; float32."""
    if not hole.any():
        return hole.astype(np.float32)
    away = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (1 - away / (pixels + 1)).clip(0, 1)
