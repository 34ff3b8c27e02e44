"""Train the autoencoder of a latent model (Rombach et al. 2022, Sec. 3.1, without an adversary)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isdiff.experiments.loggers import training_log
from isdiff.io.models import load_attribute_net
from isdiff.nets.attributes import AttributeNet
from isdiff.paths import located, placed
from isdiff.training.export import entries
from isdiff.training.health import to_batch
from isdiff.training.latent_data import pick, train_images
from isdiff.training.loop import Trainer, autocast
from isdiff.training.parts import save_part


def feature_distance(net: AttributeNet, a: Tensor, b: Tensor) -> Tensor:
    """(B,): the shipped perceptual distance, here as a loss."""
    unit = F.normalize
    pairs = zip(net.features(a)[0], net.features(b)[0], strict=True)
    return torch.stack([(unit(x) - unit(y)).square().sum(1).mean((1, 2)) for x, y in pairs]).sum(0)


def train_autoencoder(cfg) -> Trainer:
    """Pixels' L1, features' distance and a little KL; writes ``vae`` with its scaling factor into ``cfg.export``.

    With ``cfg.decoder_only`` the encoder stays as it is, and with it everything that was trained on its latents; noise
    of a random size up to ``cfg.latent_noise`` (in units of the scaled latents) then stands for a sampler's errors.
    """
    from diffusers import AutoencoderKL

    torch.manual_seed(cfg.seed)
    pixels = train_images(cfg)
    net = AutoencoderKL(**entries(cfg.net))
    if cfg.init_from:
        start = AutoencoderKL.from_pretrained(located(cfg.init_from), local_files_only=True)
        net.load_state_dict(start.state_dict())
        net.register_to_config(scaling_factor=start.config.scaling_factor)
    if cfg.decoder_only:
        net.encoder.requires_grad_(False)
        net.quant_conv.requires_grad_(False)
    features = load_attribute_net(located(cfg.features)).requires_grad_(False)

    def noisy(posterior, rng: np.random.Generator) -> Tensor:
        noise = torch.from_numpy(rng.standard_normal(posterior.mean.shape, np.float32))
        if not cfg.decoder_only:
            return posterior.mean + posterior.std * noise
        size = torch.from_numpy(rng.random((len(noise), 1, 1, 1), np.float32)) * cfg.latent_noise
        return posterior.mean + size / net.config.scaling_factor * noise

    def at_step(net: AutoencoderKL, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([cfg.seed, step])
        _, x = pick(pixels, cfg.optim.batch_size, rng)
        with autocast(torch.device("cpu")):
            posterior = net.encode(x).latent_dist
            out = net.decode(noisy(posterior, rng)).sample
            feature = feature_distance(features, out, x).float()
        pixel = (out.float() - x).abs().flatten(1).mean(1)
        kl = posterior.kl().float() / x[0].numel()
        loss = pixel + cfg.loss.features * feature + cfg.loss.kl * kl
        return {"loss": loss, "pixel": pixel.detach(), "features": feature.detach(), "kl": kl.detach()}

    trainer = Trainer(net, at_step, placed(cfg.folder), cfg.optim, on_log=training_log(cfg))
    trainer.run()
    trainer.with_average(lambda: export(net, pixels, trainer, cfg))
    return trainer


@torch.inference_mode()
def export(net, pixels: np.ndarray, trainer: Trainer, cfg) -> None:
    """Latents are scaled to unit variance by what 512 images say."""
    if not cfg.decoder_only:
        latents = torch.cat(
            [net.encode(to_batch(np.array(pixels[i : i + 32]))).latent_dist.mean for i in range(0, 512, 32)]
        )
        net.register_to_config(scaling_factor=float(1 / latents.std()))
    save_part(net, "vae", trainer, cfg)
