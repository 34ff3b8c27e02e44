"""Networks from disk: safetensors with the network's class and arguments in the header.

A file is loaded whole and right, or refused with one sentence: what a run shows is never half a network's work.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from isdiff.errors import Missing, UserError
from isdiff.io.files import sha256_file
from isdiff.io.fingerprint import remembered_sha256
from isdiff.io.hub import SUMS, brief, check_finite, load_part, verify
from isdiff.nets.classifier import Classifier
from isdiff.nets.ddim import DDIMUNet
from isdiff.nets.drawings import AttributeNet, CaptionNet
from isdiff.nets.unet import UNet

Net = TypeVar("Net", bound=nn.Module)
KINDS: tuple[type[nn.Module], ...] = (UNet, DDIMUNet, Classifier)
NETS = {f"{cls.__module__}.{cls.__name__}": cls for cls in KINDS}


def build_net(arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network of class ``_target_`` (default: guided diffusion's U-Net) with the other entries as arguments."""
    options = dict(arguments)
    target = options.pop("_target_", "isdiff.nets.unet.UNet")
    if str(target) not in NETS:
        raise UserError(f"_target_ is {str(target)[:80]!r}; only {', '.join(NETS)} can be built")
    try:
        return NETS[target](**options)
    except Exception as error:  # whatever torch and Python say of odd sizes
        given = json.dumps(options, default=str)[:200]
        raise UserError(f"no {NETS[target].__name__} can be built of {given} ({brief(error)})") from None


def make_net(source: Path, tensors: Mapping[str, Tensor], make: Callable[[], Net]) -> Net:
    """Give the network that ``make`` builds exactly ``tensors``, as float32."""
    try:
        with torch.device("meta"):  # a header may ask for more memory than there is
            net = make()
    except Exception as error:
        raise UserError(f"weights {source}: the header describes no network ({brief(error)})") from None
    fill(net, tensors, source)
    return net.float()


def fill(net: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Give a network exactly ``tensors``, in their precision."""
    try:
        net.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        first, *more = str(error).splitlines()
        fault = re.sub(r'(".*?").*', r"\1", (more or [first])[0].strip())[:300]
        raise UserError(f"weights {source} do not fit {type(net).__name__}: {fault}") from None


def open_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and header of a safetensors file; its hash is checked where ``<path>.sha256`` exists."""
    if not path.exists():
        raise Missing([f"weights {path} are missing: isdiff weights get {path.parent.name}"])
    note = path.with_name(path.name + ".sha256")
    try:
        if not path.is_file():
            raise ValueError("it is a folder or a device")
        if note.exists() and remembered_sha256(path) not in note.read_bytes().decode(errors="replace").split():
            raise ValueError(f"the sha256 in {note.name} is another one")
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except Exception as error:  # safetensors has its own, and passes on Python's for dtypes that torch lacks
        reason = getattr(error, "strerror", None) or brief(error)
        raise UserError(f"weights {path} are not a whole safetensors file ({reason}); restore it") from None
    check_finite(tensors, path)
    return tensors, header


def plain_state(path: Path, state: Any) -> dict[str, Tensor]:
    """Unwrap a published state dict, without the ``module.`` of data-parallel training."""
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    items = state.items() if isinstance(state, dict) else [("", state)]
    if odd := [key for key, value in items if not isinstance(key, str) or not isinstance(value, Tensor)]:
        raise UserError(f"{path} is not a plain state dict: {str(odd[0])[:100]!r} is no named tensor")
    return {name.removeprefix("module."): value for name, value in items}


def save_weights(path: Path, net: nn.Module, header: dict[str, str], dtype: torch.dtype | None = torch.float16) -> None:
    """Write the weights in ``dtype`` (None: their own), the header, and the file's sha256 next to it."""
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


def json_of(path: Path, header: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        return dict(json.loads(header[key]))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        what = f"the header has no JSON object {key!r} ({brief(error)})"
        raise UserError(f"weights {path}: {what}; use a file that isdiff wrote") from None


def load_net(path: Path) -> nn.Module:
    """Load the network in a safetensors file, float32."""
    tensors, header = open_weights(path)
    arguments = json_of(path, header, "net")
    return make_net(path, tensors, lambda: build_net(arguments))


def load_attribute_net(path: Path) -> AttributeNet:
    tensors, header = open_weights(path)
    classes = json_of(path, header, "classes")
    return make_net(path, tensors, lambda: AttributeNet(classes)).eval()


def load_caption_net(folder: Path) -> tuple[CaptionNet, Any]:
    """Load the image and caption encoders in a latent model's folder, and their tokenizer."""
    from transformers import AutoTokenizer, CLIPTextModel

    path = folder / "captions.safetensors"
    if not path.exists():
        raise Missing([f"{path} is missing: python scripts/train.py train=avatars64_captions"])
    if (folder / SUMS).exists():
        verify(folder)
    tensors, header = open_weights(path)
    if not header.get("end", "").isdecimal():
        raise UserError(f"weights {path}: the header names no end token ('end'); train avatars64_captions again")
    text = load_part(CLIPTextModel, folder, "text_encoder")
    net = CaptionNet(text, int(header["end"]))
    fill(net, {f"text.{name}": value for name, value in text.state_dict().items()} | tensors, path)
    return net.float().eval(), load_part(AutoTokenizer, folder, "tokenizer")
