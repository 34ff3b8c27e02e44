"""From a configuration to the model that the engine asks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from isdiff.diffusion.process import named_betas
from isdiff.errors import UserError
from isdiff.io.hub import SUMS, brief, check_finite, is_hub_id, load_part, verify
from isdiff.io.models import build_net, load_net
from isdiff.io.weights import Weights
from isdiff.nets.classifier import Classifier
from isdiff.paths import located
from isdiff.priors.conditioning.base import Conditioning
from isdiff.priors.guidance import ClassifierGuidance
from isdiff.priors.latent import LatentPrior
from isdiff.priors.pixel import DTYPES, PixelPrior
from isdiff.priors.text import TextEncoder

NETWORKS = ("unet", "vae", "text_encoder")
WITHOUT_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
Ask = Callable[[TextEncoder | None], Conditioning]


def is_latent(cfg: DictConfig) -> bool:
    return cfg.model.get("kind", "pixel") == "latent"


def missing_weights(cfg: DictConfig) -> list[str]:
    """One line for every file or folder that is not here, with the command that gets it."""
    if cfg.model.weights == "random":
        return []
    nets = [cfg.model, cfg.model.classifier] if cfg.model.get("guidance_scale") else [cfg.model]
    return [
        f"weights {net.weights} are missing: {net.get('how', f'isdiff weights get {net.name}')}"
        for net in nets
        if not located(net.weights).exists() and not is_hub_id(net.weights)
    ]


def load_prior(cfg: DictConfig, device: torch.device, precision: str, ask: Ask) -> PixelPrior | LatentPrior:
    """
    Args:
        ask: from a latent model's text encoder to how it is asked.
    Raises:
        UserError: weights that are missing or damaged, or of another kind of model.
    """
    return load_latent(cfg, device, precision, ask) if is_latent(cfg) else load_pixel(cfg, device, precision)


def load_pixel(cfg: DictConfig, device: torch.device, precision: str) -> PixelPrior:
    """
    Raises:
        UserError: weights that are missing or damaged, of another kind of network, or made for other classes.
    """
    net = network(cfg.model)
    require_denoiser(net, cfg.model)
    prior = PixelPrior(net, device, precision, cfg.runtime.pad_to)
    if cfg.model.get("guidance_scale"):
        guide: DictConfig = cfg.model.classifier.copy()
        guide.weights = "random" if cfg.model.weights == "random" else guide.weights
        classifier = network(guide)
        if not isinstance(classifier, Classifier):
            raise UserError(f"weights {guide.weights} are no classifier's; give others as model.classifier.weights")
        prior.guidance = ClassifierGuidance(classifier.to(device, DTYPES[precision]), cfg.model.guidance_scale)
    if cfg.runtime.compile:
        prior.net = torch.compile(prior.net, dynamic=False)
    return prior


def network(model: DictConfig) -> nn.Module:
    """The network of a ``model`` configuration, float32.

    ``weights=random`` gives the network that the manifest lists under that name, untrained, to check sizes and speed.

    Raises:
        Missing: the weights are not here.
        UserError: they are damaged, not finite, or not those of the network that their header names.
    """
    if model.weights != "random":
        return load_net(located(model.weights))
    torch.manual_seed(0)
    return build_net(Weights().entry(model.name).net)


def require_denoiser(net: nn.Module, model: DictConfig) -> None:
    """
    Raises:
        UserError: the network predicts no noise, or takes other class labels than the model's configuration gives.
    """
    if isinstance(net, Classifier):
        raise UserError(f"weights {model.weights} are a classifier's; give a diffusion model's as model.weights")
    takes, given = getattr(net, "num_classes", None), model.get("num_classes")
    if takes != given:
        raise UserError(f"weights {model.weights} take {takes} classes; set model.num_classes, which is {given}")


def load_latent(cfg: DictConfig, device: torch.device, precision: str, ask: Ask) -> LatentPrior:
    """The U-Net in ``precision``, the autoencoder and the text encoder in float32, none of them to be trained."""
    pipeline = load_pipeline(cfg.model)
    text = None if pipeline.text_encoder is None else TextEncoder(pipeline.tokenizer, pipeline.text_encoder)
    conditioning = ask(text)
    for module, dtype in ((pipeline.unet, DTYPES[precision]), (pipeline.vae, torch.float32)):
        module.eval().requires_grad_(False).to(device=device, dtype=dtype)
    if text is not None:
        text.model.eval().requires_grad_(False).to(device=device, dtype=torch.float32)
    unet: Any = conditioning.fitted(pipeline.unet)
    if cfg.runtime.compile:
        unet = torch.compile(unet, dynamic=False)
    enough = max(32, 10 * cfg.isdiff.seed.components)
    return LatentPrior(
        unet, pipeline.vae, conditioning, device, pad_to=cfg.runtime.pad_to, enough=enough,
        velocity=velocity_table(pipeline, cfg),
    )  # fmt: skip


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
        UserError: it is not there, parts of it are missing or not finite, or files are not those whose hashes were
            noted.
    """
    if model.weights == "random":
        return random_pipeline(model)
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    source = located(model.weights)
    if (source / SUMS).exists():
        verify(source)
    try:
        if source.suffix in (".safetensors", ".ckpt"):
            return single_file(source)
        return whole_pipeline(source if source.is_dir() else fetched(model), model.variant)
    except Exception as error:  # diffusers, transformers and the hub's client raise many kinds
        raise UserError(f"model {model.weights} is no whole diffusers inpainting pipeline ({brief(error)})") from None


