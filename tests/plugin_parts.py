"""Tiny random pipelines of diffusers, and calls of them, for the tests of the plug-in."""

import copy

import pytest
import torch
from flow_parts import FLOWS
from latent_parts import build_parts, build_pipeline, read, set_weights

import isdiff

STEPS = 10
HALF = (slice(None), slice(None), slice(None), slice(32, None))


def xl_pipeline():
    """A tiny random Stable Diffusion XL for inpainting."""
    from diffusers import StableDiffusionXLInpaintPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    _, vae, tokenizer, text = build_parts(100)
    sizes = read("stable_inpaint/configs.json")
    unet = UNet2DConditionModel(
        **sizes["unet"] | {"cross_attention_dim": 64}, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )  # fmt: skip
    second = CLIPTextModelWithProjection(CLIPTextConfig(**sizes["text_encoder"] | {"projection_dim": 32}))
    pipe = StableDiffusionXLInpaintPipeline(
        vae, text, set_weights(second, 7), tokenizer, copy.deepcopy(tokenizer), set_weights(unet, 8),
        build_pipeline(None, vae, tokenizer, text).scheduler, add_watermarker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def half(count: int = 1) -> torch.Tensor:
    mask = torch.zeros(count, 1, 64, 64)
    mask[HALF] = 1
    return mask


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def call(pipe, images, prompt="a dog", **options):
    """Pictures; ``images`` are tensors in [-1, 1], which diffusers wants in [0, 1], latents or anything else."""
    images = images / 2 + 0.5 if isinstance(images, torch.Tensor) and images.shape[1] == 3 else images
    given = {"mask_image": half(), "num_inference_steps": STEPS, "guidance_scale": 2.0, "output_type": "pt"}
    given |= {"height": 64, "width": 64, "max_sequence_length": 16} if hasattr(pipe, "transformer") else {}
    return pipe(prompt, image=images, **given | options).images


def asked(pipe) -> list[int]:
    """The numbers of images in the network calls to come; with guidance each has two rows."""
    counts: list[int] = []
    network = getattr(pipe, "unet", None) or pipe.transformer
    rows = 1 if type(pipe).__name__.startswith("Flux") else 2

    def count(module, args, kwargs):
        counts.append(len(args[0] if args else kwargs["hidden_states"]) // rows)

    network.register_forward_pre_hook(count, with_kwargs=True)
    return counts


def middling(pipe, images, **options) -> float:
    """A threshold that some first attempts at ``images`` pass and others fail."""
    starts = []

    def enough(pipe, step, t, tensors):
        starts.extend([t] * (step == 0))
        if len(starts) == 2:  # the second attempt begins: all first ones are judged
            raise KeyboardInterrupt
        return {}

    isdiff.apply(pipe, attempts=2, tau=0.0)
    with pytest.raises(KeyboardInterrupt):
        call(pipe, images, **options, callback_on_step_end=enough)
    first = sorted(made.attempts[0].dce for made in pipe.isdiff.images)
    return (first[0] + first[-1]) / 2


def state(pipe) -> dict:
    """Everything there is to a pipeline: its class, attributes, configuration, and its modules' parameters."""
    found = {"class": type(pipe), "attributes": {key: id(value) for key, value in vars(pipe).items() if key[0] != "_"}}
    found["config"] = dict(pipe.config)
    for name, module in pipe.components.items():
        found[name] = (id(module), type(module), sorted(vars(module)) if module is not None else [])
        if isinstance(module, torch.nn.Module):
            found[f"{name}.modules"] = [(id(m), type(m), m.training) for m in module.modules()]
            found[f"{name}.hooks"] = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules()]
            found[f"{name}.parameters"] = [
                (n, id(p), p.dtype, p.device, p.requires_grad, p.double().sum().item())
                for n, p in module.named_parameters()
            ]
    found["scheduler.state"] = {k: str(v) for k, v in vars(pipe.scheduler).items()}
    return found


def broken(pipe, step, t, tensors):
    raise ZeroDivisionError


MAKERS = {
    "sd": lambda: build_pipeline(*build_parts(100)),
    "xl": xl_pipeline,
    "sd3": FLOWS["sd3"],
    "flux": FLOWS["flux"],
    "fill": FLOWS["flux_fill"],
}
