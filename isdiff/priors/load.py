"""From a configuration to the model that the engine asks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from isdiff.diffusion.process import named_betas
from isdiff.errors import UserError
from isdiff.hub import SUMS, verify
from isdiff.models import load_net
from isdiff.priors.guidance import ClassifierGuidance
from isdiff.priors.latent import LatentPrior
from isdiff.priors.pixel import DTYPES, PixelPrior
from isdiff.priors.text import TextEncoder

GUIDED = 7.5  # guidance_scale that "auto" means where there is text, unless model.text_guidance says otherwise


def is_latent(cfg: DictConfig) -> bool:
    return cfg.model.get("kind", "pixel") == "latent"


def missing_weights(cfg: DictConfig) -> list[str]:
    """One line for every file or folder that is not here, with the command that gets it."""
    if cfg.model.weights == "random":
        return []
    nets = [cfg.model, cfg.model.classifier] if cfg.model.get("guidance_scale") else [cfg.model]
    return [
        f"weights {net.weights} are missing: {net.get('how', f'python scripts/weights.py get {net.name}')}"
        for net in nets
        if not Path(net.weights).exists() and not is_hub_id(net.weights)
    ]


def is_hub_id(weights: str) -> bool:
    """``owner/name``, and no folder of that name is meant."""
    return weights.count("/") == 1 and not Path(weights).parent.is_dir() and "." not in weights.split("/")[0]


def load_prior(cfg: DictConfig, device: torch.device, precision: str) -> PixelPrior | LatentPrior:
    """
    Raises:
        UserError: weights that are missing or damaged, or of another kind of model.
    """
    return load_latent(cfg, device, precision) if is_latent(cfg) else load_pixel(cfg, device, precision)


def load_pixel(cfg: DictConfig, device: torch.device, precision: str) -> PixelPrior:
    prior = PixelPrior(load_net(cfg.model), device, precision, cfg.runtime.pad_to)
    if cfg.model.get("guidance_scale"):
        guide = OmegaConf.merge(cfg.model.classifier, {"weights": "random"} if cfg.model.weights == "random" else {})
        classifier = load_net(guide).to(device, DTYPES[precision])
        prior.guidance = ClassifierGuidance(classifier, cfg.model.guidance_scale)
    if cfg.runtime.compile:
        prior.net = torch.compile(prior.net, dynamic=False)
    return prior


def guidance_scale(cfg: DictConfig) -> float:
    scale = cfg.latent.guidance_scale
    if scale == "auto":
        text = cfg.prompt or cfg.negative_prompt or cfg.latent.task
        return float(cfg.model.get("text_guidance", GUIDED)) if text else 1.0
    return float(scale)


def load_latent(cfg: DictConfig, device: torch.device, precision: str) -> LatentPrior:
    pipeline = load_pipeline(cfg.model)
    text = None if pipeline.text_encoder is None else TextEncoder(pipeline.tokenizer, pipeline.text_encoder)
    prior = LatentPrior(
        pipeline.unet, pipeline.vae, text, device, precision,
        guidance_scale=guidance_scale(cfg), conditioning=cfg.latent.conditioning, painta=cfg.latent.painta,
        rasg=cfg.latent.rasg, pad_to=cfg.runtime.pad_to, enough=max(32, 10 * cfg.isdiff.seed.components),
        velocity=velocity_table(pipeline, cfg),
    )  # fmt: skip
    if cfg.runtime.compile:
        prior.unet = torch.compile(prior.unet, dynamic=False)
    return prior


def velocity_table(pipeline, cfg: DictConfig) -> torch.Tensor | None:
    """alphas_cumprod where the pipeline's scheduler says that its U-Net predicts velocity; None for noise.

    Raises:
        UserError: it predicts something else.
    """
    scheduler = getattr(pipeline, "scheduler", None)
    kind = "epsilon" if scheduler is None else scheduler.config.get("prediction_type", "epsilon")
    if kind == "epsilon":
        return None
    if kind != "v_prediction":
        raise UserError(f"model {cfg.model.name} predicts {kind!r}; epsilon and v_prediction can be used")
    return torch.cumprod(1 - named_betas(cfg.model.noise_schedule, cfg.model.num_timesteps), 0)


def load_pipeline(model: DictConfig):
    """A diffusers inpainting pipeline from a folder, a single file or the hub.

    Raises:
        UserError: it is not there, parts of it are missing, or files are not those whose hashes were noted.
    """
    if model.weights == "random":
        return random_pipeline(model)
    from diffusers import StableDiffusionInpaintPipeline
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    options = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    source = Path(model.weights)
    if (source / SUMS).exists():
        verify(source)
    try:
        if source.suffix in (".safetensors", ".ckpt"):
            return StableDiffusionInpaintPipeline.from_single_file(str(source), safety_checker=None)
        if source.is_dir():
            options["local_files_only"] = True
        else:
            options["revision"] = model.revision
        return StableDiffusionInpaintPipeline.from_pretrained(str(source), variant=model.variant, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"model {model.weights} is no whole diffusers inpainting pipeline ({reason[:200]})") from None


def random_pipeline(model: DictConfig):
    """Untrained parts of the published sizes, to check memory and speed; a tokenizer of a few words.

    Raises:
        UserError: the model's configuration does not list its sizes.
    """
    if "random" not in model:
        raise UserError(f"model {model.name} cannot have random weights: its configuration lists no sizes")
    from types import SimpleNamespace

    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from isdiff.nets.words import build_tokenizer

    sizes: Any = OmegaConf.to_container(model.random, resolve=True)
    torch.manual_seed(0)
    return SimpleNamespace(
        unet=UNet2DConditionModel(**sizes["unet"]),
        vae=AutoencoderKL(**sizes["vae"]),
        text_encoder=CLIPTextModel(CLIPTextConfig(vocab_size=49438, max_position_embeddings=77, **sizes["text"])),
        tokenizer=build_tokenizer(["a photo of a dog"], 77),
    )
