"""Pixel models from disk: safetensors with the network's arguments in the header."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from omegaconf import DictConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from isdiff.errors import UserError
from isdiff.files import sha256_file
from isdiff.nets.attributes import AttributeNet
from isdiff.nets.unet import UNet


def open_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file whose hash, when ``<path>.sha256`` exists, is checked.

    Raises:
        UserError: no such file, not safetensors, or another hash than recorded.
    """
    if not path.exists():
        raise UserError(f"weights {path} are missing; they ship with the repository, or train them (scripts/train.py)")
    recorded = path.with_name(path.name + ".sha256")
    if recorded.exists() and recorded.read_text().split()[0] != sha256_file(path):
        raise UserError(f"weights {path} do not have the sha256 recorded in {recorded.name}; restore the file")
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"weights {path} are not a whole safetensors file ({error})") from None


def save_weights(path: Path, net: nn.Module, header: dict[str, str]) -> None:
    """fp16 weights, the header, and the file's sha256 next to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().half().cpu().contiguous() for name, value in net.state_dict().items()}
    partial = path.with_name(f".{path.name}.tmp")
    save_file(tensors, partial, metadata=header)
    partial.chmod(0o644)
    partial.replace(path)
    path.with_name(path.name + ".sha256").write_text(f"{sha256_file(path)}  {path.name}\n")


def load_unet(model: DictConfig) -> UNet:
    """The U-Net of a ``model`` configuration, float32."""
    tensors, header = open_weights(Path(model.weights))
    net = UNet(**json.loads(header["net"]))
    net.load_state_dict({name: value.float() for name, value in tensors.items()})
    return net


def load_attribute_net(path: Path) -> AttributeNet:
    tensors, header = open_weights(path)
    net = AttributeNet(json.loads(header["classes"]))
    net.load_state_dict({name: value.float() for name, value in tensors.items()})
    return net.eval()
