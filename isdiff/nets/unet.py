"""The U-Net of "Diffusion Models Beat GANs" (Dhariwal & Nichol 2021, Sec. 3), written for inference on new hardware.

Parameter names and shapes are those of the public guided-diffusion checkpoints, so these load with ``strict=True``;
the arithmetic runs in the dtype of the weights (or under autocast), attention is
:func:`torch.nn.functional.scaled_dot_product_attention`, and channels-last memory is kept throughout.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isdiff.diffusion.schedule import alphas_cumprod_at, named_betas

Layer = TypeVar("Layer", bound=nn.Module)

# Embeddings are computed for a multiple of so many images: products of few rows take another path through BLAS, which
# would make an image's last bits depend on the size of its batch.
ROWS = 16


def timestep_embedding(timesteps: Tensor, dim: int, max_period: float = 10_000.0) -> Tensor:
    """Sinusoidal features ``[cos, sin]`` with frequencies ``max_period ** (-k / (dim // 2))``, float32 (B, dim)."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angle = timesteps.float()[:, None] * torch.exp(-math.log(max_period) * exponent)
    features = torch.cat([angle.cos(), angle.sin()], dim=1)
    return F.pad(features, (0, 1)) if dim % 2 else features


def group_norm(channels: int, group_channels: int = 1) -> nn.GroupNorm:
    """32 groups, or as many as leave at least ``group_channels`` in each (and divide ``channels``).

    A group of one channel is normalised alone: its magnitude is lost, unless the network parks a spike at one position
    that carries it (the droplets of Karras et al. 2020, Sec. 2). The published networks have four channels and more.
    """
    most = min(32, max(1, channels // group_channels))
    return nn.GroupNorm(next(groups for groups in range(most, 0, -1) if channels % groups == 0), channels)


def zero_init(module: Layer) -> Layer:
    """Start a residual branch as the identity, the way the published networks were trained."""
    for p in module.parameters():
        nn.init.zeros_(p)
    return module


class Upsample(nn.Module):
    """Nearest-neighbour doubling, then a 3x3 convolution when ``use_conv``."""

    def __init__(self, channels: int, use_conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if use_conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Downsample(nn.Module):
    """Halving by a strided 3x3 convolution when ``use_conv``, by 2x2 means otherwise."""

    def __init__(self, channels: int, use_conv: bool) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if use_conv else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


RESAMPLERS = {"up": Upsample, "down": Downsample}


class ResBlock(nn.Module):
    """Two norm-SiLU-convolution layers around a time embedding, with optional resampling before the first convolution.

    With ``scale_shift`` the embedding modulates the second norm (``norm(h) * (1 + scale) + shift``), else it is added.
    """

    def __init__(
        self, channels: int, emb_channels: int, out_channels: int, *, dropout: float = 0.0, scale_shift: bool = True,
        resample: str | None = None, group_channels: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scale_shift = scale_shift
        self.in_layers = nn.Sequential(
            group_norm(channels, group_channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, (1 + scale_shift) * out_channels))
        last = zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.out_layers = nn.Sequential(group_norm(out_channels, group_channels), nn.SiLU(), nn.Dropout(dropout), last)
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)
        self.resample = RESAMPLERS[resample](channels, use_conv=False) if resample else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, act, conv = self.in_layers
        h = conv(self.resample(act(norm(x))))
        x = self.skip_connection(self.resample(x))
        emb = self.emb_layers(emb)[: len(x), :, None, None]
        norm, act, dropout, conv = self.out_layers
        if self.scale_shift:
            scale, shift = emb.chunk(2, dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + emb)
        return x + conv(dropout(act(h)))


class AttentionBlock(nn.Module):
    """Residual multi-head self-attention; ``qkv`` has its rows as q, k, v (new order), or heads outermost."""

    def __init__(self, channels: int, num_heads: int, new_order: bool = False, group_channels: int = 1) -> None:
        super().__init__()
        self.num_heads, self.new_order = num_heads, new_order
        self.norm = group_norm(channels, group_channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zero_init(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        rows = F.linear(self.norm(x).flatten(2).mT, self.qkv.weight[:, :, 0], self.qkv.bias)  # (B, HW, 3C)
        size = channels // self.num_heads
        if self.new_order:
            q, k, v = rows.unflatten(2, (3, self.num_heads, size)).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = rows.unflatten(2, (self.num_heads, 3, size)).permute(3, 0, 2, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, height * width, channels)
        h = F.linear(h, self.proj_out.weight[:, :, 0], self.proj_out.bias)
        return x + h.mT.unflatten(2, (height, width))


class UNet(nn.Module):
    """Noise-prediction network of guided-diffusion; every argument has that project's name and meaning.

    Args:
        in_channels, out_channels: 3 in; 6 out when the variance is learned, else 3.
        model_channels: width of the first level; ``channel_mult`` gives the other levels' multiples of it.
        attention_resolutions: downsampling *factors* at which attention is used (1 = full size).
        num_heads: heads of every attention layer, unless ``num_head_channels`` > 0 fixes the width of a head.
        num_classes: adds a class embedding; ``forward`` then needs ``y``.
        patch_size: fold ``patch_size`` x ``patch_size`` pixels into channels around the network (1 = off, as in the
            public nets). Not in guided-diffusion: it makes the small nets that ship with this repository fast on a CPU.
        group_channels: least number of channels that are normalised together (see :func:`group_norm`). Not in
            guided-diffusion: 1 is its behaviour, narrow nets need more.
        velocity: name of the noise schedule the net is used with, or None. The inner network then predicts
            ``v = sqrt(abar) noise - sqrt(1 - abar) x0`` (Salimans & Ho 2022) and ``forward`` turns it into noise in
            float32: the large share of ``x`` in the noise needs no learning and loses nothing to low precision.
    """

    def __init__(
        self,
        *, in_channels: int = 3, model_channels: int = 256, out_channels: int = 6, num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (8, 16, 32), dropout: float = 0.0,
        channel_mult: Sequence[float] = (1, 1, 2, 2, 4, 4), conv_resample: bool = True, num_classes: int | None = None,
        num_heads: int = 4, num_head_channels: int = -1, num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = True, resblock_updown: bool = True, use_new_attention_order: bool = False,
        patch_size: int = 1, group_channels: int = 1, velocity: str | None = None, image_size: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model_channels, self.num_classes, self.patch_size = model_channels, num_classes, patch_size
        self.image_size, self.in_channels, self.out_channels = image_size, in_channels, out_channels
        # A plain attribute: as a buffer it would follow the weights into half precision.
        with torch.device("cpu"):  # also where the network is made on the meta device
            self.levels = None if velocity is None else torch.cumprod(1 - named_betas(velocity), 0).float()
        emb = 4 * model_channels
        self.time_embed = nn.Sequential(nn.Linear(model_channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        if num_classes is not None:
            self.label_emb = nn.Embedding(num_classes, emb)
        folded = patch_size**2

        def res(c_in: int, c_out: int, resample: str | None = None) -> ResBlock:
            return ResBlock(
                c_in, emb, c_out, dropout=dropout, scale_shift=use_scale_shift_norm, resample=resample,
                group_channels=group_channels,
            )  # fmt: skip

        def attention(c: int, heads: int) -> AttentionBlock:
            heads = c // num_head_channels if num_head_channels > 0 else heads
            return AttentionBlock(c, heads, use_new_attention_order, group_channels)

        def resampler(c: int, direction: str) -> nn.Module:
            return res(c, c, direction) if resblock_updown else RESAMPLERS[direction](c, conv_resample)

        widths = [int(m * model_channels) for m in channel_mult]
        heads_up = num_heads if num_heads_upsample == -1 else num_heads_upsample
        ch = widths[0]
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(folded * in_channels, ch, 3, padding=1)])])
        skips = [ch]
        for level, width in enumerate(widths):
            for _ in range(num_res_blocks):
                stage = nn.ModuleList([res(ch, width)])
                ch = width
                if 2**level in attention_resolutions:
                    stage.append(attention(ch, num_heads))
                self.input_blocks.append(stage)
                skips.append(ch)
            if level < len(widths) - 1:
                self.input_blocks.append(nn.ModuleList([resampler(ch, "down")]))
                skips.append(ch)
        self.middle_block = nn.ModuleList([res(ch, ch), attention(ch, num_heads), res(ch, ch)])
        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for i in range(num_res_blocks + 1):
                stage = nn.ModuleList([res(ch + skips.pop(), width)])
                ch = width
                if 2**level in attention_resolutions:
                    stage.append(attention(ch, heads_up))
                if level > 0 and i == num_res_blocks:
                    stage.append(resampler(ch, "up"))
                self.output_blocks.append(stage)
        self.out = nn.Sequential(
            group_norm(ch, group_channels), nn.SiLU(), zero_init(nn.Conv2d(ch, folded * out_channels, 3, padding=1))
        )

    @property
    def dtype(self) -> torch.dtype:
        return weight_dtype(self.time_embed)

    def forward(self, x: Tensor, timesteps: Tensor, y: Tensor | None = None) -> Tensor:
        """Predict noise (and variance channels), (B, out_channels, H, W), of a batch of images at their own timesteps.

        H and W of ``x`` are divisible by ``patch_size * 2 ** (levels - 1)``; ``timesteps`` (B,) may be fractional, and
        ``y`` (B,) are the labels of a class-conditional network.
        """
        if (y is not None) != (self.num_classes is not None):
            raise ValueError("pass y= exactly when the network is class-conditional (num_classes is set)")
        more = (0, -len(x) % ROWS)
        emb = self.time_embed(timestep_embedding(F.pad(timesteps, more), self.model_channels).to(self.dtype))
        if y is not None:
            emb = emb + self.label_emb(F.pad(y, more))
        h = F.pixel_unshuffle(x, self.patch_size).to(self.dtype)
        skips = []
        for stage in self.input_blocks:
            h = run_stage(stage, h, emb)
            skips.append(h)
        h = run_stage(self.middle_block, h, emb)
        for stage in self.output_blocks:
            h = run_stage(stage, torch.cat([h, skips.pop()], dim=1), emb)
        out = F.pixel_shuffle(self.out(h), self.patch_size).to(x.dtype)
        if self.levels is None:
            return out
        alphas_cumprod = alphas_cumprod_at(self.levels.to(x.device), timesteps).to(x.dtype).view(-1, 1, 1, 1)
        velocity, rest = out.split([self.in_channels, self.out_channels - self.in_channels], dim=1)
        return torch.cat([(1 - alphas_cumprod).sqrt() * x + alphas_cumprod.sqrt() * velocity, rest], dim=1)


def weight_dtype(layers: nn.Sequential) -> torch.dtype:
    first = layers[0]
    assert isinstance(first, nn.Linear)
    return first.weight.dtype


def run_stage(stage: nn.Module, h: Tensor, emb: Tensor) -> Tensor:
    assert isinstance(stage, nn.ModuleList)
    for layer in stage:
        h = layer(h, emb) if isinstance(layer, ResBlock) else layer(h)
    return h
