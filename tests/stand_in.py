"""A stand-in for a GPU: tensors that say ``meta``, hold their values on the CPU, and refuse to meet CPU tensors.

``with stand_in() as waits:`` makes every tensor that is made on, or moved to, the device ``meta`` such a tensor.
Results are the CPU's. An operation on both kinds raises, as on a GPU, unless the CPU tensor has no dimensions.
``waits`` counts what would make the CPU wait for the GPU: ``.item()``, ``bool()``, ``.cpu()``, boolean indices.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

META = torch.device("meta")
ops = torch.ops.aten
WAITING = (ops._local_scalar_dense, ops.nonzero, ops.equal, ops.masked_select, ops._unique2, ops.unique_dim)
INDEXING = (ops.index, ops.index_put, ops.index_put_)


class Held(Tensor):
    """A tensor of the stand-in; ``held`` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Held:
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=META
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: a tensor of the stand-in is used outside of its with block")


def hold(value: Any) -> Any:
    return Held(value) if isinstance(value, Tensor) and not isinstance(value, Held) else value


def release(value: Any) -> Any:
    return value.held if isinstance(value, Held) else value


class Functions(TorchFunctionMode):
    """What never reaches the dispatcher with its values: new tensors of given values, and ``.tolist()``."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = torch.device(kwargs.pop("device"))
            return func(*args, **kwargs).to(device)
        if func is Tensor.new_tensor and isinstance(args[0], Held):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype} | kwargs).to(META)
        if func is Tensor.tolist and isinstance(args[0], Held):
            return args[0].cpu().tolist()
        return func(*args, **kwargs)


class Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:
                return func.decompose(*args, **kwargs)
        packet, device = func.overloadpacket, kwargs.get("device")
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        held = any(isinstance(tensor, Held) for tensor in tensors)
        foreign = [tensor for tensor in tensors if tensor.dim() and not isinstance(tensor, Held)]
        indices = [i for i in args[1] if i is not None] if packet in INDEXING else []
        if held and packet not in (ops._to_copy, ops.copy_):
            strangers = [tuple(t.shape) for t in foreign if not any(t is i and i.dtype != torch.bool for i in indices)]
            if strangers:
                raise RuntimeError(f"{func}: tensors of shapes {strangers} are on the CPU, others on the device")
        leaves = packet is ops._to_copy and device is not None and device.type == "cpu"
        leaves |= packet is ops.copy_ and not isinstance(args[0], Held)
        if held and (leaves or packet in WAITING or any(i.dtype == torch.bool for i in indices)):
            self.waits[str(packet)] += 1
        stays = held if device is None else torch.device(device).type == "meta"
        if device is not None:
            kwargs["device"] = torch.device("cpu")
        found = func(*tree_map(release, args), **tree_map(release, kwargs))
        if func._schema.is_mutable and isinstance(found, Tensor):
            return kwargs["out"] if "out" in kwargs else args[0]
        return tree_map(hold, found) if stays else found


class NoInference(torch.inference_mode):
    """Only switches gradients: torch's inference mode cannot make views of wrapped tensors."""

    def __enter__(self) -> None:
        self.before = torch.is_grad_enabled()
        torch.set_grad_enabled(not self.mode)

    def __exit__(self, *error: Any) -> None:
        torch.set_grad_enabled(self.before)


@contextlib.contextmanager
def stand_in() -> Iterator[Counter[str]]:
    """The device ``meta`` works; yields how often the CPU waited for it, by operation."""
    operations = Operations()
    with pytest.MonkeyPatch.context() as patch, Functions(), operations:
        for name in ("__enter__", "__exit__"):
            patch.setattr(torch.inference_mode, name, getattr(NoInference, name))
        yield operations.waits
