"""The recorded latent models, whose weights follow from their names."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

LATENT = Path(__file__).parent / "golden" / "latent"


def read(name: str):
    return json.loads((LATENT / name).read_text())


def arrays(name: str) -> dict[str, torch.Tensor]:
    with np.load(LATENT / name) as file:
        return {k: torch.from_numpy(file[k]) for k in file.files}


def set_weights(module, seed: int):
    """The recordings' rule: every weight follows from its name."""
    state = module.state_dict()
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        key = name.removeprefix("text_model.")  # transformers 4 has it, 5 does not
        rng = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
        z = torch.from_numpy(rng.standard_normal(tuple(value.shape)).astype(np.float32))
        if value.dim() == 1:
            state[name] = 1 + 0.1 * z if key.endswith("weight") else 0.05 * z
        else:
            state[name] = z * np.float32(1 / np.sqrt(np.prod(value.shape[1:])))
    module.load_state_dict(state)
    return module.eval()


def build_parts(seed: int, extra: dict[str, torch.Tensor] | None = None, unet_options: dict | None = None):
    """U-Net, autoencoder, tokenizer and text model; ``extra`` adds PowerPaint's words with their vectors."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    config = read("stable_inpaint/configs.json")
    vae = set_weights(AutoencoderKL(**config["vae"]), seed + 1)
    unet = set_weights(UNet2DConditionModel(**config["unet"] | (unet_options or {})), seed + 2)
    text = set_weights(CLIPTextModel(CLIPTextConfig(**config["text_encoder"])), seed + 3)
    tokenizer = CLIPTokenizer.from_pretrained(LATENT / "tokenizer")
    if extra:
        tokenizer.add_tokens([f"{word}_{i}" for word in extra for i in range(10)])
        rows = text.get_input_embeddings().weight.data
        text.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        text.get_input_embeddings().weight.data[:] = torch.cat([rows, *extra.values()])
    return unet, vae, tokenizer, text


def build_pipeline(unet, vae, tokenizer, text):
    """A diffusers pipeline of these parts, with the scheduler that hub models have."""
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline

    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1,
        timestep_spacing="trailing", set_alpha_to_one=True,
    )  # fmt: skip
    return StableDiffusionInpaintPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
