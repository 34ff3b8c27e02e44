"""Train the autoencoder of a latent model (Rombach et al. 2022, Sec. 3.1, without an adversary)."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isdiff.io.models import load_attribute_net
from isdiff.nets.drawings import AttributeNet
from isdiff.paths import located
from training.data import Holes, pick, to_batch, train_images
from training.export import entries, save_part
from training.loop import Trainer, autocast, trained


def feature_distance(net: AttributeNet, a: Tensor, b: Tensor) -> Tensor:
    """(B,): the shipped perceptual distance, here as a loss."""
    unit = F.normalize
    pairs = zip(net.features(a)[0], net.features(b)[0], strict=True)
    return torch.stack([(unit(x) - unit(y)).square().sum(1).mean((1, 2)) for x, y in pairs]).sum(0)


def train_autoencoder(cfg) -> None:
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

    trainer = trained(net, at_step, cfg)
    trainer.with_average(lambda: export(net, pixels, trainer, cfg))


@torch.inference_mode()
def export(net, pixels: np.ndarray, trainer: Trainer, cfg) -> None:
    """Latents are scaled to unit variance by what 512 images say."""
    if not cfg.decoder_only:
        latents = torch.cat(
            [net.encode(to_batch(np.array(pixels[i : i + 32]))).latent_dist.mean for i in range(0, 512, 32)]
        )
        net.register_to_config(scaling_factor=float(1 / latents.std()))
    save_part(net, "vae", trainer, cfg)


def untouched(hole: Tensor, factor: int) -> Tensor:
    """(B, 1, H / factor, W / factor) bool: latent cells without a hole pixel, for holes (B, 1, H, W)."""
    return ~hole.unfold(2, factor, factor).unfold(3, factor, factor).flatten(4).any(4)


def known_distance(found: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """(B,): mean square over known cells; 0 where there is none."""
    cells = known.float().flatten(1).sum(1).clamp(min=1)
    return ((found - wanted).square().mean(1, keepdim=True) * known).flatten(1).sum(1) / cells


def train_encoder(cfg) -> None:
    """Teach the encoder to see known pixels as they are, whatever is blanked beside them.

    An inpainting U-Net is told the known region by the latents of the masked image. The encoder's group normalisation
    and wide view let the blanked region change those. Here latents of whole images stay where they are, those of masked
    images join them; the decoder is left alone.
    """
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

    trainer = trained(net, at_step, cfg)
    trainer.with_average(lambda: save_part(net, "vae", trainer, cfg))
