"""Networks of drawn images: a classifier of attributes, a tokenizer, and a small CLIP (Radford et al. 2021)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import CLIPTextModel


class AttributeNet(nn.Module):
    """Convolution stages, each at half the size of the last, an embedding, and a linear head for each attribute."""

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
            maps.append(x := stage(x))
        return maps, self.embed(F.adaptive_avg_pool2d(x, 2).flatten(1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits of every attribute, (B, number of its values) each."""
        hidden = F.silu(self.features(x)[1])
        return {name: head(hidden) for name, head in self.heads.items()}


# PowerPaint v1's learned words, in the order of their rows in the embedding table; each stands for ten vectors.
TASK_WORDS = ("P_ctxt", "P_shape", "P_obj")
VECTORS = 10
START, END, UNKNOWN = "<start>", "<end>", "<unknown>"


def build_tokenizer(captions: Iterable[str], length: int = 48) -> Any:
    """A ``PreTrainedTokenizerFast`` that knows the captions' words and punctuation, and the task words.

    Ids are the special tokens, then the words in alphabetical order, then PowerPaint's; padding is ``<end>``, as in
    Stable Diffusion 1.5. Other words become ``<unknown>``.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.Whitespace()
    words = sorted({word for text in captions for word, _ in splitter.pre_tokenize_str(text.lower())})
    vocabulary = {word: i for i, word in enumerate([START, END, UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(token, vocabulary[token]) for token in (START, END)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, unk_token=UNKNOWN,
        model_max_length=length,
    )  # fmt: skip
    fast.add_tokens([f"{word}_{i}" for word in TASK_WORDS for i in range(VECTORS)])
    return fast


class CaptionNet(nn.Module):
    """An image encoder beside a CLIP text model, whose state at the token ``end`` stands for the caption."""

    def __init__(
        self, text: "CLIPTextModel", end: int, widths: tuple[int, ...] = (32, 64, 96, 128), dim: int = 64
    ) -> None:
        super().__init__()
        self.text, self.end = text, end
        before = (3, *widths[:-1])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(c_in, c_out, 3, stride=2, padding=1), nn.GroupNorm(8, c_out), nn.SiLU(),
                    nn.Conv2d(c_out, c_out, 3, padding=1), nn.GroupNorm(8, c_out), nn.SiLU(),
                )
                for c_in, c_out in zip(before, widths, strict=True)
            )
        )  # fmt: skip
        # 4x4 places: what is said of hair, clothes and background differs by where it is.
        self.to_image = nn.Linear(widths[-1] * 16, dim)
        self.to_caption = nn.Linear(text.config.hidden_size, dim)
        self.log_scale = nn.Parameter(torch.tensor(2.6))

    def images(self, x: Tensor) -> Tensor:
        """(B, dim) unit vectors of images (B, 3, H, W) in [-1, 1]."""
        return F.normalize(self.to_image(F.adaptive_avg_pool2d(self.stages(x), 4).flatten(1)).float(), dim=1)

    def captions(self, ids: Tensor) -> Tensor:
        """(B, dim) unit vectors of token ids (B, T)."""
        states = self.text(ids)[0]
        ends = (ids == self.end).int().argmax(1)
        return F.normalize(self.to_caption(states[torch.arange(len(ids)), ends]).float(), dim=1)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """Scaled similarities (B, B) of every image (rows) with every caption (columns)."""
        return self.log_scale.clamp(max=4.6).exp() * self.images(x) @ self.captions(ids).T
