"""Latent inpainting models of diffusers, and PowerPaint v1 as its authors published it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isdiff.checks import BadValue, FromOne, Text
from isdiff.component import plain
from isdiff.devices import DTYPES, compiled
from isdiff.errors import Missing, UserError
from isdiff.io.fingerprint import remembered_sha256, weights_fingerprint
from isdiff.io.hub import SUMS, verify
from isdiff.io.models import fill, open_weights
from isdiff.models.base import RANDOM, Model, ScheduleName, check_keys, lacking
from isdiff.models.pipeline import check_words, load_pipeline, random_pipeline
from isdiff.nets.drawings import TASK_WORDS, VECTORS
from isdiff.paths import located
from isdiff.priors.conditioning import Conditioning, TextEncoder
from isdiff.priors.latent import LatentPrior


@dataclass(eq=False)
class DiffusersModel(Model):
    """A model in the layout of diffusers, in a folder or on the hub."""

    revision: Text | None = None  # of an id on the hub
    variant: Text | None = None  # of the files in a folder or on the hub
    # classifier-free guidance that ``latent.guidance_scale=auto`` means where there is text; 1: none
    text_guidance: FromOne = 1.0

    not_hashed = (*Model.not_hashed, "path", "revision", "variant", "text_guidance")
    latent = True

    def identity(self) -> str:
        if self.weights == RANDOM:
            return RANDOM
        return weights_fingerprint(self.weights, name=self.name, revision=self.revision, variant=self.variant)

    def check_loading(self, compile: bool | str, sizes: Any = None) -> None:
        """Refuse what a model of diffusers cannot be loaded with."""
        if compile == "graphs":
            raise UserError("runtime.compile is graphs, which is for models of pixels; give true or false")
        if self.weights == RANDOM and not sizes:
            raise UserError(f"model {self.name} cannot have random weights: its configuration lists no sizes")


@dataclass(eq=False)
class LatentModel(DiffusersModel):
    """An inpainting model, in a folder, a single file or on the hub, or with ``random`` weights."""

    noise_schedule: ScheduleName = "scaled_linear"
    text_guidance: FromOne = 7.5
    random: Mapping[str, Any] | None = None  # sizes of ``unet``, ``vae`` and ``text`` for random weights

    not_hashed = (*DiffusersModel.not_hashed, "random")
    sees_hole = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_keys("random", self.random, ("unet", "vae", "text"))

    def fingerprint(self) -> dict[str, Any]:
        return super().fingerprint() | ({"random": plain(self.random)} if self.weights == RANDOM else {})

    def load(
        self, device: torch.device, precision: str = "fp32", *, pad_to: int = 4, compile: bool | str = False,
        conditioning: Conditioning | None = None, enough: int = 50,
    ) -> LatentPrior:  # fmt: skip
        """The U-Net in ``precision``, the autoencoder and the text encoder in float32, none of them to be trained."""
        self.check_loading(compile, self.random)
        pipeline = self.pipeline()
        text = None if pipeline.text_encoder is None else TextEncoder(pipeline.tokenizer, pipeline.text_encoder)
        asking = (conditioning or Conditioning()).reading(text)
        for module, dtype in ((pipeline.unet, DTYPES[precision]), (pipeline.vae, torch.float32)):
            # Not diffusers' own ``to``, which warns of modules to be kept in float32 also where it lists none.
            nn.Module.to(module.eval().requires_grad_(False), device=device, dtype=dtype)
        if text is not None:
            text.model.eval().requires_grad_(False).to(device=device, dtype=torch.float32)
        unet: Any = asking.fitted(pipeline.unet)
        if compile:
            unet = compiled(unet, device)
        velocity = self.velocity_table(getattr(pipeline, "scheduler", None))
        return LatentPrior(unet, pipeline.vae, asking, device, pad_to=pad_to, enough=enough, velocity=velocity)

    def pipeline(self) -> Any:
        if self.weights != RANDOM:
            return load_pipeline(self.weights, self.revision, self.variant)
        assert self.random is not None, "load checks it"
        return random_pipeline(self.random)

    def velocity_table(self, scheduler: Any) -> Tensor | None:
        """alphas_cumprod where a pipeline's scheduler says that its U-Net predicts velocity; None for noise."""
        kind = "epsilon" if scheduler is None else scheduler.config.get("prediction_type", "epsilon")
        if kind not in ("epsilon", "v_prediction"):
            raise UserError(f"model {self.name} predicts {kind!r}; epsilon and v_prediction can be used")
        return None if kind == "epsilon" else self.own_schedule.alphas_cumprod


