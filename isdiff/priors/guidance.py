"""Classifier guidance (Dhariwal & Nichol 2021, Sec. 4.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ClassifierGuidance:
    """``scale * grad_x log p(y | x_t)`` of a noisy-image classifier.

    Args:
        classifier: ``classifier(x, timesteps)`` gives logits (B, K).
        scale: how strongly it pulls; 1 follows the model's own posterior.
    """

    def __init__(self, classifier: nn.Module, scale: float) -> None:
        self.classifier, self.scale = classifier.eval().requires_grad_(False), scale

    def __call__(self, x: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        """(B, C, H, W) for noisy images (B, C, H, W), timesteps (B,) and class labels (B,)."""
        assert labels is not None, "a classifier guides towards a class"
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            logits = self.classifier(x, timesteps.clone())
            chosen = F.log_softmax(logits.float(), dim=1)[torch.arange(len(x), device=x.device), labels.clone()]
            return self.scale * torch.autograd.grad(chosen.sum(), x)[0]
