"""HD-Painter (Manukyan et al. 2023): attention that heeds the prompt in the hole, and a score that guides steps.

Nothing here keeps state between calls: what a call needs comes with it (:class:`Attended`, handed through diffusers'
``cross_attention_kwargs``), for a batch in which every image has its own hole, prompt and timestep.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from isdiff.checks import BadValue, Flag, FromOne
from isdiff.priors.base import LatentTask
from isdiff.priors.conditioning import Conditioning, PromptPair

KEY = "attended"


@dataclass
class Attended:
    """What attention layers know about the batch, and what they leave behind."""

    holes: dict[int, Tensor]  # number of tokens of a layer to the hole at its size, (B, gh, gw) bool
    tokens: Tensor  # (B, T) float, 1 for the prompt's tokens
    reweigh: Tensor  # (B,) bool, images whose self-attention PAIntA changes in this call
    painta: frozenset[int] = frozenset()  # token counts of the layers that PAIntA changes
    rasg: int = 0  # token count of the layers whose cross-attention logits are collected; 0 for none
    logits: list[Tensor] = field(default_factory=list)  # of those layers, (B, heads, N, T) each, the prompted half


def split_heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def attention_logits(attention: Any, queries: Tensor, keys: Tensor) -> Tensor:
    """(B, heads, N, M) float32, scaled, of a diffusers ``Attention`` module's inputs (B, N, C) and (B, M, C')."""
    q, k = split_heads(attention.to_q(queries), attention.heads), split_heads(attention.to_k(keys), attention.heads)
    return (q @ k.mT).float() * attention.scale


def attend(attention: Any, logits: Tensor, values: Tensor) -> Tensor:
    """(B, N, C): the rest of the layer after its logits."""
    v = split_heads(attention.to_v(values), attention.heads)
    return attention.to_out[0]((logits.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2))


def known_weights(probabilities: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much each position may still say, (B, N) in [0, 1): low where the prompt is not (HD-Painter, Eqs. 4-6).

    Args:
        probabilities: (B, N, T), cross-attention of every position to every token, mean over heads.
        tokens: (B, T), 1 for those of the prompt.
        grid: height and width of the layer, N = height * width.
    """
    similarity = (probabilities * tokens[:, None]).sum(-1).unflatten(1, grid)[:, None]
    edge = torch.exp(torch.tensor(-1.0))
    line = torch.stack([edge, torch.ones(()), edge]).to(similarity)
    kernel = torch.outer(line, line) / line.sum() ** 2
    smooth = F.conv2d(similarity, kernel[None, None], padding=1).flatten(1)
    median = smooth.median(1, keepdim=True).values  # of an even number the lower one
    return ((smooth - median) / smooth.amax(1, keepdim=True)).clamp(0, 1)


def reweigh(logits: Tensor, weights: Tensor, hole: Tensor) -> Tensor:
    """Self-attention logits (B, heads, N, N), those of hole positions to known ones times ``weights`` (B, N)."""
    hole = hole.flatten(1)
    across = hole[:, :, None] & ~hole[:, None, :]
    return logits * torch.where(across, weights[:, None, :], 1.0)[:, None]


class ReweighedBlock(nn.Module):
    """A diffusers ``BasicTransformerBlock`` with PAIntA and RASG; without an :class:`Attended` it is the block itself.

    The first half of the batch is the negative prompt's, the second half the prompt's.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(
        self, hidden_states: Tensor, attention_mask: Any = None, encoder_hidden_states: Any = None, **options: Any
    ) -> Tensor:
        attended = (options.get("cross_attention_kwargs") or {}).get(KEY)
        if attended is None:
            return self.block(hidden_states, attention_mask, encoder_hidden_states, **options)
        block, x, context, count = self.block, hidden_states, encoder_hidden_states, hidden_states.shape[1]
        normed = block.norm1(x)
        logits = attention_logits(block.attn1, normed, normed)
        if count in attended.painta:
            logits = self.painta(x, normed, logits, context, attended)
        x = x + attend(block.attn1, logits, normed)
        normed = block.norm2(x)
        logits = attention_logits(block.attn2, normed, context)
        if count == attended.rasg:
            attended.logits.append(logits.chunk(2)[1])
        x = x + attend(block.attn2, logits, context)
        return x + block.ff(block.norm3(x))

    def painta(self, x: Tensor, normed: Tensor, logits: Tensor, context: Tensor, attended: Attended) -> Tensor:
        block, hole = self.block, attended.holes[x.shape[1]]
        plain = attend(block.attn1, logits.chunk(2)[1], normed.chunk(2)[1])
        asked = block.norm2(x.chunk(2)[1] + plain)
        probabilities = attention_logits(block.attn2, asked, context.chunk(2)[1]).softmax(-1).mean(1)
        weights = known_weights(probabilities, attended.tokens, (hole.shape[1], hole.shape[2]))
        weights = torch.where(attended.reweigh[:, None], weights, 1.0)
        return reweigh(logits, weights.repeat(2, 1), hole.repeat(2, 1, 1))


def install(unet: nn.Module) -> nn.Module:
    """Put :class:`ReweighedBlock` around every transformer block of the U-Net's way down and up, not of its middle."""
    for half in ("down_blocks", "up_blocks"):
        for stage in unet.get_submodule(half).children():
            for transformer in getattr(stage, "attentions", []):
                blocks = transformer.transformer_blocks
                for i, block in enumerate(blocks):
                    if not isinstance(block, ReweighedBlock):
                        blocks[i] = ReweighedBlock(block)
    return unet


