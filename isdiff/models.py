"""Networks from disk: safetensors with the network's class and arguments in the header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from isdiff.errors import Missing, UserError
from isdiff.files import sha256_file
from isdiff.hub import SUMS, verify
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


def build_net(arguments: dict[str, Any]) -> nn.Module:
    """A network of class ``_target_`` (default: the guided-diffusion U-Net) with the other entries as arguments."""
    arguments = dict(arguments)
    return NETS[arguments.pop("_target_", "isdiff.nets.unet.UNet")](**arguments)


def open_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file whose hash, when ``<path>.sha256`` exists, is checked.

    Raises:
        Missing: no such file.
        UserError: not safetensors, or another hash than recorded.
    """
    if not path.exists():
        raise Missing([f"weights {path} are missing: python scripts/weights.py get {path.parent.name}"])
    recorded = path.with_name(path.name + ".sha256")
    if recorded.exists() and recorded.read_text().split()[0] != sha256_file(path):
        raise UserError(f"weights {path} do not have the sha256 recorded in {recorded.name}; restore the file")
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"weights {path} are not a whole safetensors file ({error})") from None


def save_weights(path: Path, net: nn.Module, header: dict[str, str], dtype: torch.dtype | None = torch.float16) -> None:
    """The weights in ``dtype`` (None: their own), the header, and the file's sha256 next to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().to("cpu", dtype).contiguous() for name, value in net.state_dict().items()}
    partial = path.with_name(f".{path.name}.tmp")
    save_file(tensors, partial, metadata=header)
    partial.chmod(0o644)
    partial.replace(path)
    path.with_name(path.name + ".sha256").write_text(f"{sha256_file(path)}  {path.name}\n")


def load_net(model: DictConfig) -> nn.Module:
    """The network of a ``model`` configuration, float32.

    ``weights=random`` gives the network that the manifest lists under that name, untrained, to check sizes and speed.

    Raises:
        Missing: the weights are not here.
        UserError: they are damaged.
    """
    if model.weights == "random":
        from isdiff.weights import Weights

        torch.manual_seed(0)
        return build_net(Weights().entry(model.name).net)
    tensors, header = open_weights(Path(model.weights))
    net = build_net(json.loads(header["net"]))
    net.load_state_dict({name: value.float() for name, value in tensors.items()})
    return net


def load_attribute_net(path: Path) -> AttributeNet:
    tensors, header = open_weights(path)
    net = AttributeNet(json.loads(header["classes"]))
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
        raise Missing([f"{path} is missing: python scripts/train.py train=avatars64_captions"])
    if (folder / SUMS).exists():
        verify(folder)
    tensors, header = open_weights(path)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True)
    net = CaptionNet(text, int(header["end"]))
    whole = {f"text.{name}": value for name, value in text.state_dict().items()}
    net.load_state_dict(whole | tensors)
    return net.float().eval(), AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
