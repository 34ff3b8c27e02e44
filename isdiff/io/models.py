"""Networks from disk: safetensors with the network's class and arguments in the header.

A file is loaded whole and right, or refused with one sentence: what a run shows is never half a network's work.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from isdiff.errors import Missing, UserError
from isdiff.io.files import is_sha256, plain, sha256_file
from isdiff.io.hub import SUMS, brief, check_tensors, is_finite, load_part, verify
from isdiff.nets.attributes import AttributeNet
from isdiff.nets.captions import CaptionNet
from isdiff.nets.classifier import Classifier
from isdiff.nets.ddim import DDIMUNet
from isdiff.nets.unet import UNet

NETS = {
    "isdiff.nets.unet.UNet": UNet,
    "isdiff.nets.ddim.DDIMUNet": DDIMUNet,
    "isdiff.nets.classifier.Classifier": Classifier,
}


def build_net(arguments: Mapping[str, Any]) -> nn.Module:
    """A network of class ``_target_`` (default: the guided-diffusion U-Net) with the other entries as arguments.

    Raises:
        UserError: another class, or arguments that it does not take.
    """
    cls, options = checked_arguments(arguments)
    try:
        return cls(**options)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        given = json.dumps(options, default=str)[:200]
        raise UserError(f"no {cls.__name__} can be built of {given} ({brief(error)})") from None


def checked_arguments(arguments: Mapping[str, Any]) -> tuple[type[nn.Module], dict[str, Any]]:
    """The class and its arguments, whose names and types are those of its constructor.

    Raises:
        UserError: they are not.
    """
    options = dict(arguments)
    target = options.pop("_target_", "isdiff.nets.unet.UNet")
    if not isinstance(target, str) or target not in NETS:
        raise UserError(f"_target_ is {str(target)[:80]!r}; only {', '.join(NETS)} can be built")
    cls = NETS[target]
    hints = typing.get_type_hints(vars(cls)["__init__"])
    for name, value in options.items():
        if name not in hints:
            raise UserError(
                f"{cls.__name__} takes no argument {name[:80]!r}; it takes {', '.join(sorted(hints))[:300]}"
            )
        if not is_of(value, hints[name]):
            kind = inspect.signature(cls).parameters[name].annotation
            raise UserError(f"{cls.__name__}'s {name} is {repr(value)[:80]}; it must be of type {kind}")
    return cls, options


def is_of(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of the annotated type; numbers must be finite."""
    inner = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(is_of(value, each) for each in inner)
    if typing.get_origin(hint) in (Sequence, tuple):
        return isinstance(value, (list, tuple)) and all(is_of(each, inner[0]) for each in value)
    if typing.get_origin(hint) is dict:
        return isinstance(value, dict)
    if hint in (int, float) and isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, hint) and (hint is not float or math.isfinite(value))


