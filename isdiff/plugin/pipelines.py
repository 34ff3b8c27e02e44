"""Families of pipelines: their networks, the levels that they set, and the forms in which they have latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from isdiff.errors import UserError
from isdiff.plugin.scheduler import DIFFUSION, FLOW
from isdiff.priors.families import FAMILIES
from isdiff.priors.latent import decode, encode, means


class Kind:
    """Stable Diffusion and Stable Diffusion XL; the others say what is different.

    Args:
        pipe: a pipeline.
        given: what it is called with, by name.
    Attributes:
        names: of the classes in diffusers.
        part: the pipeline's attribute that is its network.
        values: start, lambda, tau and checkpoint where none are given; for 256 pixels and more, as ``configs/isdiff``.
        schedulers: that are known to fit.
        nudge: steps that are added to the share of them that ``strength`` is to be, so that rounding hits it.
        takes_masked: whether the latents of the masked image can be given.
        takes_looped: whether the call takes its ``latents`` as :meth:`looped` has them.
    """

    names: tuple[str, ...] = ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline")
    part = "unet"
    values: Mapping[str, float] = {"start": 1.0, "lambda": 0.05, "tau": 2.5, "checkpoint": 0.65}
    schedulers: tuple[str, ...] = DIFFUSION
    nudge = 0.5
    takes_masked = True
    takes_looped = False

    def __init__(self, pipe: Any, given: Mapping[str, Any] | None = None) -> None:
        self.pipe, self.given = pipe, given or {}
        self.network = getattr(pipe, self.part)

    def channels(self) -> tuple[int | None, int | None]:
        """How many a network takes that is not made for inpainting, and one that is; None: there is none."""
        return 4, 9

    @property
    def plain(self) -> bool:
        """Whether the network is not made for inpainting: its pipeline itself keeps the known region."""
        return self.network.config.in_channels == self.channels()[0]

    def sides(self) -> tuple[int, int]:
        """Height and width of the pictures: what is asked for, or the model's own."""
        own = self.cells() * self.pipe.vae_scale_factor
        return self.given.get("height") or own, self.given.get("width") or own

    def cells(self) -> int:
        return self.network.config.sample_size

    @property
    def factor(self) -> int:
        """Pixels a side of a cell."""
        return self.pipe.vae_scale_factor

    def encode(self, images: Tensor) -> Tensor:
        return encode(self.pipe.vae, images)

    def decode(self, latents: Tensor) -> Tensor:
        return decode(self.pipe.vae, latents)

    def as_image(self, known: Tensor) -> Tensor | None:
        """Known latents as a pipeline takes them for its image, or it would encode that; None: it does not ask."""
        return known

    def set_levels(self, scheduler: Any) -> int:
        """Set the timesteps as the pipeline will, and return how many steps are asked for; 0: as many as there are."""
        lists = {key: value for key in ("timesteps", "sigmas") if (value := self.given.get(key)) is not None}
        steps = 0 if lists else self.given["num_inference_steps"]
        scheduler.set_timesteps(**(lists or {"num_inference_steps": steps}))
        return steps

    def looped(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) in the form that callbacks, schedulers and networks have it."""
        return latents

    def spatial(self, latents: Tensor) -> Tensor:
        return latents

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        """What a pipeline of the class ``cls`` does otherwise with IS-Diff, by name."""
        return {}


class StableDiffusion3(Kind):
    """Rectified flow: the levels are ``(1 - sigma) x0 + sigma noise``, and sigma is the fraction of the process.

    ``values`` have the signal-to-noise ratios of those of Stable Diffusion: sigma = r / (1 + r), where its noise is r
    times its signal. At sigma 1, where these pipelines begin, nothing of a seed is left.
    """

    names: tuple[str, ...] = ("StableDiffusion3InpaintPipeline",)
    part = "transformer"
    family = "sd3"
    values: Mapping[str, float] = {"start": 0.936, "lambda": 0.022, "tau": 2.5, "checkpoint": 0.732}
    schedulers = FLOW
    nudge = -0.5  # these pipelines round the steps down that they leave out, not those that they make

    def __init__(self, pipe: Any, given: Mapping[str, Any] | None = None) -> None:
        super().__init__(pipe, given)
        self.model: Any = FAMILIES[self.family](pipe)

    def channels(self) -> tuple[int | None, int | None]:
        return 16, None

    def cells(self) -> int:
        return self.pipe.default_sample_size

    @property
    def factor(self) -> int:
        return self.model.factor

    def encode(self, images: Tensor) -> Tensor:
        return self.model.encode(images)

    def decode(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents)

    def set_levels(self, scheduler: Any) -> int:
        sigmas, mu, steps = self.given.get("sigmas"), self.given.get("mu"), self.given["num_inference_steps"]
        sigmas = self.model.even(steps) if sigmas is None else sigmas
        levels = {"num_inference_steps": steps} if sigmas is None else {"sigmas": sigmas}
        if scheduler.config.get("use_dynamic_shifting"):
            height, width = (int(length) // self.model.unit for length in self.sides())
            levels["mu"] = self.model.shift(height * width, steps, scheduler.config) if mu is None else mu
        scheduler.set_timesteps(**levels)
        return len(scheduler.timesteps)

    def looped(self, latents: Tensor) -> Tensor:
        return self.model.packed(latents)

    def spatial(self, latents: Tensor) -> Tensor:
        height, width = (int(length) // self.model.factor for length in self.sides())
        return self.model.unpacked(latents, height, width)


class FluxInpaint(StableDiffusion3):
    """Flux; latents are packed: (B, h/2 * w/2, 4 C)."""

    names = ("FluxInpaintPipeline",)
    family = "flux"

    def channels(self) -> tuple[int | None, int | None]:
        return 4 * self.pipe.latent_channels, None


class FluxFill(FluxInpaint):
    """Flux Fill, whose network is told of the masked image."""

    names = ("FluxFillPipeline",)
    family = "flux_fill"
    takes_masked = False  # its call refuses them beside the image, which it needs
    takes_looped = True

    def channels(self) -> tuple[int | None, int | None]:
        return None, 4 * (2 * self.pipe.vae.config.latent_channels + self.pipe.vae_scale_factor**2)

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        def prepare_mask_latents(self: Any, mask: Tensor, masked_image: Tensor, *args: Any, **kwargs: Any) -> Any:
            """With the posteriors' means, or the latents would be others when a paused attempt goes on."""
            return cls.prepare_mask_latents(self, mask, means(self.vae, masked_image), *args, **kwargs)

        return {"prepare_mask_latents": prepare_mask_latents}