FILES = ("unet/unet.safetensors", "text_encoder/text_encoder.safetensors")
EMBEDDING = "embeddings.token_embedding."
PREFIX = "text_model."  # of the text encoder's tensors, in files and in transformers before 5


@dataclass(eq=False)
class PowerPaintModel(LatentModel):
    """PowerPaint v1: its own U-Net and text encoder, the rest from its base, of which revision and variant are."""

    # Stable Diffusion 1.5 inpainting, of which it takes autoencoder, scheduler and tokenizer: a diffusers folder, a
    # single file, or an id on the hub
    base: Text = ""

    not_hashed = (*LatentModel.not_hashed, "base")

    def __post_init__(self) -> None:
        self.base = str(self.base)
        if RANDOM in (self.weights, self.base):
            raise BadValue(f"weights or base is random; {self.name} has no sizes for untrained weights")
        super().__post_init__()

    def missing(self) -> list[str]:
        files = (lacking(f"{self.weights}/{file}", self.name, self.how) for file in FILES)
        return [*next(filter(None, files), []), *lacking(self.base, Path(self.base).name)]

    def identity(self) -> str:
        """Of both files and the base together."""
        files = [located(self.weights) / file for file in FILES]
        base = weights_fingerprint(self.base, name=self.name, revision=self.revision, variant=self.variant)
        if base == "missing" or not all(file.is_file() for file in files):
            return "missing"
        return hashlib.sha256("\n".join([*map(remembered_sha256, files), base]).encode()).hexdigest()

    def pipeline(self) -> Any:
        if things := self.missing():
            raise Missing(things)
        folder = located(self.weights)
        if (folder / SUMS).exists():
            verify(folder, remembered_sha256)
        pipeline = load_pipeline(self.base, self.revision, self.variant)
        unet, text = (folder / file for file in FILES)
        fill(pipeline.unet.float(), open_weights(unet)[0], unet)
        add_task_words(pipeline, with_task_words(open_weights(text)[0], text), text)
        check_words(pipeline)
        return pipeline


def with_task_words(tensors: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """A text encoder's tensors without prefix and with one table of words.

    The authors keep the base's words and the learned ones apart. Each learned word stands for ``VECTORS`` rows after
    the base's, in the order of ``TASK_WORDS``.
    """
    found = {name.removeprefix(PREFIX): value for name, value in tensors.items() if not name.endswith("position_ids")}
    names = [f"{EMBEDDING}wrapped.weight", *(f"{EMBEDDING}trainable_embeddings.{word}" for word in TASK_WORDS)]
    parts = [found.pop(name, torch.empty(0)) for name in names]
    rows = len(parts[0])
    for name, part, count in zip(names, parts, (rows, *[VECTORS] * len(TASK_WORDS)), strict=True):
        if part.dim() != 2 or part.shape != (count, parts[0].shape[-1]):
            raise UserError(f"weights {source} have no words of PowerPaint: {name} is {tuple(part.shape)}")
    return found | {f"{EMBEDDING}weight": torch.cat(parts)}


def add_task_words(pipeline: Any, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Give the pipeline's tokenizer the learned words and its text encoder ``tensors``."""
    net = pipeline.text_encoder
    pipeline.tokenizer.add_tokens([f"{word}_{i}" for word in TASK_WORDS for i in range(VECTORS)])
    net.resize_token_embeddings(len(pipeline.tokenizer), mean_resizing=False)
    names = {name.removeprefix(PREFIX): name for name in net.state_dict()}
    fill(net.float(), {names.get(name, name): value for name, value in tensors.items()}, source)
