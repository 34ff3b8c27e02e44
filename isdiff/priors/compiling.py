"""Networks compiled for the device that they run on.

torch keeps what it compiled in ``TORCHINDUCTOR_CACHE_DIR``, by default ``torchinductor_USER`` in the folder for
temporary files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def compiled(net: Any, device: torch.device, graphs: bool = False) -> Any:
    """``net`` through torch.compile for one shape of batches.

    On a CPU its weights are frozen in, and memory holds them twice. The first call compiles, which takes long and needs
    a C++ compiler.

    Args:
        graphs: on a CUDA device, replay all of a call's kernels as one CUDA graph.
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
