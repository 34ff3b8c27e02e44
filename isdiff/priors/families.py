"""The families of flow-matching models in diffusers: how each reads a text, takes latents and is asked.

Outside a family latents are (B, C, h, w), and what its network says of them is noise minus image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isdiff.priors.base import LatentTask
from isdiff.priors.latent import Autoencoder

Texts = dict[str, Tensor]


def as_tokens(latents: Tensor) -> Tensor:
    """(B, h * w, C) of (B, C, h, w)."""
    return latents.flatten(2).transpose(1, 2)


def positions(*lengths: int, first: int = 0) -> Tensor:
    """(N, len(lengths)), the coordinates of a grid row by row; those of the first axis begin at ``first``."""
    axes = [torch.arange(length) for length in lengths]
    return torch.cartesian_prod(axes[0] + first, *axes[1:])


class Family(Autoencoder):
    """Stable Diffusion 3 and 3.5; the others say what is different.

    ``pipe`` is a pipeline of diffusers; ``guidance`` is what a network is told into which guidance is distilled.
    """

    pipeline = "StableDiffusion3InpaintPipeline"  # name of its class in diffusers
    fills = False  # whether the network receives the mask and the masked image
    length = 256  # tokens of a text at most, as the pipeline's default

    def __init__(self, pipe: Any, guidance: float | None = None) -> None:
        super().__init__(pipe.vae)
        self.pipe, self.network, self.guidance = pipe, pipe.transformer, guidance

    @staticmethod
    def even(steps: int) -> Any:
        """The levels before their shift; None: the scheduler spaces them."""
        return None

    @staticmethod
    def shift(tokens: int, steps: int, settings: Mapping[str, Any]) -> float:
        """``mu`` for so many image tokens, on a line between two sizes."""
        few, many = settings["base_image_seq_len"], settings["max_image_seq_len"]
        low, high = settings["base_shift"], settings["max_shift"]
        return low + (high - low) * (tokens - few) / (many - few)

    @classmethod
    def set_levels(cls, scheduler: Any, steps: int, tokens: int, sigmas: Any = None, mu: float | None = None) -> None:
        """Set a scheduler's levels as the pipeline does for so many image tokens."""
        sigmas = cls.even(steps) if sigmas is None else sigmas
        levels: dict[str, Any] = {"num_inference_steps": steps} if sigmas is None else {"sigmas": sigmas}
        if scheduler.config.get("use_dynamic_shifting"):
            levels["mu"] = cls.shift(tokens, steps, scheduler.config) if mu is None else mu
        scheduler.set_timesteps(**levels)

    @property
    def unit(self) -> int:
        """Pixels a side of a token."""
        return 2 * self.factor

    def read(self, text: str, device: torch.device) -> Texts:
        """What the network is told of a text: its arguments, each (1, ...)."""
        states, _, pooled, _ = self.pipe.encode_prompt(
            text, None, None, device=device, do_classifier_free_guidance=False, max_sequence_length=self.length
        )
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def ask(self, x: Tensor, timesteps: Tensor, texts: Texts, tasks: Sequence[LatentTask]) -> Tensor:
        """The network's answer, in the form of its input; ``timesteps`` are sigma times 1000."""
        return self.network(hidden_states=x, timestep=timesteps, **texts, return_dict=False)[0]

    def guided(self, negative: Tensor, positive: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance (Ho & Salimans 2022) in two answers."""
        return negative + scale * (positive - negative)

    def packed(self, latents: Tensor) -> Tensor:
        """Latents in the form of the network's input."""
        return latents

    def unpacked(self, answer: Tensor, height: int, width: int) -> Tensor:
        """(B, C, height, width) of an answer."""
        return answer


class Flux(Family):
    """FLUX.1: packed tokens with positions, and guidance that the network is told."""

    pipeline = "FluxInpaintPipeline"
    length = 512

    @staticmethod
    def even(steps: int) -> Any:
        return np.linspace(1.0, 1 / steps, steps)

    def read(self, text: str, device: torch.device) -> Texts:
        states, pooled, _ = self.pipe.encode_prompt(text, device=device, max_sequence_length=self.length)
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def ask(self, x: Tensor, timesteps: Tensor, texts: Texts, tasks: Sequence[LatentTask]) -> Tensor:
        height, width = x.shape[2] // 2, x.shape[3] // 2
        told = {"guidance": torch.full_like(timesteps, self.guidance)} if self.guidance is not None else {}
        return self.network(
            hidden_states=self.tokens(x, tasks),
            timestep=timesteps / 1000,
            img_ids=positions(1, height, width).to(x),
            txt_ids=x.new_zeros(texts["encoder_hidden_states"].shape[1], 3),
            **self.told(texts, height * width),
            **told,
            return_dict=False,
        )[0]

    def tokens(self, x: Tensor, tasks: Sequence[LatentTask]) -> Tensor:
        return self.packed(x)

    def told(self, texts: Texts, tokens: int) -> Texts:
        return texts

    def packed(self, latents: Tensor) -> Tensor:
        """Each 2 x 2 cells as one token."""
        return as_tokens(F.pixel_unshuffle(latents, 2))

    def unpacked(self, answer: Tensor, height: int, width: int) -> Tensor:
        return F.pixel_shuffle(answer.transpose(1, 2).unflatten(2, (height // 2, width // 2)), 2)


class FluxFill(Flux):
    """FLUX.1 Fill: tokens hold the masked image and, pixel by pixel, the mask too."""

    pipeline = "FluxFillPipeline"
    fills = True

    def tokens(self, x: Tensor, tasks: Sequence[LatentTask]) -> Tensor:
        known = torch.stack([task.image for task in tasks]).to(x)
        holes = torch.stack([task.pixel_hole for task in tasks]).to(x)
        parts = x, known, F.pixel_unshuffle(holes, self.factor)
        return torch.cat([self.packed(part) for part in parts], dim=2)


class Chroma(Flux):
    """Chroma: FLUX.1's tokens, without a pooled text; padding of texts is masked."""

    pipeline = "ChromaInpaintPipeline"
    length = 256

    def read(self, text: str, device: torch.device) -> Texts:
        states, _, mask, *_ = self.pipe.encode_prompt(
            text, device=device, do_classifier_free_guidance=False, max_sequence_length=self.length
        )
        return {"encoder_hidden_states": states, "attention_mask": mask}

    def told(self, texts: Texts, tokens: int) -> Texts:
        mask = texts["attention_mask"]
        return texts | {"attention_mask": torch.cat([mask, mask.new_ones(len(mask), tokens)], dim=1)}


class QwenImage(Flux):
    """Qwen-Image: the autoencoder is one of videos, and guidance keeps the length of each token's answer."""

    pipeline = "QwenImageInpaintPipeline"

    @property
    def factor(self) -> int:
        return 2 ** len(self.vae.config.temperal_downsample)

    def scales(self, like: Tensor) -> tuple[Tensor, Tensor]:
        config = self.vae.config
        mean, std = (like.new_tensor(values).view(-1, 1, 1) for values in (config.latents_mean, config.latents_std))
        return mean, std

    def encode(self, images: Tensor) -> Tensor:
        latents = self.means(images.unsqueeze(2)).squeeze(2).float()
        mean, std = self.scales(latents)
        return (latents - mean) / std

    def decode(self, latents: Tensor) -> Tensor:
        mean, std = self.scales(latents)
        return self.paint((latents * std + mean).unsqueeze(2)).squeeze(2)

    def read(self, text: str, device: torch.device) -> Texts:
        states, _ = self.pipe.encode_prompt(text, device=device, max_sequence_length=self.length)
        return {"encoder_hidden_states": states}

    def ask(self, x: Tensor, timesteps: Tensor, texts: Texts, tasks: Sequence[LatentTask]) -> Tensor:
        shapes = [[(1, x.shape[2] // 2, x.shape[3] // 2)]] * len(x)
        return self.network(
            hidden_states=self.packed(x), timestep=timesteps / 1000, img_shapes=shapes, **texts, return_dict=False
        )[0]

    def guided(self, negative: Tensor, positive: Tensor, scale: float) -> Tensor:
        mixed = super().guided(negative, positive, scale)
        return mixed * (positive.norm(dim=-1, keepdim=True) / mixed.norm(dim=-1, keepdim=True))


class ZImage(Family):
    """Z-Image: its time runs from 0 (noise) to 1, and it says image minus noise."""

    pipeline = "ZImageInpaintPipeline"
    length = 512

    @staticmethod
    def even(steps: int) -> Any:
        return torch.linspace(1.0, 1 / steps, steps).tolist()  # not numpy's in the last bit

    def read(self, text: str, device: torch.device) -> Texts:
        states, _ = self.pipe.encode_prompt(
            [text], device=device, do_classifier_free_guidance=False, max_sequence_length=self.length
        )
        return {"states": states[0][None]}

    def ask(self, x: Tensor, timesteps: Tensor, texts: Texts, tasks: Sequence[LatentTask]) -> Tensor:
        answers = self.network(list(x.unsqueeze(2)), (1000 - timesteps) / 1000, list(texts["states"]))[0]
        return -torch.stack(list(answers)).squeeze(2)


class Klein(Family):
    """FLUX.2 Klein: cells are batch-normalised 2 x 2 patches, and it sees the masked image as a reference."""

    pipeline = "Flux2KleinInpaintPipeline"
    length = 512
    reference = 10  # its place on the first axis of positions
    even = staticmethod(Flux.even)
    read = QwenImage.read

    @staticmethod
    def shift(tokens: int, steps: int, settings: Mapping[str, Any]) -> float:
        from diffusers.pipelines.flux2.pipeline_flux2_klein_inpaint import compute_empirical_mu

        return compute_empirical_mu(tokens, steps)

    @property
    def factor(self) -> int:
        return 2 * super().factor

    @property
    def unit(self) -> int:
        return self.factor

    def scales(self) -> tuple[Tensor, Tensor]:
        norm = self.vae.bn
        std = (norm.running_var + self.vae.config.batch_norm_eps).sqrt()
        return norm.running_mean.float().view(-1, 1, 1), std.float().view(-1, 1, 1)

    def encode(self, images: Tensor) -> Tensor:
        mean, std = self.scales()
        return (F.pixel_unshuffle(self.means(images).float(), 2) - mean) / std

    def decode(self, latents: Tensor) -> Tensor:
        mean, std = self.scales()
        return self.paint(F.pixel_shuffle(latents * std + mean, 2))

    def ask(self, x: Tensor, timesteps: Tensor, texts: Texts, tasks: Sequence[LatentTask]) -> Tensor:
        count, (height, width) = len(x), x.shape[2:]
        known = torch.stack([task.image for task in tasks]).to(x)
        places = [positions(1, height, width, 1, first=first) for first in (0, self.reference)]
        words = positions(1, 1, 1, texts["encoder_hidden_states"].shape[1])
        answer = self.network(
            hidden_states=torch.cat([self.packed(x), self.packed(known)], dim=1),
            timestep=timesteps / 1000,
            img_ids=torch.cat(places).to(x.device).expand(count, -1, -1),
            txt_ids=words.to(x.device).expand(count, -1, -1),
            guidance=None,
            **texts,
            return_dict=False,
        )[0]
        return answer[:, : height * width]

    def packed(self, latents: Tensor) -> Tensor:
        return as_tokens(latents)

    def unpacked(self, answer: Tensor, height: int, width: int) -> Tensor:
        return answer.transpose(1, 2).unflatten(2, (height, width))


FAMILIES: dict[str, type[Family]] = {
    "sd3": Family, "flux": Flux, "flux_fill": FluxFill, "chroma": Chroma, "qwen_image": QwenImage, "z_image": ZImage,
    "flux2_klein": Klein,
}  # fmt: skip
