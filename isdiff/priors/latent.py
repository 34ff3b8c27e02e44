"""Latent models of diffusers as the engine sees them: Stable Inpainting, PowerPaint and HD-Painter's base.

A task is moved into the latent space once: its image becomes the latents of the masked image, its hole the model's
mask channel. Seeds, steps and retries then are those of the pixel models; only DCE and results need pictures, which
are decoded in batches.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from isdiff.diffusion.schedule import alphas_cumprod_at
from isdiff.errors import UserError
from isdiff.prediction import Prediction
from isdiff.priors.base import Halving, LatentTask
from isdiff.priors.conditioning import Conditioning
from isdiff.priors.hd_painter import KEY
from isdiff.trajectory import Task


class Autoencoder:
    """A pipeline's autoencoder: between pictures (B, 3, H, W) in [-1, 1] and the network's latents (B, C, h, w)."""

    def __init__(self, vae: Any) -> None:
        self.vae = vae

    @property
    def factor(self) -> int:
        """Pixels a side of a cell."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def unit(self) -> int:
        """What divides the sides of images."""
        return self.factor

    @contextmanager
    def wide_enough(self) -> Iterator[None]:
        """Keeps one in float16 whose configuration says that it overflows in float32 meanwhile."""
        moved = self.vae.dtype == torch.float16 and self.vae.config.get("force_upcast", False)
        if moved:
            self.vae.to(torch.float32)
        try:
            yield
        finally:
            if moved:
                self.vae.to(torch.float16)

    def means(self, images: Tensor) -> Tensor:
        """The posteriors' means; of one image after the other, so that none depends on others."""
        with self.wide_enough():
            return torch.cat([self.vae.encode(image[None].to(self.vae.dtype)).latent_dist.mean for image in images])

    def encode(self, images: Tensor) -> Tensor:
        """float32; as diffusers' inpainting pipelines: without ``latents_mean``, which only their decoding heeds."""
        config = self.vae.config
        return (self.means(images).float() - (config.get("shift_factor") or 0.0)) * config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """float32 in [-1, 1]."""
        config, latents = self.vae.config, latents / self.vae.config.scaling_factor
        if config.get("latents_mean") is None or config.get("latents_std") is None:
            latents = latents + (config.get("shift_factor") or 0.0)
        else:
            mean, std = (torch.tensor(v).view(-1, 1, 1).to(latents) for v in (config.latents_mean, config.latents_std))
            latents = latents * std + mean
        return self.paint(latents)

    def paint(self, inputs: Tensor) -> Tensor:
        """What the decoder makes of its own inputs, float32 in [-1, 1]."""
        with self.wide_enough():
            return self.vae.decode(inputs.to(self.vae.dtype), return_dict=False)[0].float().clamp(-1, 1)


