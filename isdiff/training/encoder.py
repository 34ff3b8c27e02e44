"""Teach an autoencoder's encoder to see known pixels as they are, whatever is blanked beside them.

An inpainting U-Net is told the known region by the latents of the masked image. The encoder's group normalisation and
wide view let the blanked region change those, most of all where little is known.
Large networks learn to undo this; a small one has better things to learn.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from isdiff.experiments.loggers import training_log
from isdiff.paths import located, placed
from isdiff.training.latent_data import Holes, pick, train_images
from isdiff.training.loop import Trainer, autocast
from isdiff.training.parts import save_part


def untouched(hole: Tensor, factor: int) -> Tensor:
    """(B, 1, H / factor, W / factor) bool: latent cells without a hole pixel, for holes (B, 1, H, W)."""
    return ~hole.unfold(2, factor, factor).unfold(3, factor, factor).flatten(4).any(4)


def known_distance(found: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """(B,): mean square over known cells; 0 where there is none."""
    cells = known.float().flatten(1).sum(1).clamp(min=1)
    return ((found - wanted).square().mean(1, keepdim=True) * known).flatten(1).sum(1) / cells


def train_encoder(cfg) -> Trainer:
    """Latents of whole images stay where they are, those of masked images join them; the decoder is left alone."""
    from diffusers import AutoencoderKL

    torch.manual_seed(cfg.seed)
    pixels, holes = train_images(cfg), Holes(cfg.image_size)
    net = AutoencoderKL.from_pretrained(located(cfg.init_from), local_files_only=True).float()
    teacher = copy.deepcopy(net).eval().requires_grad_(False)
    net.decoder.requires_grad_(False)
    net.post_quant_conv.requires_grad_(False)
    factor, scale = 2 ** (len(net.config.block_out_channels) - 1), net.config.scaling_factor

    def at_step(net: AutoencoderKL, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([cfg.seed, step])
        _, x = pick(pixels, cfg.optim.batch_size, rng)
        hole = torch.from_numpy(np.stack([holes.draw(rng) for _ in x]))[:, None]
        with autocast(torch.device("cpu")):
            wanted = teacher.encode(x).latent_dist.mean
            both = net.encode(torch.cat([x, x.masked_fill(hole, 0.0)])).latent_dist.mean
        whole, masked = (both.float() * scale).chunk(2)
        wanted = wanted.float() * scale
        moved = (whole - wanted).square().flatten(1).mean(1)
        known = known_distance(masked, wanted, untouched(hole, factor))
        return {"loss": moved + known, "moved": moved.detach(), "known": known.detach()}

    trainer = Trainer(net, at_step, placed(cfg.folder), cfg.optim, on_log=training_log(cfg))
    trainer.run()
    trainer.with_average(lambda: save_part(net, "vae", trainer, cfg))
    return trainer
