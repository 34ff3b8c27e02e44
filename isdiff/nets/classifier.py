"""The noisy-image classifier of "Diffusion Models Beat GANs" (Dhariwal & Nichol 2021, Sec. 4): half a U-Net and a pool.

Parameter names and shapes are those of the public guided-diffusion classifiers, which load with ``strict=True``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isdiff.nets.unet import AttentionBlock, ResBlock, group_norm, run_stage, timestep_embedding, weight_dtype


class AttentionPool(nn.Module):
    """One attention layer in which the mean of all positions (H * W) asks; its answer is the result, as in CLIP."""

    def __init__(self, positions: int, channels: int, head_channels: int, out_features: int) -> None:
        super().__init__()
        self.num_heads = channels // head_channels
        self.positional_embedding = nn.Parameter(torch.randn(channels, positions + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        x = torch.cat([x.mean(2, keepdim=True), x], dim=2) + self.positional_embedding
        rows = F.linear(x.mT, self.qkv_proj.weight[:, :, 0], self.qkv_proj.bias)  # (B, 1 + HW, 3C)
        q, k, v = rows.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        pooled = F.scaled_dot_product_attention(q[:, :, :1], k, v).flatten(1)  # only the first position is used
        return F.linear(pooled, self.c_proj.weight[:, :, 0], self.c_proj.bias)


class Classifier(nn.Module):
    """p(y | x_t): the encoder half of :class:`isdiff.nets.unet.UNet`, whose argument names it shares."""

    def __init__(
        self, *, image_size: int = 256, in_channels: int = 3, model_channels: int = 128, num_classes: int = 1000,
        num_res_blocks: int = 2, attention_resolutions: Sequence[int] = (8, 16, 32),
        channel_mult: Sequence[float] = (1, 1, 2, 2, 4, 4), num_head_channels: int = 64,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model_channels, self.num_classes, self.image_size = model_channels, num_classes, image_size
        emb = 4 * model_channels
        self.time_embed = nn.Sequential(nn.Linear(model_channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        widths = [int(m * model_channels) for m in channel_mult]
        ch = widths[0]
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(in_channels, ch, 3, padding=1)])])
        for level, width in enumerate(widths):
            for _ in range(num_res_blocks):
                stage = nn.ModuleList([ResBlock(ch, emb, width)])
                ch = width
                if 2**level in attention_resolutions:
                    stage.append(AttentionBlock(ch, ch // num_head_channels))
                self.input_blocks.append(stage)
            if level < len(widths) - 1:
                self.input_blocks.append(nn.ModuleList([ResBlock(ch, emb, ch, resample="down")]))
        middle = [ResBlock(ch, emb, ch), AttentionBlock(ch, ch // num_head_channels), ResBlock(ch, emb, ch)]
        self.middle_block = nn.ModuleList(middle)
        side = image_size // 2 ** (len(widths) - 1)
        self.out = nn.Sequential(
            group_norm(ch), nn.SiLU(), AttentionPool(side * side, ch, num_head_channels, num_classes)
        )

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Logits (B, num_classes), float32, of noisy images (B, 3, image_size, image_size) at timesteps (B,)."""
        dtype = weight_dtype(self.time_embed)
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels).to(dtype))
        h = x.to(dtype)
        for stage in self.input_blocks:
            h = run_stage(stage, h, emb)
        return self.out(run_stage(self.middle_block, h, emb)).float()
