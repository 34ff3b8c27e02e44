"""SSIM between results and truths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from isdiff.metrics.attributes import at_once, batches
from isdiff.metrics.base import PairMetric


class SSIM(PairMetric):
    """Structural similarity (Wang et al. 2004) by ``torchmetrics``: Gaussian window of 11 pixels, mean of channels."""

    name, title, higher_is_better, limits = "ssim", "SSIM", True, (-1.0, 1.0)

    @torch.inference_mode()
    def values(self, results: list[np.ndarray], truths: list[np.ndarray], prompts: Sequence[str] = ()) -> np.ndarray:
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        size = at_once(results[0])
        pairs = zip(batches(results, size), batches(truths, size), strict=True)
        found = [torch.as_tensor(ssim(a, b, reduction="none", data_range=(-1.0, 1.0))) for a, b in pairs]
        return torch.cat([v.reshape(-1) for v in found]).numpy()
