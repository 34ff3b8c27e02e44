"""Train the text encoder of a latent model beside an image encoder, on pairs of images and captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from isdiff.nets.drawings import CaptionNet, build_tokenizer
from isdiff.paths import placed
from training.data import pick, split_captions, train_images
from training.export import entries, finish, save_part
from training.loop import Trainer, autocast, trained


def train_captions(cfg) -> None:
    """Symmetric cross-entropy over the pairs of a batch; images with equal captions count as right for each other.

    Writes ``tokenizer``, ``text_encoder`` and the image side (``captions.safetensors``) into ``cfg.export``.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(cfg.seed)
    pixels = train_images(cfg)
    captions = split_captions(cfg.dataset, cfg.train_images, Path(cfg.data_root), cfg.workers)
    tokenizer = build_tokenizer(captions, cfg.length)
    config = CLIPTextConfig(
        **entries(cfg.text), vocab_size=len(tokenizer), max_position_embeddings=cfg.length,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    net = CaptionNet(CLIPTextModel(config), tokenizer.eos_token_id)

    def at_step(net: CaptionNet, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([cfg.seed, step])
        picked, x = pick(pixels, cfg.optim.batch_size, rng)
        texts = [shortened(captions[i], rng) for i in picked]
        ids = tokenizer(texts, padding="max_length", max_length=cfg.length, return_tensors="pt").input_ids
        with autocast(torch.device("cpu")):
            similar = net(x, ids).float()
        right = torch.tensor([[a == b for b in texts] for a in texts]).float()
        right = right / right.sum(1, keepdim=True)
        loss = (
            F.cross_entropy(similar, right, reduction="none") + F.cross_entropy(similar.T, right, reduction="none")
        ) / 2
        hit = (similar.argmax(1) == torch.arange(len(texts))).float()
        return {"loss": loss, "found": hit}

    trainer = trained(net, at_step, cfg)
    trainer.with_average(lambda: export(net, tokenizer, trainer, cfg))


def shortened(caption: str, rng: np.random.Generator) -> str:
    """Half of the time some of a caption's comma-separated parts, so that short prompts mean something too."""
    parts = caption.split(", ")
    if rng.random() < 0.5:
        return caption
    return ", ".join(part for part in parts if rng.random() < 0.6) or parts[rng.integers(len(parts))]


def export(net: CaptionNet, tokenizer, trainer: Trainer, cfg) -> None:
    folder = placed(cfg.export)
    save_part(net.text, "text_encoder", trainer, cfg)
    tokenizer.save_pretrained(folder / "tokenizer")
    tensors = {k: v.half().contiguous() for k, v in net.state_dict().items() if not k.startswith("text.")}
    save_file(tensors, folder / "captions.safetensors", {"end": json.dumps(net.end)})
    finish(folder)