def single_file(path: Path):
    from diffusers import StableDiffusionInpaintPipeline

    if not path.is_file():
        raise UserError("there is no such file")
    pipeline = StableDiffusionInpaintPipeline.from_single_file(str(path), safety_checker=None)
    for part in NETWORKS:
        if getattr(pipeline, part, None) is not None:
            check_finite(getattr(pipeline, part), path)
    return pipeline


def fetched(model: DictConfig) -> Path:
    """The local folder of an id on the hub; only what is not there yet is downloaded."""
    from diffusers import StableDiffusionInpaintPipeline

    return Path(
        StableDiffusionInpaintPipeline.download(
            model.weights, revision=model.revision, variant=model.variant, **WITHOUT_CHECKER
        )
    )


def whole_pipeline(folder: Path, variant: str | None):
    """The pipeline in a folder, whose networks are loaded one by one, because only then missing tensors are noticed."""
    import diffusers
    import transformers

    index = json.loads((folder / "model_index.json").read_text())
    if not isinstance(index, dict):
        raise UserError("model_index.json names no parts")
    networks = {}
    for part in NETWORKS:
        library, name = index.get(part) or (None, None)
        cls = getattr({"diffusers": diffusers, "transformers": transformers}.get(str(library)), str(name), None)
        if isinstance(cls, type) and issubclass(cls, nn.Module):
            # Like diffusers: a part without files of the variant has others.
            has = variant and any((folder / part).glob(f"*.{variant}[.-]*"))
            networks[part] = load_part(cls, folder, part, variant if has else None)
    pipeline = diffusers.StableDiffusionInpaintPipeline.from_pretrained(
        str(folder), variant=variant, local_files_only=True, **WITHOUT_CHECKER, **networks
    )
    check_words(pipeline)
    return pipeline


def check_words(pipeline) -> None:
    """
    Raises:
        UserError: the tokenizer has no words, or words for which the text encoder has no vectors.
    """
    if pipeline.text_encoder is None or pipeline.tokenizer is None:
        return
    words, vectors = len(pipeline.tokenizer), pipeline.text_encoder.get_input_embeddings().num_embeddings
    if not 2 < words <= vectors:
        raise UserError(f"its tokenizer has {words} words, its text_encoder vectors for {vectors}")


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