def fitted_net(arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """The network of ``arguments`` with exactly ``tensors``, float32.

    It is tried on the meta device first: a header may ask for more memory than there is.

    Raises:
        UserError: arguments or tensors do not fit, with the first one that does not.
    """
    cls, options = checked_arguments(arguments)
    full = {name: p.default for name, p in inspect.signature(cls).parameters.items()} | options
    levels = len(full["ch_mult" if cls is DDIMUNet else "channel_mult"])
    # Every block has tensors of its own; without this, building could take forever even without memory.
    if levels * (1 + full["num_res_blocks"]) > len(tensors):
        raise UserError(
            f"{cls.__name__}'s channel_mult and num_res_blocks ask for more blocks than {len(tensors)} tensors make"
        )
    with torch.device("meta"):
        plan = build_net(arguments)
    check_tensors(f"they do not fit {cls.__name__}", plan.state_dict(), tensors)
    side = full["image_size"] if cls is Classifier else full.get("patch_size", 1) * 2 ** (levels + 2)
    try_out(plan, side, options)
    net = build_net(arguments)
    net.load_state_dict({name: value.float() for name, value in tensors.items()})
    return net


def try_out(plan: nn.Module, side: int, options: dict[str, Any]) -> None:
    """One forward pass without numbers: heads, patches and classes are in no tensor's shape.

    Raises:
        UserError: the network cannot run on images.
    """
    name = type(plan).__name__
    try:
        with torch.device("meta"), torch.no_grad():
            labelled = isinstance(plan, UNet) and plan.num_classes is not None
            labels = (torch.zeros(1, dtype=torch.long),) if labelled else ()
            out = plan.eval()(torch.empty(1, 3, side, side), torch.zeros(1), *labels)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        given = json.dumps(options, default=str)[:200]
        raise UserError(f"the {name} of {given} takes no RGB images ({brief(error)})") from None
    if not isinstance(plan, Classifier) and out.shape[1] not in (3, 6):
        raise UserError(f"the {name} has {out.shape[1]} output channels; it must have 3 or 6")


def open_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file whose hash, when ``<path>.sha256`` exists, is checked.

    Raises:
        Missing: no such file.
        UserError: not a file that may be read, not safetensors, another hash than recorded, or not finite.
    """
    if not os.path.exists(path):
        raise Missing([f"weights {path} are missing: isdiff weights get {path.parent.name}"])
    if not path.is_file():
        raise UserError(f"weights {path} are a folder or a device; give the .safetensors file")
    try:
        check_note(path)
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except OSError as error:
        raise UserError(f"weights {path} cannot be read ({error.strerror or brief(error)})") from None
    except UserError:
        raise
    except Exception as error:  # safetensors has its own, and passes on Python's for dtypes that torch lacks
        raise UserError(f"weights {path} are not a whole safetensors file ({brief(error)}); restore it") from None
    for name, value in tensors.items():
        if not is_finite(value):
            raise UserError(f"weights {path}: tensor {name[:100]} is not finite (NaN or infinity); restore the file")
    return tensors, header


def plain_state(path: Path, state: Any) -> dict[str, Tensor]:
    """A state dict out of the wrappers it is published in, without the ``module.`` of data-parallel training.

    Raises:
        UserError: it is something else.
    """
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise UserError(f"{path} is not a plain state dict: it holds a {type(state).__name__}")
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        kind = type(state[odd[0]]).__name__
        raise UserError(f"{path} is not a plain state dict: {odd[0][:100]} is a {kind}, no tensor")
    return {name.removeprefix("module."): value for name, value in state.items()}


def check_note(path: Path) -> None:
    """
    Raises:
        UserError: the file's sha256 is not the one that was noted.
    """
    note = path.with_name(path.name + ".sha256")
    if not note.exists():
        return
    words = plain(note).read_bytes().decode("utf-8", "replace").split()
    if not words or not is_sha256(words[0]):
        raise UserError(f"{note} holds no sha256; restore it, or delete it to use {path.name} unchecked")
    if words[0] != sha256_file(path):
        raise UserError(f"weights {path} do not have the sha256 recorded in {note.name}; restore the file")


def save_weights(path: Path, net: nn.Module, header: dict[str, str], dtype: torch.dtype | None = torch.float16) -> None:
    """The weights in ``dtype`` (None: their own), the header, and the file's sha256 next to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().to("cpu", dtype).contiguous() for name, value in net.state_dict().items()}
    partial = path.with_name(f".{path.name}.tmp")
    try:
        save_file(tensors, partial, metadata=header)
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    path.with_name(path.name + ".sha256").write_text(f"{sha256_file(path)}  {path.name}\n")


def json_of(path: Path, header: Mapping[str, str], key: str, kind: str) -> dict[str, Any]:
    """The JSON object under ``key`` of a weights file's header.

    Raises:
        UserError: there is none.
    """
    try:
        value = json.loads(header.get(key, "null"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"weights {path}: {key!r} in the header is not JSON ({brief(error)})") from None
    if not isinstance(value, dict):
        raise UserError(f"weights {path}: the header names no {kind} ({key!r}); use a file that isdiff wrote")
    return value


def load_net(path: Path) -> nn.Module:
    """The network in a safetensors file, float32.

    Raises:
        Missing: the weights are not here.
        UserError: they are damaged, not finite, or not those of the network that their header names.
    """
    tensors, header = open_weights(path)
    arguments = json_of(path, header, "net", "network")
    try:
        return fitted_net(arguments, tensors)
    except UserError as error:
        raise UserError(f"weights {path}: {error}") from None


def load_attribute_net(path: Path) -> AttributeNet:
    """
    Raises:
        Missing: the weights are not here.
        UserError: they are damaged, not finite, or no attribute classifier's.
    """
    tensors, header = open_weights(path)
    classes = json_of(path, header, "classes", "attribute classes")
    try:
        if not all(isinstance(values, list) for values in classes.values()):
            raise UserError("classes in the header must be a list for every attribute")
        with torch.device("meta"):
            plan = AttributeNet(classes)
        check_tensors("they do not fit AttributeNet", plan.state_dict(), tensors)
    except (KeyError, RuntimeError, TypeError, ValueError, UserError) as error:
        what = error if isinstance(error, UserError) else f"the header's classes cannot be used ({brief(error)})"
        raise UserError(f"weights {path}: {what}") from None
    net = AttributeNet(classes)
    net.load_state_dict({name: value.float() for name, value in tensors.items()})
    return net.eval()


def load_caption_net(folder: Path) -> tuple[CaptionNet, Any]:
    """The image and caption encoders in a latent model's folder, and their tokenizer.

    Raises:
        Missing: they are not here.
        UserError: files are damaged or not those whose hashes were noted.
    """
    from transformers import AutoTokenizer, CLIPTextModel

    path = folder / "captions.safetensors"
    if not path.exists():
        raise Missing([f"{path} is missing: isdiff train train=avatars64_captions"])
    if (folder / SUMS).exists():
        verify(folder)
    tensors, header = open_weights(path)
    if not header.get("end", "").isdecimal():
        raise UserError(f"weights {path}: the header names no end token ('end'); train avatars64_captions again")
    text = load_part(CLIPTextModel, folder, "text_encoder")
    tokenizer = load_part(AutoTokenizer, folder, "tokenizer")
    net = CaptionNet(text, int(header["end"]))
    whole = {f"text.{name}": value for name, value in text.state_dict().items()} | tensors
    try:
        check_tensors("they do not fit CaptionNet", net.state_dict(), whole)
    except UserError as error:
        raise UserError(f"weights {path}: {error}") from None
    net.load_state_dict(whole)
    return net.float().eval(), tokenizer
