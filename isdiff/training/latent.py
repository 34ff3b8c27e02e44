"""Train the inpainting U-Net of a latent model, and PowerPaint's task words on top of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from isdiff.diffusion.process import add_noise, named_betas
from isdiff.loggers import training_log
from isdiff.priors.text import TASK_WORDS, VECTORS, expand_task_words
from isdiff.training.contrastive import shortened
from isdiff.training.latent_data import Holes, pick, split_captions, train_images
from isdiff.training.loop import Trainer
from isdiff.training.parts import save_part


class LatentBatches:
    """Batches of latents, masks, masked latents and captions; everything about step n follows from (seed, n)."""

    def __init__(self, cfg) -> None:
        from diffusers import AutoencoderKL
        from transformers import AutoTokenizer, CLIPTextModel

        folder, self.cfg = Path(cfg.export), cfg
        self.pixels = train_images(cfg)
        self.captions = split_captions(cfg.dataset, cfg.train_images, Path(cfg.data_root), cfg.workers)
        self.vae = (
            AutoencoderKL.from_pretrained(folder / "vae", local_files_only=True).float().eval().requires_grad_(False)
        )
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder").float().requires_grad_(False)
        self.holes = Holes(cfg.image_size)
        self.abar = torch.cumprod(1 - named_betas("scaled_linear"), 0).float()
        self.factor = 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            mean = self.vae.encode(x).latent_dist.mean
        return mean.float() * self.vae.config.scaling_factor

    def ids(self, texts: list[str]) -> Tensor:
        return self.tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids

    def noised(self, step: int, holes: list[np.ndarray] | None = None) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """(inputs (B, 9, h, w), timesteps, noise, captions) of a step."""
        rng = np.random.default_rng([self.cfg.seed, step])
        batch = self.cfg.optim.batch_size
        picked, x = pick(self.pixels, batch, rng)
        hole = torch.from_numpy(np.stack(holes or [self.holes.draw(rng) for _ in range(batch)]))[:, None]
        both = self.encode(torch.cat([x, x.masked_fill(hole, 0.0)]))
        latents, masked = both.chunk(2)
        mask = hole[:, :, :: self.factor, :: self.factor].float()
        t = torch.from_numpy((rng.permutation(batch) + rng.random(batch)) / batch * 1000).long()
        noise = torch.from_numpy(rng.standard_normal(latents.shape, np.float32))
        x_t = add_noise(latents, noise, self.abar[t].view(-1, 1, 1, 1))
        return torch.cat([x_t, mask, masked], 1), t, noise, [shortened(self.captions[i], rng) for i in picked]


def train_latent_model(cfg) -> Trainer:
    """Noise MSE with random holes; a share ``cfg.no_caption`` of the images comes without its caption."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(cfg.seed)
    data = LatentBatches(cfg)
    net = UNet2DConditionModel(**OmegaConf.to_container(cfg.net, resolve=True))
    forward = torch.compile(net) if cfg.compile else net

    def at_step(net: nn.Module, step: int) -> dict[str, Tensor]:
        inputs, t, noise, texts = data.noised(step)
        dropped = np.random.default_rng([cfg.seed, step, 1]).random(len(texts)) < cfg.no_caption
        with torch.no_grad():
            context = data.text(data.ids(["" if d else text for d, text in zip(dropped, texts, strict=True)]))[0]
        with torch.autocast("cpu", torch.bfloat16):
            out = forward(inputs, t, context, return_dict=False)[0].float()
        return {"loss": (out - noise).square().flatten(1).mean(1)}

    trainer = Trainer(net, at_step, Path(cfg.folder), cfg.optim, on_log=training_log(cfg))
    trainer.run()
    trainer.with_average(lambda: save_part(net, "unet", trainer, cfg))
    return trainer


class TaskWords(nn.Module):
    """The vectors of PowerPaint's task words, the only thing that is trained for them here."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(start.clone())


def train_task_words(cfg) -> Trainer:
    """P_ctxt without a caption, P_obj with one and a box in the middle, P_shape with one and a wide hole.

    The U-Net and the text encoder stay as they are; writes the vectors into the text encoder's table.
    """
    from diffusers import UNet2DConditionModel

    torch.manual_seed(cfg.seed)
    data = LatentBatches(cfg)
    unet = UNet2DConditionModel.from_pretrained(Path(cfg.export) / "unet", local_files_only=True)
    unet = unet.float().requires_grad_(False)
    table = data.text.get_input_embeddings()
    first = len(data.tokenizer) - len(TASK_WORDS) * VECTORS
    wide = data.holes.wide
    pick_hole = {"P_ctxt": data.holes.draw, "P_obj": data.holes.box, "P_shape": lambda rng: rng.choice(wide)}
    words = TaskWords(table.weight[:first].mean(0).expand(len(TASK_WORDS) * VECTORS, -1))

    def at_step(words: TaskWords, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([cfg.seed, step, 2])
        kinds = rng.integers(len(TASK_WORDS), size=cfg.optim.batch_size)
        inputs, t, noise, texts = data.noised(step, [pick_hole[TASK_WORDS[k]](rng) for k in kinds])
        prompts = [
            expand_task_words(("" if k == 0 else text + " ") + TASK_WORDS[k])
            for k, text in zip(kinds, texts, strict=True)
        ]
        full = torch.cat([table.weight[:first], words.vectors])
        context = torch.func.functional_call(data.text, {embedding_name(data.text): full}, (data.ids(prompts),))[0]
        with torch.autocast("cpu", torch.bfloat16):
            out = unet(inputs, t, context, return_dict=False)[0].float()
        return {"loss": (out - noise).square().flatten(1).mean(1)}

    trainer = Trainer(words, at_step, Path(cfg.folder), cfg.optim, on_log=training_log(cfg))
    trainer.run()

    def export() -> None:
        with torch.no_grad():
            table.weight[first:] = words.vectors
        save_part(data.text, "text_encoder", trainer, cfg)

    trainer.with_average(export)
    return trainer


def embedding_name(text: nn.Module) -> str:
    """The name of the token table among the model's parameters, which differs between versions of transformers."""
    return next(name for name, _ in text.named_parameters() if name.endswith("token_embedding.weight"))
