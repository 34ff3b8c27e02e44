"""Train the inpainting U-Net of a latent model, and PowerPaint's task words on top of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isdiff.diffusion.schedule import add_noise, named_betas
from isdiff.io.files import atomic_save, sha256_file
from isdiff.nets.drawings import TASK_WORDS, VECTORS
from isdiff.paths import located, placed
from isdiff.priors.conditioning import expand_task_words
from isdiff.progress import Reporter
from training.contrastive import shortened
from training.data import Holes, mirrored, pick, split_captions, to_batch, train_images
from training.export import entries, save_part
from training.loop import autocast, trained
from training.pixel import TimestepSampler


class LatentBatches:
    """Batches of latents, masks, masked latents and captions; everything about step n follows from (seed, n).

    Encoding takes time, so with ``cfg.cached`` every image is mirrored (or not), given a hole and
    encoded once, and what is drawn anew in every step are images, timesteps, noise and words.
    """

    def __init__(self, cfg, prediction_type: str) -> None:
        from diffusers import AutoencoderKL
        from transformers import AutoTokenizer, CLIPTextModel

        folder, self.cfg = placed(cfg.export), cfg
        self.pixels = train_images(cfg)
        self.captions = split_captions(cfg.dataset, cfg.train_images, Path(cfg.data_root), cfg.workers)
        self.vae = (
            AutoencoderKL.from_pretrained(folder / "vae", local_files_only=True).float().eval().requires_grad_(False)
        )
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder").float().requires_grad_(False)
        self.holes = Holes(cfg.image_size)
        alphas_cumprod = torch.cumprod(1 - named_betas("scaled_linear"), 0)
        self.alphas_cumprod, self.prediction_type, log = alphas_cumprod.float(), prediction_type, cfg.log_sigma
        self.timesteps = TimestepSampler(alphas_cumprod, log.mean, log.std) if log else uniform
        self.factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.known = self.encode_all() if cfg.cached else None

    def encode_all(self) -> np.ndarray:
        """(N, 2 * 4 + 1, h, w) float16 for every training image: latents, mask, masked latents; kept in the folder."""
        weights = placed(self.cfg.export) / "vae" / "diffusion_pytorch_model.safetensors"
        path = placed(self.cfg.folder) / f"latents_{sha256_file(weights)[:12]}.npy"
        if not path.exists():
            rng, parts = np.random.default_rng([self.cfg.seed, 1]), []
            with Reporter("encoding", len(self.pixels), unit="image") as report:
                for first in range(0, len(self.pixels), 32):
                    x = mirrored(to_batch(np.array(self.pixels[first : first + 32])).contiguous(), rng)
                    parts.append(self.encode(x, [self.holes.draw(rng) for _ in x]).half().numpy())
                    report.advance(len(x))
            atomic_save(path, lambda stream: np.save(stream, np.concatenate(parts)))
        return np.load(path, mmap_mode="r")

    @torch.no_grad()
    def encode(self, x: Tensor, holes: list[np.ndarray]) -> Tensor:
        """Latents, mask and masked latents, (B, 9, h, w)."""
        hole = torch.from_numpy(np.stack(holes))[:, None]
        with autocast(torch.device("cpu")):
            mean = self.vae.encode(torch.cat([x, x.masked_fill(hole, 0.0)])).latent_dist.mean
        latents, masked = (mean.float() * self.vae.config.scaling_factor).chunk(2)
        return torch.cat([latents, hole[:, :, :: self.factor, :: self.factor].float(), masked], 1)

    def ids(self, texts: list[str]) -> Tensor:
        return self.tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids

    def noised(self, step: int, holes: list[np.ndarray] | None = None) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """(inputs (B, 9, h, w), timesteps, what is to be predicted (B, 4, h, w), captions) of a step."""
        rng = np.random.default_rng([self.cfg.seed, step])
        batch = self.cfg.optim.batch_size
        if self.known is not None and holes is None:
            picked = np.sort(rng.choice(len(self.known), batch, replace=False))
            encoded = torch.from_numpy(self.known[picked]).float()
        else:
            picked, x = pick(self.pixels, batch, rng)
            encoded = self.encode(x, holes or [self.holes.draw(rng) for _ in range(batch)])
        latents, known = encoded.split([4, 5], 1)
        t = self.timesteps(batch, rng)
        noise = torch.from_numpy(rng.standard_normal(latents.shape, np.float32))
        alphas_cumprod = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        target = noise if self.prediction_type == "epsilon" else velocity(latents, noise, alphas_cumprod)
        inputs = torch.cat([add_noise(latents, noise, alphas_cumprod), known], 1)
        return inputs, t, target, [shortened(self.captions[i], rng) for i in picked]


def uniform(batch: int, rng: np.random.Generator) -> Tensor:
    """Stratified timesteps, (batch,) int64."""
    return torch.from_numpy((rng.permutation(batch) + rng.random(batch)) / batch * 1000).long()


def velocity(x0: Tensor, noise: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """``sqrt(abar) noise - sqrt(1 - abar) x0`` (Salimans & Ho 2022, Appendix D)."""
    return alphas_cumprod.sqrt() * noise - (1 - alphas_cumprod).sqrt() * x0


def train_latent_model(cfg) -> None:
    """MSE with random holes; a share ``cfg.no_caption`` of the images comes without its caption."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(cfg.seed)
    data = LatentBatches(cfg, cfg.prediction_type)
    net = UNet2DConditionModel(**entries(cfg.net))
    if cfg.init_from:
        start = UNet2DConditionModel.from_pretrained(located(cfg.init_from), local_files_only=True)
        net.load_state_dict(start.state_dict())
    forward = torch.compile(net) if cfg.compile else net

    def at_step(net: nn.Module, step: int) -> dict[str, Tensor]:
        inputs, t, target, texts = data.noised(step)
        dropped = np.random.default_rng([cfg.seed, step, 1]).random(len(texts)) < cfg.no_caption
        with torch.no_grad():
            context = data.text(data.ids(["" if d else text for d, text in zip(dropped, texts, strict=True)]))[0]
        with autocast(torch.device("cpu")):
            out = forward(inputs, t, context, return_dict=False)[0].float()
        return {"loss": (out - target).square().flatten(1).mean(1)}

    trainer = trained(net, at_step, cfg)
    trainer.with_average(lambda: save_part(net, "unet", trainer, cfg, prediction_type=cfg.prediction_type))


