"""Latent inpainting models of diffusers as the engine sees them: Stable Inpainting, PowerPaint and HD-Painter's base.

A task is moved into the latent space once: its image becomes the latents of the masked image, its hole the model's
mask channel. Seeds, steps and retries then are those of the pixel models; only DCE and results need pictures, which
are decoded in batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from isdiff.errors import UserError
from isdiff.prediction import Prediction
from isdiff.priors.attention import KEY, Attended, install, rasg_score
from isdiff.priors.memory import Halving
from isdiff.priors.pixel import DTYPES
from isdiff.priors.text import PromptPair, TextEncoder
from isdiff.trajectory import Task


@dataclass(frozen=True, eq=False)
class LatentTask(Task):
    """A task in latent space: ``image`` (4, h, w) are the masked image's latents, ``hole`` the mask channel.

    Attributes:
        context: (1 or 2, tokens, E), the embedded prompts; two for classifier-free guidance, the negative one first.
        tokens: (tokens,) bool, those of the user's prompt.
        holes: the hole at the sizes of attention layers, (gh, gw) bool each, from the largest to the smallest.
        hidden: (1, H, W) bool, the hole in the picture.
    """

    context: Tensor | None = None
    tokens: Tensor | None = None
    holes: tuple[Tensor, ...] = ()
    hidden: Tensor | None = None

    @property
    def pixel_hole(self) -> Tensor:
        return self.hidden

    def reference(self, picture: Tensor) -> Tensor:
        """Both sides from the decoded picture, in which the autoencoder's colour shifts cancel."""
        return picture


