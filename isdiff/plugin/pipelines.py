"""Families of pipelines: their networks, the levels that they set, and the forms in which they have latents."""

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from isdiff.errors import UserError
from isdiff.plugin.scheduler import DIFFUSION, FLOW
from isdiff.priors import families
from isdiff.priors.latent import Autoencoder


class Kind:
    """Stable Diffusion and Stable Diffusion XL; the others say what is different.

    ``given`` is what the pipeline ``pipe`` is called with, by name.
    """

    part = "unet"  # the pipeline's attribute that is its network
    # start, lambda, tau and checkpoint where none are given; for 256 pixels and more, as ``configs/isdiff``
    values: Mapping[str, float] = {"start": 1.0, "lambda": 0.05, "tau": 2.5, "checkpoint": 0.65}
    schedulers: tuple[str, ...] = DIFFUSION  # that are known to fit
    nudge = 0.5  # steps that are added to the share of them that ``strength`` is to be, so that rounding hits it
    takes_image = True  # whether it takes latents for its image, or encodes that, if its network is ``plain``
    takes_masked = True  # whether the latents of the masked image can be given
    takes_looped = False  # whether the call takes its ``latents`` as :meth:`looped` has them

    def __init__(self, pipe: Any, given: Mapping[str, Any] | None = None) -> None:
        self.pipe, self.given = pipe, given or {}
        self.network, self.autoencoder = getattr(pipe, self.part), Autoencoder(pipe.vae)

    def channels(self) -> list[int]:
        """How many a network may take."""
        return [4, 9]

    @property
    def plain(self) -> bool:
        """Whether the network is not made for inpainting: its pipeline itself keeps the known region."""
        return self.network.config.in_channels == 4

    def sides(self) -> tuple[int, int]:
        """Height and width of the pictures: what is asked for, or the model's own."""
        cells = getattr(self.pipe, "default_sample_size", None) or self.network.config.sample_size
        own = cells * self.pipe.vae_scale_factor
        return self.given.get("height") or own, self.given.get("width") or own

    def as_image(self, known: Tensor) -> Tensor:
        """Known latents as a pipeline takes them for its image."""
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

    family: type[families.Family] = families.Family
    part = "transformer"
    values: Mapping[str, float] = {"start": 0.936, "lambda": 0.022, "tau": 2.5, "checkpoint": 0.732}
    schedulers = FLOW
    nudge = -0.5  # these pipelines round the steps down that they leave out, not those that they make

    def __init__(self, pipe: Any, given: Mapping[str, Any] | None = None) -> None:
        super().__init__(pipe, given)
        self.autoencoder: families.Family = self.family(pipe)

    def channels(self) -> list[int]:
        return [16]

    @property
    def plain(self) -> bool:
        return not self.family.fills

    def cells(self, unit: int) -> tuple[int, int]:
        """Height and width in units of so many pixels."""
        height, width = self.sides()
        return int(height) // unit, int(width) // unit

    def set_levels(self, scheduler: Any) -> int:
        height, width = self.cells(self.autoencoder.unit)
        given = self.given.get("sigmas"), self.given.get("mu")
        self.family.set_levels(scheduler, self.given["num_inference_steps"], height * width, *given)
        return len(scheduler.timesteps)

    def looped(self, latents: Tensor) -> Tensor:
        return self.autoencoder.packed(latents)

    def spatial(self, latents: Tensor) -> Tensor:
        return self.autoencoder.unpacked(latents, *self.cells(self.autoencoder.factor))


class Flux(StableDiffusion3):
    """Flux; latents are packed: (B, h/2 * w/2, 4 C)."""

    family = families.Flux

    def channels(self) -> list[int]:
        return [4 * self.pipe.latent_channels]


