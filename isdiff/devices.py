"""The device that networks run on, the precision that they compute in, and networks compiled for it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from isdiff.errors import UserError

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
    """``auto`` is the GPU where there is one."""
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


def compiled(net: Any, device: torch.device, graphs: bool = False) -> Any:
    """Compile ``net`` for one shape of batches, on a CUDA device with ``graphs`` as one CUDA graph a call.

    On a CPU its weights are frozen in, and memory holds them twice. The first call compiles, which takes long and needs
    a C++ compiler; torch keeps what it compiled in ``TORCHINDUCTOR_CACHE_DIR``.
    """
    if graphs:
        return Replayed(torch.compile(net, dynamic=False, options={"triton.cudagraphs": True}))
    return torch.compile(net, dynamic=False, options={"freezing": True} if device.type == "cpu" else None)


class Replayed(torch.nn.Module):
    """A network that is one CUDA graph: it writes every answer to the same place, from which it is copied here."""

    def __init__(self, net: Callable[..., Tensor]) -> None:
        super().__init__()
        self.net = net

    def forward(self, *given: Any) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        return self.net(*given).clone()
