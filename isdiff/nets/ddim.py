"""The U-Net of "Denoising Diffusion Implicit Models" (Song et al. 2021): the network of the public CelebA-HQ weights.

Parameter names and shapes are the checkpoint's (``celeba_hq.ckpt`` loads with ``strict=True``). Close to, but not, the
guided-diffusion network: other embedding, other resampling, one attention head, additive time embedding.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isdiff.nets.unet import ROWS, Upsample


def timestep_embedding(timesteps: Tensor, dim: int) -> Tensor:
    """Sinusoidal features ``[sin, cos]`` with frequencies ``10000 ** (-k / (dim // 2 - 1))``, float32 (B, dim)."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=timesteps.device) / (half - 1)
    angle = timesteps.float()[:, None] * torch.exp(-math.log(10_000) * exponent)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """Two norm-SiLU-convolution layers; the time embedding is added between them."""

    def __init__(self, channels: int, out_channels: int, emb_channels: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels), norm(out_channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.temb_proj = nn.Linear(emb_channels, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.temb_proj(F.silu(emb))[: len(x), :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + self.nin_shortcut(x)


class AttentionBlock(nn.Module):
    """Residual single-head self-attention over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).mT for layer in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.proj_out(h.mT.unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """Strided 3x3 convolution; the one row and column of padding go to the bottom and the right."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    """The blocks of one resolution, each followed by attention or not, and resampling where another level follows."""

    downsample: Downsample
    upsample: Upsample

    def __init__(self, blocks: Sequence[ResnetBlock], attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        self.attn = nn.ModuleList([AttentionBlock(block.conv2.out_channels) for block in blocks if attention])

    def step(self, i: int, h: Tensor, emb: Tensor) -> Tensor:
        h = self.block[i](h, emb)
        return self.attn[i](h) if len(self.attn) else h


class DDIMUNet(nn.Module):
    """The U-Net of DDIM, which predicts noise alone; ``attn_resolutions`` are sides of feature maps."""

    def __init__(
        self,
        *, image_size: int = 256, in_channels: int = 3, out_channels: int = 3, ch: int = 128,
        ch_mult: Sequence[int] = (1, 1, 2, 2, 4, 4), num_res_blocks: int = 2, attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.ch, self.image_size, emb = ch, image_size, 4 * ch
        self.temb = nn.ModuleDict({"dense": nn.ModuleList([nn.Linear(ch, emb), nn.Linear(emb, emb)])})
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        widths = [ch * m for m in ch_mult]
        attends = [image_size // 2**i in attn_resolutions for i in range(len(widths))]
        last, at, skips = len(widths) - 1, ch, [ch]
        self.down = nn.ModuleList()
        for i, width in enumerate(widths):
            ins = [at] + [width] * (num_res_blocks - 1)
            blocks = [ResnetBlock(c_in, width, emb, dropout) for c_in in ins]
            at, level = width, Level(blocks, attends[i])
            if i < last:
                level.downsample = Downsample(at)
            self.down.append(level)
            skips += [at] * (num_res_blocks + (i < last))
        self.mid = nn.ModuleDict({"block_1": ResnetBlock(at, at, emb, dropout)})
        self.mid["block_2"] = ResnetBlock(at, at, emb, dropout)
        self.mid["attn_1"] = AttentionBlock(at)
        levels = []
        for i in reversed(range(len(widths))):
            ins = [at] + [widths[i]] * num_res_blocks
            blocks = [ResnetBlock(c_in + skips.pop(), widths[i], emb, dropout) for c_in in ins]
            at = widths[i]
            levels.append(Level(blocks, attends[i]))
            if i > 0:
                levels[-1].upsample = Upsample(at, use_conv=True)
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out = norm(at)
        self.conv_out = nn.Conv2d(at, out_channels, 3, padding=1)

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype

    def forward(self, x: Tensor, timesteps: Tensor, y: Tensor | None = None) -> Tensor:
        """Predict the noise of images (B, C, side, side) at ``timesteps`` (B,); same shape and dtype as ``x``."""
        if y is not None:
            raise ValueError("this network is not class-conditional; leave y out")
        features = timestep_embedding(F.pad(timesteps, (0, -len(x) % ROWS)), self.ch).to(self.dtype)
        first, second = self.temb["dense"].children()
        emb = second(F.silu(first(features)))
        h = self.conv_in(x.to(self.dtype))
        skips = [h]
        for level in self.down:
            assert isinstance(level, Level)
            for i in range(len(level.block)):
                h = level.step(i, h, emb)
                skips.append(h)
            if hasattr(level, "downsample"):
                h = level.downsample(h)
                skips.append(h)
        h = self.mid["block_2"](self.mid["attn_1"](self.mid["block_1"](h, emb)), emb)
        for level in reversed(self.up):
            assert isinstance(level, Level)
            for i in range(len(level.block)):
                h = level.step(i, torch.cat([h, skips.pop()], dim=1), emb)
            if hasattr(level, "upsample"):
                h = level.upsample(h)
        return self.conv_out(F.silu(self.norm_out(h))).to(x.dtype)