def hidden_shares(hole: np.ndarray, factor: int) -> np.ndarray:
    height, width = hole.shape
    return hole.reshape(height // factor, factor, width // factor, factor).mean((1, 3))


def sure_cells(hole: np.ndarray, factor: int, enough: int) -> np.ndarray:
    """Latent cells whose pixels are all known, away from the hole by one cell if ``enough`` of them remain.

    The encoder looks beyond a cell, so that the grey of the blanked hole bleeds into its neighbours. Where thin lines
    of a hole leave no cell whole, those with the largest known share; none where everything is hidden.
    """
    hidden = hidden_shares(hole, factor)
    near = cv2.dilate((hidden > 0).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return ~near if (~near).sum() >= enough else (hidden == hidden.min()) & (hidden < 1)


@dataclass(eq=False)
class LatentSpace:
    """Tasks and pictures of a model with an autoencoder; its subclasses ask the network.

    The modules are used as they are: nothing is cast, moved, frozen or wrapped here.
    """

    autoencoder: Autoencoder
    conditioning: Conditioning
    device: torch.device
    _: KW_ONLY
    pad_to: int = 4  # batches are filled up to a multiple of it
    enough: int = 50  # known cells that must remain for the cautious choice of what seeds are fitted to

    whole = False  # whether cells are hole that are only partly

    def __post_init__(self) -> None:
        self.fitting, self.decoding = Halving(self.batch), Halving(self.pictures)

    @property
    def unit(self) -> int:
        """What divides the sides of images."""
        return self.autoencoder.unit

    def asked(self, prompt: str) -> dict[str, Any]:
        """Fields of a task that say what ``prompt`` asks for."""
        raise NotImplementedError

    def batch(
        self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[LatentTask]
    ) -> list[Prediction]:
        raise NotImplementedError

    @torch.inference_mode()
    def prepare(self, task: Task, prompt: str = "") -> LatentTask:
        """The task in latent space, with its prompt embedded."""
        (height, width), factor = task.hole.shape[1:], self.autoencoder.factor
        if height % self.unit or width % self.unit:
            raise UserError(f"image {task.id} is {width}x{height}; this model needs sides that {self.unit} divides")
        asked = self.asked(prompt)
        hole = task.hole[0].cpu().numpy()
        blanked, mask = self.conditioning.reduced(hole, factor)
        if self.whole or self.conditioning.whole:
            mask = mask | (hidden_shares(blanked, factor) > 0)

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array))[None].to(self.device)

        wholes = (None if image is None else self.encode(image) for image in (task.truth, task.guess))
        latents = self.encode(task.image.masked_fill(tensor(blanked), 0.0))
        if not torch.isfinite(latents).all():
            raise UserError(f"the latents of image {task.id} are not finite numbers; check the autoencoder's weights")
        truth, guess = wholes
        sure = tensor(sure_cells(hole, factor, self.enough))
        return LatentTask(
            task.id, latents, tensor(mask), truth=truth, guess=guess, sure=sure, hidden=task.hole, **asked,
            **self.conditioning.extras(prompt, blanked, factor),
        )  # fmt: skip

    def encode(self, image: Tensor) -> Tensor:
        return self.autoencoder.encode(image[None])[0]

    @torch.inference_mode()
    def decode(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> list[Tensor]:
        return self.decoding(states)

    def pictures(self, states: Sequence[Tensor]) -> list[Tensor]:
        return list(self.autoencoder.decode(torch.stack(self.filled(states)))[: len(states)])

    def filled(self, row: Sequence[Any]) -> list[Any]:
        """One column of a batch, filled up with its last entry."""
        return [*row, *[row[-1]] * (-len(row) % self.pad_to)]

    def predict(self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[Task]) -> list[Prediction]:
        return self.fitting(states, timesteps, tasks)


class LatentPrior(LatentSpace):
    """An inpainting U-Net, which is told the hole and the masked image's latents.

    Args:
        unet: of diffusers, with 9 input channels (latents, mask, masked image's latents).
        vae: of diffusers.
        velocity: (T,) alphas_cumprod, for a U-Net that predicts velocity (Salimans & Ho 2022) instead of noise.
        options: those of :class:`LatentSpace`.
    """

    def __init__(
        self, unet: Any, vae: Any, conditioning: Conditioning, device: torch.device, *, velocity: Tensor | None = None,
        **options: int,
    ) -> None:  # fmt: skip
        super().__init__(Autoencoder(vae), conditioning, device, **options)
        channels = unet.config.in_channels
        if channels != 9:
            raise UserError(f"the model's U-Net takes {channels} channels; inpainting models take 9")
        self.unet = unet
        self.velocity = None if velocity is None else velocity.to(device)

    @property
    def unit(self) -> int:
        return self.conditioning.unit(self.autoencoder.factor, len(self.unet.config.block_out_channels))

    def asked(self, prompt: str) -> dict[str, Any]:
        return {"context": self.conditioning.embedded(prompt).to(self.device)}

    def batch(
        self, states: Sequence[Tensor], timesteps: Sequence[float], tasks: Sequence[LatentTask]
    ) -> list[Prediction]:
        count = len(states)
        states, timesteps, tasks = map(self.filled, (states, timesteps, tasks))
        gradients = self.conditioning.gradients
        # Gradients cannot flow through tensors of inference mode; what is stacked here is new.
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            x = torch.stack(states).requires_grad_(gradients)
            t = torch.tensor(timesteps, device=self.device)
            known = torch.stack([torch.cat([task.hole.to(x), task.image]) for task in tasks])
            context = torch.cat([torch.stack(parts) for parts in zip(*(task.context for task in tasks), strict=True)])
            watched = self.conditioning.watch(x, t, tasks)
            noise = self.noise(x, t, known, context, watched)
            scores = self.conditioning.scores(watched, x)
        pairs = zip(noise.detach(), scores, strict=True)
        return [Prediction(n, score=score) for n, score in list(pairs)[:count]]

    def noise(self, x: Tensor, t: Tensor, known: Tensor, context: Tensor, watched: Any = None) -> Tensor:
        """Guided noise estimates (B, 4, h, w) float32; ``context`` has one or two rows for each image."""
        times = len(context) // len(x)
        inputs = torch.cat([x, known], dim=1).repeat(times, 1, 1, 1)
        extra: dict[str, Any] = {} if watched is None else {"cross_attention_kwargs": {KEY: watched}}
        dtype = self.unet.dtype
        out = self.unet(inputs.to(dtype), t.repeat(times), context.to(dtype), return_dict=False, **extra)[0].float()
        if times == 2:
            negative, positive = out.chunk(2)
            out = negative + self.conditioning.guidance_scale * (positive - negative)
        if self.velocity is None:
            return out
        alphas_cumprod = alphas_cumprod_at(self.velocity, t).float().view(-1, 1, 1, 1)
        return Prediction.of(out, "velocity", x, alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()).noise
