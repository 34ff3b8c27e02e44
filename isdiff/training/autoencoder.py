"""Train the autoencoder of a latent model (Rombach et al. 2022, Sec. 3.1, without an adversary)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn

from isdiff.loggers import training_log
from isdiff.models import load_attribute_net
from isdiff.training.latent_data import pick, train_images
from isdiff.training.loop import Trainer
from isdiff.training.parts import save_part
from isdiff.training.pixel import to_batch


def feature_distance(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """(B,): the shipped perceptual distance, here as a loss."""
    unit = F.normalize
    pairs = zip(net.features(a)[0], net.features(b)[0], strict=True)
    return torch.stack([(unit(x) - unit(y)).square().sum(1).mean((1, 2)) for x, y in pairs]).sum(0)


def train_autoencoder(cfg) -> Trainer:
    """Pixels' L1, features' distance and a little KL; writes ``vae`` with its scaling factor into ``cfg.export``."""
    from diffusers import AutoencoderKL

    torch.manual_seed(cfg.seed)
    pixels = train_images(cfg)
    net = AutoencoderKL(**OmegaConf.to_container(cfg.net, resolve=True))
    features = load_attribute_net(Path(cfg.features)).requires_grad_(False)

    def at_step(net: nn.Module, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([cfg.seed, step])
        _, x = pick(pixels, cfg.optim.batch_size, rng)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = net.encode(x).latent_dist
            noise = torch.from_numpy(rng.standard_normal(posterior.mean.shape, np.float32))
            out = net.decode(posterior.mean + posterior.std * noise).sample
            feature = feature_distance(features, out, x).float()
        pixel = (out.float() - x).abs().flatten(1).mean(1)
        kl = posterior.kl().float() / x[0].numel()
        loss = pixel + cfg.loss.features * feature + cfg.loss.kl * kl
        return {"loss": loss, "pixel": pixel.detach(), "features": feature.detach(), "kl": kl.detach()}

    trainer = Trainer(net, at_step, Path(cfg.folder), cfg.optim, on_log=training_log(cfg))
    trainer.run()
    trainer.with_average(lambda: export(net, pixels, trainer, cfg))
    return trainer


@torch.inference_mode()
def export(net, pixels: np.ndarray, trainer: Trainer, cfg) -> None:
    """Latents are scaled to unit variance by what 512 images say."""
    latents = torch.cat(
        [net.encode(to_batch(np.array(pixels[i : i + 32]))).latent_dist.mean for i in range(0, 512, 32)]
    )
    net.register_to_config(scaling_factor=float(1 / latents.std()))
    save_part(net, "vae", trainer, cfg)
