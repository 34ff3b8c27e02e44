"""Metrics by name."""

from __future__ import annotations

from pathlib import Path

from isdiff.errors import UserError
from isdiff.metrics.base import Metric
from isdiff.paths import located


def build_metrics(names: list[str], model_root: str, download: bool, features: str | None = None) -> list[Metric]:
    """
    Args:
        download: fetch missing weights of published metrics.
        features: shipped model whose feature network measures drawn images; None: no such network knows these images.
    Raises:
        UserError: an unknown name.
    """
    from isdiff.metrics.attributes import Frechet, Perceptual
    from isdiff.metrics.learned import FID, LPIPS
    from isdiff.metrics.lite0 import Lite0Frechet, Lite0KID, Lite0Perceptual
    from isdiff.metrics.structure import SSIM
    from isdiff.metrics.text import CaptionScore, CLIPScore

    makers = {
        "perceptual": lambda: Perceptual(model_root, features),
        "frechet": lambda: Frechet(model_root, features),
        "lpips": lambda: LPIPS(model_root, download),
        "fid": lambda: FID(model_root, download),
        "lite0_perceptual": Lite0Perceptual,
        "lite0_frechet": Lite0Frechet,
        "lite0_kid": Lite0KID,
        "ssim": SSIM,
        "caption_score": lambda: CaptionScore(located(Path(model_root) / "avatars64-latent")),
        "clip_score": lambda: CLIPScore(located(Path(model_root) / "clip_vit_l14")),
    }
    if unknown := [name for name in names if name not in makers]:
        raise UserError(f"metrics.names has {unknown[0]!r}; there are {', '.join(makers)}")
    return [makers[name]() for name in names]
