"""The device that networks run on, and the precision that they compute in."""

from __future__ import annotations

import torch

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
