"""Networks compiled for the device that they run on."""

from __future__ import annotations

from typing import Any

import torch


def compiled(net: Any, device: torch.device) -> Any:
    """``net`` through torch.compile for one shape of batches; on a CPU with its weights frozen in, which it then holds
    twice. Compiling happens at the first call, takes its time, and needs a C++ compiler."""
    return torch.compile(net, dynamic=False, options={"freezing": True} if device.type == "cpu" else None)