def shrink(hole: np.ndarray, factor: int) -> np.ndarray:
    """Bicubic reduction of a mask as Pillow does it, (H // factor, W // factor), 0..255 (HD-Painter's way)."""
    height, width = hole.shape
    image = Image.fromarray(hole.astype(np.uint8) * 255)
    return np.asarray(image.resize((width // factor, height // factor), Image.Resampling.BICUBIC))


def sure_cells(hole: np.ndarray, factor: int, enough: int) -> np.ndarray:
    """Latent cells whose pixels are all known, away from the hole by one cell if ``enough`` of them remain.

    The encoder looks beyond a cell, so that the grey of the blanked hole bleeds into its neighbours.
    """
    height, width = hole.shape
    touched = hole.reshape(height // factor, factor, width // factor, factor).any((1, 3))
    near = cv2.dilate(touched.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return ~near if (~near).sum() >= enough else ~touched


class LatentPrior:
    """
    Args:
        unet, vae: diffusers models; the U-Net has 9 input channels (latents, mask, masked image's latents).
        text: the text encoder; None for text-free use of models that then get ``context`` with each task.
        precision: dtype of the U-Net; the autoencoder and the text encoder stay in float32.
        guidance_scale: classifier-free guidance (Ho & Salimans 2022); 1 asks the network once.
        conditioning: ``diffusers`` or ``hd_painter``: how the mask is reduced and the masked image made.
        painta, rasg: HD-Painter's attention and guidance.
        enough: known cells that must remain for the cautious choice of what seeds are fitted to.
        velocity: (T,) alphas_cumprod, for a U-Net that predicts velocity (Salimans & Ho 2022) instead of noise.
    Raises:
        UserError: a model that is not made for inpainting.
    """

    def __init__(
        self,
        unet,
        vae,
        text: TextEncoder | None,
        device: torch.device,
        precision: str = "fp32",
        *,
        guidance_scale: float = 1.0,
        conditioning: str = "diffusers",
        painta: bool = False,
        rasg: bool = False,
        pad_to: int = 4,
        enough: int = 50,
        velocity: Tensor | None = None,
    ) -> None:
        channels = unet.config.in_channels
        if channels != 9:
            raise UserError(f"the model's U-Net takes {channels} channels; inpainting models take 9")
        self.unet = unet.eval().requires_grad_(False).to(device=device, dtype=DTYPES[precision])
        self.vae, self.text = vae.eval().requires_grad_(False).to(device=device, dtype=torch.float32), text
        if text is not None:
            text.model.to(device=device, dtype=torch.float32)
        if painta or rasg:
            if guidance_scale <= 1:
                raise UserError(f"guidance_scale is {guidance_scale}; HD-Painter needs one above 1")
            install(self.unet)
        self.device, self.guidance_scale, self.conditioning = device, guidance_scale, conditioning
        self.painta, self.rasg, self.pad_to, self.enough = painta, rasg, pad_to, enough
        self.velocity = None if velocity is None else velocity.to(device)
        self.fitting, self.decoding = Halving(self.batch), Halving(self.decode)

    @property
    def factor(self) -> int:
        """Pixels per latent cell and side."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @torch.inference_mode()
    def prepare(self, task: Task, pair: PromptPair, prompt: str = "") -> LatentTask:
        """
        Raises:
            UserError: sizes that the model cannot take, a prompt that is too long, guidance without a text encoder.
        """
        height, width = task.hole.shape[1:]
        unit = self.factor * (8 if self.painta or self.rasg else 2 ** (len(self.unet.config.block_out_channels) - 1))
        if height % unit or width % unit:
            raise UserError(f"image {task.id} is {width}x{height}; this model needs sides that {unit} divides")
        if self.text is None:
            raise UserError("this model has no text encoder; prompts and guidance_scale need one")
        hole = task.hole[0].cpu().numpy()
        blanked = hole
        if self.conditioning == "hd_painter":
            cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
            blanked = cv2.dilate(hole.astype(np.uint8), cross).astype(bool)
            mask = shrink(blanked, self.factor) > 0
        else:
            mask = hole[:: self.factor, :: self.factor]
        scales = [self.factor * 2**i for i in range(4)]
        holes = tuple(torch.from_numpy(shrink(blanked, s) > 127).to(self.device) for s in scales)
        tensor = lambda array: torch.from_numpy(np.ascontiguousarray(array))[None].to(self.device)  # noqa: E731
        return LatentTask(
            task.id,
            self.encode(task.image.masked_fill(tensor(blanked), 0.0)),
            tensor(mask),
            truth=None if task.truth is None else self.encode(task.truth),
            sure=tensor(sure_cells(hole, self.factor, self.enough)),
            context=self.text.context(pair, self.guidance_scale > 1),
            tokens=self.text.attended(prompt, pair.prompts[0]).to(self.device) if self.painta or self.rasg else None,
            holes=holes,
            hidden=task.hole,
        )

    def encode(self, image: Tensor) -> Tensor:
        """Scaled latents (4, h, w), the posterior's mean, of an image (3, H, W) in [-1, 1]."""
        return self.vae.encode(image[None].float()).latent_dist.mean[0] * self.vae.config.scaling_factor

    @torch.inference_mode()
    def pictures(self, states: Sequence[Tensor], tasks: Sequence[Task]) -> list[Tensor]:
        """Decoded states, (3, H, W) each, about [-1, 1]."""
        return self.decoding(states)

    def decode(self, states: Sequence[Tensor]) -> list[Tensor]:
        stacked = torch.stack([*states, *[states[-1]] * (-len(states) % self.pad_to)])
        return list(self.vae.decode(stacked / self.vae.config.scaling_factor).sample[: len(states)].clamp(-1, 1))

    def __call__(
        self, states: Sequence[Tensor], timesteps: Sequence[int], tasks: Sequence[LatentTask]
    ) -> list[Prediction]:
        return self.fitting(states, timesteps, tasks)

    def batch(
        self, states: Sequence[Tensor], timesteps: Sequence[int], tasks: Sequence[LatentTask]
    ) -> list[Prediction]:
        missing = -len(states) % self.pad_to
        fill = lambda values: [*values, *[values[-1]] * missing]  # noqa: E731
        # Gradients cannot flow through tensors of inference mode; what is stacked here is new.
        with torch.inference_mode(False), torch.set_grad_enabled(self.rasg):
            tasks = fill(tasks)
            x, t = (
                torch.stack(fill(states)).requires_grad_(self.rasg),
                torch.tensor(fill(timesteps), device=self.device),
            )
            known = torch.stack([torch.cat([task.hole.to(x), task.image]) for task in tasks])
            context = torch.cat([torch.stack(parts) for parts in zip(*(task.context for task in tasks), strict=True)])
            attended = self.attended(x, t, tasks) if self.painta or self.rasg else None
            noise = self.noise(x, t, known, context, attended)
            scores: Sequence[Tensor | None] = [None] * len(x)
            if self.rasg:
                total = rasg_score(attended.logits, attended.tokens, attended.holes[attended.rasg]).sum()
                scores = torch.autograd.grad(total, x)[0]
        pairs = zip(noise.detach(), scores, strict=True)
        return [Prediction(n, score=score) for n, score in list(pairs)[: len(x) - missing]]

    def noise(self, x: Tensor, t: Tensor, known: Tensor, context: Tensor, attended: Attended | None = None) -> Tensor:
        """Guided noise estimates (B, 4, h, w) float32; ``context`` has one or two rows for each image."""
        times = len(context) // len(x)
        inputs = torch.cat([x, known], dim=1).repeat(times, 1, 1, 1)
        extra: dict[str, Any] = {} if attended is None else {"cross_attention_kwargs": {KEY: attended}}
        dtype = self.unet.dtype
        out = self.unet(inputs.to(dtype), t.repeat(times), context.to(dtype), return_dict=False, **extra)[0].float()
        if times == 2:
            negative, positive = out.chunk(2)
            out = negative + self.guidance_scale * (positive - negative)
        if self.velocity is None:
            return out
        abar = self.velocity[t].float().view(-1, 1, 1, 1)
        return abar.sqrt() * out + (1 - abar).sqrt() * x

    def attended(self, x: Tensor, t: Tensor, tasks: Sequence[LatentTask]) -> Attended:
        """The layers at a half and a quarter of the latents' size, and what they need to know."""
        cells = x.shape[2] * x.shape[3]
        holes = {cells >> (2 * i): torch.stack([task.holes[i] for task in tasks]) for i in range(4)}
        return Attended(
            holes,
            torch.stack([task.tokens for task in tasks]).float(),
            t > 500,
            painta=frozenset({cells >> 2, cells >> 4}) if self.painta else frozenset(),
            rasg=cells >> 4 if self.rasg else 0,
        )
