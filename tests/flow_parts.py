"""Tiny random pipelines of every flow-matching family, whose weights follow from their names."""

import copy

import torch
from latent_parts import build_parts, read, set_weights

from isdiff.models.flow import Levels
from isdiff.priors.conditioning import Conditioning
from isdiff.priors.families import FAMILIES
from isdiff.priors.flow import FlowPrior
from isdiff.trajectory import Stream

WIDTH, SIDE = 32, 64
PROMPT, NEGATIVE = "a red dog", "blurry"
SHIFTING = {"use_dynamic_shifting": True, "base_image_seq_len": 16, "max_image_seq_len": 256}
TERMINAL = {**SHIFTING, "base_shift": 0.5, "max_shift": 0.9, "shift_terminal": 0.02}
LEVELS = {  # settings of each family's scheduler
    "sd3": {"shift": 3.0}, "flux": SHIFTING, "flux_fill": SHIFTING, "chroma": {"shift": 3.0}, "qwen_image": TERMINAL,
    "z_image": {"shift": 3.0}, "flux2_klein": {"use_dynamic_shifting": True},
}  # fmt: skip
GUIDANCE = {"flux": 3.5, "flux_fill": 30.0}


def scheduler_of(family: str):
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**LEVELS[family])


def vae_of():
    from diffusers import AutoencoderKL

    sizes = read("stable_inpaint/configs.json")["vae"]
    return set_weights(AutoencoderKL(**sizes | {"latent_channels": 16, "shift_factor": 0.3}), 11)