def rasg_score(logits: list[Tensor], tokens: Tensor, hole: Tensor) -> Tensor:
    """How well the prompt's tokens attend to the hole and nowhere else, (B,), higher is better (HD-Painter, Eq. 8).

    Args:
        logits: (B, heads, N, T) of each layer.
        tokens: (B, T), 1 for those of the prompt.
        hole: (B, gh, gw) bool at the layers' size.
    """
    maps = torch.cat(logits, dim=1).mean(1).mT - 1  # (B, T, N)
    target = hole.flatten(1)[:, None].expand_as(maps).to(maps)
    misses = F.binary_cross_entropy_with_logits(maps, target, reduction="none").mean(2)
    return -(misses * tokens).sum(1)


CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def shrink(hole: np.ndarray, factor: int) -> np.ndarray:
    """Bicubic reduction of a mask as Pillow does it, (H // factor, W // factor), 0..255."""
    height, width = hole.shape
    image = Image.fromarray(hole.astype(np.uint8) * 255)
    return np.asarray(image.resize((width // factor, height // factor), Image.Resampling.BICUBIC))


@dataclass(eq=False)
class HDPainter(Conditioning):
    """HD-Painter: attention that is reweighed, and steps that are guided, by the prompt."""

    guidance_scale: FromOne = 7.5
    positive_prompt: str = ""  # added to every prompt
    painta: Flag = True  # self-attention is reweighed by what the prompt attends to
    rasg: Flag = True  # the network's answer comes with the gradient of the prompt's attention to the hole

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.guidance_scale <= 1:
            raise BadValue(f"guidance_scale is {self.guidance_scale:g}; HD-Painter needs one above 1")
        if not isinstance(self.positive_prompt, str):
            raise BadValue(f"positive_prompt is {self.positive_prompt!r}; it must be a text")
        self.gradients = self.rasg

    def prompts(self, prompt: str) -> PromptPair:
        return super().prompts(", ".join(text for text in (prompt, self.positive_prompt) if text))

    def unit(self, factor: int, levels: int) -> int:
        return factor * 8

    def reduced(self, hole: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
        blanked = cv2.dilate(hole.astype(np.uint8), CROSS).astype(bool)
        return blanked, shrink(blanked, factor) > 0

    def extras(self, prompt: str, blanked: np.ndarray, factor: int) -> dict[str, Any]:
        holes = tuple(torch.from_numpy(shrink(blanked, factor * 2**i) > 127) for i in range(4))
        assert self.text is not None, "prompts were embedded"
        return {"holes": holes, "tokens": self.text.attended(prompt, self.prompts(prompt).prompts[0])}

    def fitted(self, unet: nn.Module) -> nn.Module:
        return install(unet)

    def watch(self, x: Tensor, t: Tensor, tasks: Sequence[LatentTask]) -> Attended:
        """The layers at a half and a quarter of the latents' size, and what they need to know."""
        cells, reweigh = x.shape[2] * x.shape[3], t > 500
        holes = {cells >> (2 * i): torch.stack([task.holes[i] for task in tasks]).to(x.device) for i in range(4)}
        tokens = torch.stack([task.tokens for task in tasks if task.tokens is not None]).float().to(x.device)
        painta = frozenset({cells >> 2, cells >> 4}) if self.painta and reweigh.any() else frozenset[int]()
        return Attended(holes, tokens, reweigh, painta, rasg=cells >> 4 if self.gradients else 0)

    def scores(self, watched: Attended, x: Tensor) -> Sequence[Tensor | None]:
        if not self.gradients:
            return super().scores(watched, x)
        total = rasg_score(watched.logits, watched.tokens, watched.holes[watched.rasg]).sum()
        return list(torch.autograd.grad(total, x)[0])