class FluxFill(Flux):
    """Flux Fill, whose network is told of the masked image."""

    family = families.FluxFill
    takes_masked = False  # its call refuses them beside the image, which it needs
    takes_looped = True

    def channels(self) -> list[int]:
        return [4 * (2 * self.pipe.vae.config.latent_channels + self.pipe.vae_scale_factor**2)]

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        def prepare_mask_latents(self: Any, mask: Tensor, masked_image: Tensor, *args: Any, **kwargs: Any) -> Any:
            """With the posteriors' means, or the latents would be others when a paused attempt goes on."""
            return cls.prepare_mask_latents(self, mask, Autoencoder(self.vae).means(masked_image), *args, **kwargs)

        return {"prepare_mask_latents": prepare_mask_latents}


class Chroma(Flux):
    """Chroma."""

    family = families.Chroma
    takes_image = False


def noise_alone(cls: Any, looped: Callable[[Any, Tensor], Tensor]) -> dict[str, Callable]:
    """``prepare_latents`` of pipelines that break on given latents: these are the noise, and IS-Diff keeps the rest."""

    def prepare_latents(self: Any, *args: Any) -> Any:
        dtype, device, latents = args[-4], args[-3], args[-1]
        if latents is None:
            return cls.prepare_latents(self, *args)
        return (looped(self, latents.to(device, dtype)),) * 3

    return {"prepare_latents": prepare_latents}


class QwenImage(Flux):
    """Qwen-Image."""

    family = families.QwenImage

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        return noise_alone(cls, lambda pipe, latents: pipe._pack_latents(latents, *latents.shape))


class ZImage(StableDiffusion3):
    """Z-Image, which takes pictures at their own size, and encodes them for nothing where it is given the noise."""

    family = families.ZImage
    takes_image = False

    def sides(self) -> tuple[int, int]:
        if (image := self.given.get("image")) is None:
            return 0, 0
        height, width = self.pipe.image_processor.preprocess(image).shape[-2:]
        return height, width

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        def prepare_mask_latents(self: Any, mask: Tensor, masked_image: Tensor, *args: Any) -> Any:
            cells = Autoencoder(self.vae).factor
            return F.interpolate(mask, scale_factor=1 / cells).to(self._execution_device), None

        return noise_alone(cls, lambda pipe, latents: latents) | {"prepare_mask_latents": prepare_mask_latents}


class Klein(StableDiffusion3):
    """FLUX.2 Klein, whose mask is made hard: soft cells would be part noise, part image, at levels of their own."""

    family = families.Klein
    autoencoder: families.Klein
    channels, sides = Flux.channels, ZImage.sides

    def as_image(self, known: Tensor) -> Tensor:
        mean, std = self.autoencoder.scales()
        return known * std + mean

    @staticmethod
    def methods(cls: Any) -> dict[str, Callable]:
        def prepare_mask_latents(self: Any, mask: Tensor, *args: Any) -> Tensor:
            unit = 2 * self.vae_scale_factor
            return self._pack_latents(mask[..., ::unit, ::unit].to(self._execution_device))

        return {"prepare_mask_latents": prepare_mask_latents}


FLOWS = (StableDiffusion3, Flux, FluxFill, Chroma, QwenImage, ZImage, Klein)
KINDS: dict[str, type[Kind]] = {"StableDiffusionInpaintPipeline": Kind, "StableDiffusionXLInpaintPipeline": Kind}
KINDS |= {kind.family.pipeline: kind for kind in FLOWS}


def kind_of(pipe: Any) -> type[Kind]:
    bases = [cls.__name__ for cls in type(pipe).__mro__ if cls.__module__.startswith("diffusers.")]
    kind = next((KINDS[name] for name in bases if name in KINDS), None)
    if kind is None:
        raise UserError(f"isdiff.apply takes {', '.join(KINDS)}; this is a {type(pipe).__name__}")
    of_this = kind(pipe)
    takes, found = of_this.channels(), of_this.network.config.in_channels
    if found not in takes:
        usable = " or ".join(map(str, takes))
        raise UserError(
            f"the network of this {type(pipe).__name__} takes {found} channels; isdiff.apply takes {usable}"
        )
    return kind