class Chroma(FluxInpaint):
    """Chroma, which takes no latents for its image."""

    names = ("ChromaInpaintPipeline",)
    family = "chroma"

    def as_image(self, known: Tensor) -> Tensor | None:
        return None


def noise_alone(cls: Any, looped: Callable[[Any, Tensor], Tensor]) -> dict[str, Callable]:
    """``prepare_latents`` of pipelines that break on given latents: these are the noise, and IS-Diff keeps the rest."""

    def prepare_latents(self: Any, *args: Any) -> Any:
        dtype, device, latents = args[-4], args[-3], args[-1]
        if latents is None:
            return cls.prepare_latents(self, *args)
        return (looped(self, latents.to(device, dtype)),) * 3

    return {"prepare_latents": prepare_latents}


class QwenImage(FluxInpaint):
    """Qwen-Image."""

    names = ("QwenImageInpaintPipeline",)
    family = "qwen_image"

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        return noise_alone(cls, lambda pipe, latents: pipe._pack_latents(latents, *latents.shape))


class OwnSides(StableDiffusion3):
    """Pipelines that take pictures at their own size."""

    def sides(self) -> tuple[int, int]:
        if (image := self.given.get("image")) is None:
            return 0, 0
        height, width = self.pipe.image_processor.preprocess(image).shape[-2:]
        return height, width


class ZImage(OwnSides):
    """Z-Image, which takes no latents for its image, and encodes it for nothing where it is given the noise."""

    names = ("ZImageInpaintPipeline",)
    family = "z_image"

    def as_image(self, known: Tensor) -> Tensor | None:
        return None

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        def prepare_mask_latents(self: Any, mask: Tensor, masked_image: Tensor, *args: Any) -> Any:
            cells = 2 ** (len(self.vae.config.block_out_channels) - 1)
            return F.interpolate(mask, scale_factor=1 / cells).to(self._execution_device), None

        return noise_alone(cls, lambda pipe, latents: latents) | {"prepare_mask_latents": prepare_mask_latents}


class Klein(OwnSides):
    """FLUX.2 Klein, whose mask is made hard: soft cells would be part noise, part image, at levels of their own."""

    names = ("Flux2KleinInpaintPipeline",)
    family = "flux2_klein"
    channels = FluxInpaint.channels

    def as_image(self, known: Tensor) -> Tensor | None:
        mean, std = self.model.scales()
        return known * std + mean

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        def prepare_mask_latents(self: Any, mask: Tensor, *args: Any) -> Tensor:
            unit = 2 * self.vae_scale_factor
            return self._pack_latents(mask[..., ::unit, ::unit].to(self._execution_device))

        return {"prepare_mask_latents": prepare_mask_latents}


KINDS = (Kind, StableDiffusion3, FluxInpaint, FluxFill, Chroma, QwenImage, ZImage, Klein)


def kind_of(pipe: Any) -> type[Kind]:
    kinds = {name: kind for kind in KINDS for name in kind.names}
    bases = [cls.__name__ for cls in type(pipe).__mro__ if cls.__module__.startswith("diffusers.")]
    kind = next((kinds[name] for name in bases if name in kinds), None)
    if kind is None:
        raise UserError(f"isdiff.apply takes {', '.join(kinds)}; this is a {type(pipe).__name__}")
    of_this = kind(pipe)
    takes, found = [each for each in of_this.channels() if each is not None], of_this.network.config.in_channels
    if found not in takes:
        usable = " or ".join(map(str, takes))
        raise UserError(
            f"the network of this {type(pipe).__name__} takes {found} channels; isdiff.apply takes {usable}"
        )
    return kind
