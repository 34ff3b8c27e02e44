"""A pixel-space noise-prediction network as the engine's prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from isdiff.errors import UserError
from isdiff.prediction import Prediction
from isdiff.priors.memory import Halving
from isdiff.trajectory import Task

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(precision: str, device: torch.device) -> str:
    """``auto``: bf16 where the device computes in it, else fp32 (CPU) or fp16 (GPU)."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    try:
        return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
    except AttributeError:
        return "fp32"


def resolve_device(device: str) -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        UserError: no device has that name, or this machine does not have it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise UserError(f"runtime.device is {device!r}; it must be auto, cpu, cuda or cuda:1, for example") from None
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise UserError(f"runtime.device is {device!r}, but torch sees {count} GPUs here; give cpu or auto")
    elif chosen.type != "cpu":
        try:
            torch.zeros(1, device=chosen)
        except (RuntimeError, NotImplementedError, AssertionError):
            raise UserError(f"runtime.device is {device!r}, which does not work here; give cpu or auto") from None
    return chosen


class PixelPrior:
    """Runs ``net(x, timesteps, y)`` on whatever batch the engine has.

    Batches are filled up to a multiple of ``round_to`` images. Convolution kernels are chosen by shape, and with
    ragged batches the last bits of an image would depend on how many others happened to be alive.

    Args:
        net: answers (B, C, H, W) noise, or (B, 2C, H, W) noise and variance.
        precision: ``fp32``, ``bf16`` or ``fp16``: dtype of weights and activations. Images stay float32.
        guidance: from (x, timesteps, labels) to a gradient shaped like x, e.g. of a classifier.
        memory_format: of weights and batches; channels-last convolutions are the faster ones.
    """

    def __init__(
        self,
        net: nn.Module,
        device: torch.device,
        precision: str = "fp32",
        round_to: int = 4,
        guidance: Callable[[Tensor, Tensor, Tensor | None], Tensor] | None = None,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        self.net: Callable[..., Tensor] = net.eval().to(device, DTYPES[precision]).to(memory_format=memory_format)
        self.guidance, self.memory_format = guidance, memory_format
        self.device, self.precision, self.round_to = device, precision, round_to
        self.fitting = Halving(self.batch)

    def prepare(self, task: Task, prompt: str = "") -> Task:
        """Tasks are in this model's space already.

        Raises:
            UserError: a prompt, which this model cannot read.
        """
        if prompt:
            raise UserError("this model takes no prompt")
        return task

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        return self.fitting(states, timesteps, [task.condition for task in tasks])

    def decode(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> Sequence[Tensor]:
        """States are pictures already."""
        return states

    def batch(self, images: Sequence[Tensor], timesteps: Sequence[int], conditions: Sequence) -> list[Prediction]:
        count = len(images)
        missing = -count % self.round_to
        x = torch.stack([*images, *[images[-1]] * missing]).to(memory_format=self.memory_format)
        t = torch.tensor([*timesteps, *[timesteps[-1]] * missing], device=self.device)
        y = None
        if conditions[0] is not None:
            y = torch.tensor([*conditions, *[conditions[-1]] * missing], device=self.device)
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