def t5_of(width: int = WIDTH):
    from transformers import T5Config, T5EncoderModel

    sizes = {"vocab_size": 1000, "d_model": width, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return set_weights(T5EncoderModel(T5Config(**sizes)), 15)


def byte_tokenizer():
    """A token for each byte; its chats are their messages' texts."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<pad>", "<end>", *sorted(ByteLevel.alphabet())])}
    raw = Tokenizer(BPE(vocab=words, merges=[]))
    raw.pre_tokenizer = ByteLevel(add_prefix_space=False)
    chat = "{% for message in messages %}ask: {{ message.content }} answer:{% endfor %}"
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<end>", chat_template=chat, model_max_length=1024
    )


QWEN = {
    "vocab_size": 300, "hidden_size": WIDTH, "intermediate_size": 32, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": 1,
}  # fmt: skip


def qwen3_of(layers: int):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return set_weights(Qwen3ForCausalLM(Qwen3Config(**QWEN, num_hidden_layers=layers)), 17)


def sd3_pipeline():
    from diffusers import SD3Transformer2DModel, StableDiffusion3InpaintPipeline
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    *_, tokenizer, _ = build_parts(100)
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=2 * WIDTH, caption_projection_dim=32,
        pooled_projection_dim=2 * WIDTH, pos_embed_max_size=16,
    )  # fmt: skip
    config = CLIPTextConfig(**read("stable_inpaint/configs.json")["text_encoder"] | {"projection_dim": WIDTH})
    texts = [set_weights(CLIPTextModelWithProjection(config), seed) for seed in (13, 14)]
    return StableDiffusion3InpaintPipeline(
        set_weights(transformer, 12), scheduler_of("sd3"), vae_of(), texts[0], tokenizer, texts[1],
        copy.deepcopy(tokenizer), None, None,
    )  # fmt: skip


TOKENS = {"num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": WIDTH}


def flux_pipeline(name: str, channels: int):
    import diffusers

    *_, tokenizer, text = build_parts(100)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=channels, out_channels=64, num_single_layers=1, pooled_projection_dim=WIDTH,
        guidance_embeds=True, axes_dims_rope=(4, 4, 8), **TOKENS,
    )  # fmt: skip
    return getattr(diffusers, name)(
        scheduler_of("flux"), vae_of(), text, tokenizer, t5_of(), copy.deepcopy(tokenizer), set_weights(transformer, 16)
    )


def chroma_pipeline():
    from diffusers import ChromaInpaintPipeline, ChromaTransformer2DModel

    *_, tokenizer, _ = build_parts(100)
    transformer = ChromaTransformer2DModel(
        in_channels=64, num_single_layers=1, axes_dims_rope=(4, 4, 8), approximator_num_channels=16,
        approximator_hidden_dim=32, approximator_layers=1, **TOKENS,
    )  # fmt: skip
    transformer.register_to_config(guidance_embeds=False)  # which the pipeline looks for
    return ChromaInpaintPipeline(
        scheduler_of("chroma"), vae_of(), t5_of(), tokenizer, set_weights(transformer, 18), None, None
    )


def qwen_pipeline():
    from diffusers import AutoencoderKLQwenImage, QwenImageInpaintPipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[-0.5, 0.1, 0.4, -0.2], latents_std=[2.0, 1.5, 0.8, 1.2],
    )  # fmt: skip
    transformer = QwenImageTransformer2DModel(in_channels=16, out_channels=4, axes_dims_rope=(4, 6, 6), **TOKENS)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": WIDTH}
    text = QWEN | {"num_hidden_layers": 1, "rope_scaling": rope}
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
    return QwenImageInpaintPipeline(
        scheduler_of("qwen_image"), set_weights(vae, 19), set_weights(model, 20), byte_tokenizer(),
        set_weights(transformer, 21),
    )  # fmt: skip


def z_pipeline():
    from diffusers import ZImageInpaintPipeline, ZImageTransformer2DModel

    transformer = ZImageTransformer2DModel(
        in_channels=16, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=WIDTH,
        axes_dims=[4, 4, 8], axes_lens=[600, 16, 16],
    )  # fmt: skip
    return ZImageInpaintPipeline(
        scheduler_of("z_image"), vae_of(), qwen3_of(2), byte_tokenizer(), set_weights(transformer, 22)
    )


def klein_pipeline():
    from diffusers import AutoencoderKLFlux2, Flux2KleinInpaintPipeline, Flux2Transformer2DModel

    vae = AutoencoderKLFlux2(
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[8, 8], layers_per_block=1, latent_channels=4, norm_num_groups=4,
    )  # fmt: skip
    set_weights(vae, 23)
    vae.bn.running_mean.copy_(torch.linspace(-0.5, 0.5, 16))
    vae.bn.running_var.copy_(torch.linspace(0.5, 2.0, 16))
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_single_layers=1, timestep_guidance_channels=16, axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False, **TOKENS | {"joint_attention_dim": 3 * WIDTH},
    )  # fmt: skip
    return Flux2KleinInpaintPipeline(
        scheduler_of("flux2_klein"), vae, qwen3_of(28), byte_tokenizer(), set_weights(transformer, 24)
    )


FLOWS = {
    "sd3": sd3_pipeline,
    "flux": lambda: flux_pipeline("FluxInpaintPipeline", 64),
    "flux_fill": lambda: flux_pipeline("FluxFillPipeline", 64 + 64 + 4 * 16),
    "chroma": chroma_pipeline,
    "qwen_image": qwen_pipeline,
    "z_image": z_pipeline,
    "flux2_klein": klein_pipeline,
}


def half() -> torch.Tensor:
    hole = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    hole[..., SIDE // 2 :] = True
    return hole


def prior_of(name: str, pipe, scale: float = 1.0, pad_to: int = 1) -> FlowPrior:
    """A pipeline's parts as the engine's prior, with guidance away from the texts that ``stock`` gives."""
    family = FAMILIES[name](pipe, GUIDANCE.get(name))
    asking = Conditioning(scale, "" if name == "flux2_klein" else NEGATIVE)
    return FlowPrior(family, asking, torch.device("cpu"), pad_to=pad_to, enough=1)


def grid_of(prior: FlowPrior, name: str, steps: int):
    return Levels(FAMILIES[name], LEVELS[name], (SIDE // prior.unit) ** 2).grid(steps, "")


def stock(name: str, pipe, face, hole, steps: int, scale: float = 1.0, **options) -> torch.Tensor:
    """The picture (3, H, W) in [-1, 1] that a pipeline's call gives, from the noise of seed 1 and image 0.

    Of Stable Diffusion 3 the latents, as its inpainting pipeline decodes without the autoencoder's shift.
    """
    told = {"guidance_scale": scale, "negative_prompt": NEGATIVE}
    given = {
        "flux": told | {"guidance_scale": 3.5, "true_cfg_scale": scale},
        "flux_fill": {"guidance_scale": 30.0},
        "qwen_image": {"true_cfg_scale": scale, "negative_prompt": NEGATIVE},
        "z_image": told | {"guidance_scale": scale - 1},
        "flux2_klein": {"guidance_scale": scale},
    }.get(name, told)
    given |= {"strength": 1.0, "generator": Stream(1, "0").generator} | options
    found = pipe(
        PROMPT, image=face.masked_fill(hole, 0.0)[None] / 2 + 0.5, mask_image=hole[None].float(), height=SIDE,
        width=SIDE, num_inference_steps=steps, output_type="latent" if name == "sd3" else "pt", **given,
    ).images[0]  # fmt: skip
    return found if name == "sd3" else found * 2 - 1


def picture_of(name: str, result) -> torch.Tensor:
    """An engine's result in the form of ``stock``."""
    return result.task.compose(result.x) if name == "sd3" else result.picture
