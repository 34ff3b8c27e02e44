"""Pixel-space networks as priors: with classifier guidance, and asked at the levels of rectified flow."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isdiff.devices import DTYPES
from isdiff.prediction import Prediction
from isdiff.priors.base import Halving, OnPixels, Prior
from isdiff.trajectory import Task


class PixelPrior(OnPixels):
    """Runs ``net(x, timesteps, y)`` on whatever batch the engine has.

    Batches are filled up to a multiple of ``pad_to`` images. Convolution kernels are chosen by shape, and with
    ragged batches the last bits of an image would depend on how many others happened to be alive.

    Args:
        net: answers (B, C, H, W) noise, or (B, 2C, H, W) noise and variance.
        precision: ``fp32``, ``bf16`` or ``fp16``: dtype of weights and activations. Images stay float32.
    """

    # from (x, timesteps, labels) to a gradient shaped like x, e.g. of a classifier
    guidance: Callable[[Tensor, Tensor, Tensor | None], Tensor] | None = None
    memory_format = torch.channels_last  # of weights and batches; channels-last convolutions are the faster ones

    def __init__(self, net: nn.Module, device: torch.device, precision: str = "fp32", pad_to: int = 4) -> None:
        self.net: Callable[..., Tensor] = net.eval().to(device, DTYPES[precision]).to(memory_format=self.memory_format)
        self.device, self.precision, self.pad_to = device, precision, pad_to
        self.fitting = Halving(self.batch)

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        return self.fitting(states, timesteps, [task.condition for task in tasks])

    def batch(self, images: Sequence[Tensor], timesteps: Sequence[int], conditions: Sequence[Any]) -> list[Prediction]:
        count, missing = len(images), -len(images) % self.pad_to
        images, timesteps, conditions = ([*row, *[row[-1]] * missing] for row in (images, timesteps, conditions))
        x = torch.stack(images).to(memory_format=self.memory_format)
        t = torch.tensor(timesteps, device=self.device)
        y = None if conditions[0] is None else torch.tensor(conditions, device=self.device)
        out = plain(self.net(x, t, y))[:count]
        scores = [None] * count if self.guidance is None else plain(self.guidance(x, t, y))[:count]
        learned = out.shape[1] == 2 * x.shape[1]
        channels = x.shape[1] if learned else out.shape[1]
        return [
            Prediction(o[:channels], o[channels:] if learned else None, score)
            for o, score in zip(out, scores, strict=True)
        ]


def plain(answers: Tensor) -> Tensor:
    """float32, each image in one piece."""
    return answers.to(torch.float32, memory_format=torch.contiguous_format).contiguous()  # one pass where types differ


class ClassifierGuidance:
    """``scale * grad_x log p(y | x_t)`` of a noisy-image classifier (Dhariwal & Nichol 2021, Sec. 4.1).

    ``classifier(x, timesteps)`` gives logits (B, K). Scale 1 follows the model's own posterior.
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


MOST = 20.0  # noise to signal; beyond it networks were hardly trained


class FlowPath:
    """A prior for samplers that walk flow levels.

    Args:
        prior: predicts noise.
        alphas_cumprod: (T,) float64, of its process.
        num_timesteps: what a flow timestep is divided by to get ``s``.
        most: the largest ratio of noise to signal at which the network is asked.
    """

    def __init__(self, prior: Prior, alphas_cumprod: Tensor, num_timesteps: int = 1000, most: float = MOST) -> None:
        self.prior, self.num_timesteps, self.most = prior, num_timesteps, most
        self.prepare, self.decode = prior.prepare, prior.decode
        self.ratios = ((1 - alphas_cumprod) / alphas_cumprod).sqrt().tolist()

    def ratio(self, s: float) -> float:
        return min(max(s / (1 - s) if s < 1 else self.most, self.ratios[0]), self.most)

    def timestep(self, ratio: float) -> float:
        """Where the network's own process has this ratio, linear between its timesteps."""
        low = min(max(bisect_right(self.ratios, ratio) - 1, 0), len(self.ratios) - 2)
        return low + (ratio - self.ratios[low]) / (self.ratios[low + 1] - self.ratios[low])

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        levels = [timestep / self.num_timesteps for timestep in timesteps]
        ratios = [self.ratio(s) for s in levels]
        scaled = [x / ((1 - s) ** 2 + s**2) ** 0.5 for x, s in zip(states, levels, strict=True)]
        answers = self.prior.predict(scaled, [self.timestep(ratio) for ratio in ratios], tasks)
        found = []
        for x, u, s, ratio, answer in zip(states, scaled, levels, ratios, answers, strict=True):
            clean = torch.sub((1 + ratio**2) ** 0.5 * u, answer.noise, alpha=ratio)
            found.append(Prediction((x - (1 - s) * clean) / s, clean=clean))
        return found