class TaskWords(nn.Module):
    """The vectors of PowerPaint's task words, the only thing that is trained for them here."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(start.clone())


def train_task_words(cfg) -> None:
    """P_ctxt without a caption, P_obj with one and a box in the middle, P_shape with one and a wide hole.

    The U-Net and the text encoder stay as they are; writes the vectors into the text encoder's table.
    """
    from diffusers import DDIMScheduler, UNet2DConditionModel

    torch.manual_seed(cfg.seed)
    scheduler = DDIMScheduler.from_pretrained(placed(cfg.export) / "scheduler", local_files_only=True)
    data = LatentBatches(cfg, scheduler.config.prediction_type)
    unet = UNet2DConditionModel.from_pretrained(placed(cfg.export) / "unet", local_files_only=True)
    unet = unet.float().requires_grad_(False)
    table = data.text.get_input_embeddings()
    first = len(data.tokenizer) - len(TASK_WORDS) * VECTORS
    wide = data.holes.wide
    pick_hole = {"P_ctxt": data.holes.draw, "P_obj": data.holes.box, "P_shape": lambda rng: rng.choice(wide)}
    words = TaskWords(table.weight[:first].mean(0).expand(len(TASK_WORDS) * VECTORS, -1))

    def at_step(words: TaskWords, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([cfg.seed, step, 2])
        kinds = rng.integers(len(TASK_WORDS), size=cfg.optim.batch_size)
        inputs, t, target, texts = data.noised(step, [pick_hole[TASK_WORDS[k]](rng) for k in kinds])
        prompts = [
            expand_task_words(("" if k == 0 else text + " ") + TASK_WORDS[k])
            for k, text in zip(kinds, texts, strict=True)
        ]
        full = torch.cat([table.weight[:first], words.vectors])
        context = torch.func.functional_call(data.text, {embedding_name(data.text): full}, (data.ids(prompts),))[0]
        with autocast(torch.device("cpu")):
            out = unet(inputs, t, context, return_dict=False)[0].float()
        return {"loss": (out - target).square().flatten(1).mean(1)}

    trainer = trained(words, at_step, cfg)

    def export() -> None:
        with torch.no_grad():
            table.weight[first:] = words.vectors
        save_part(data.text, "text_encoder", trainer, cfg)

    trainer.with_average(export)


def embedding_name(text: nn.Module) -> str:
    """The name of the token table among the model's parameters, which differs between versions of transformers."""
    return next(name for name, _ in text.named_parameters() if name.endswith("token_embedding.weight"))
