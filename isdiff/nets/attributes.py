"""A small attribute classifier whose features measure distances between drawn images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class AttributeNet(nn.Module):
    """Four convolution stages, an embedding and one linear head for each attribute.

    Each stage has half the size of the last.

    Args:
        classes: for each attribute the list of its values.
        widths: channels of the stages.
    """

    def __init__(
        self, classes: Mapping[str, Sequence[str]], widths: Sequence[int] = (32, 64, 96, 128), embedding: int = 64
    ) -> None:
        super().__init__()
        self.classes = {name: list(values) for name, values in classes.items()}
        before = (3, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(c_in, c_out, 3, stride=1 if i == 0 else 2, padding=1), nn.GroupNorm(8, c_out), nn.SiLU(),
                nn.Conv2d(c_out, c_out, 3, padding=1, groups=c_out), nn.Conv2d(c_out, c_out, 1),
                nn.GroupNorm(8, c_out), nn.SiLU(),
            )
            for i, (c_in, c_out) in enumerate(zip(before, widths, strict=True))
        )  # fmt: skip
        # Mean and 2x2 layout of the last stage: where things are matters as much as what they are.
        self.embed = nn.Linear(widths[-1] * 4, embedding)
        self.heads = nn.ModuleDict({name: nn.Linear(embedding, len(values)) for name, values in self.classes.items()})

    def features(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Stage outputs (B, C_i, H_i, W_i) and the embedding (B, E) of images (B, 3, H, W) in [-1, 1]."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        pooled = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return maps, self.embed(pooled)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits of every attribute, (B, number of its values) each."""
        hidden = torch.nn.functional.silu(self.features(x)[1])
        return {name: head(hidden) for name, head in self.heads.items()}
