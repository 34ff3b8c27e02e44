"""Diffusers inpainting pipelines, whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from isdiff.errors import UserError
from isdiff.io.fingerprint import remembered_sha256
from isdiff.io.hub import SUMS, brief, check_finite, load_part, verify
from isdiff.nets.drawings import build_tokenizer
from isdiff.paths import located
from isdiff.process_state import quiet

INPAINTING = "StableDiffusionInpaintPipeline"
NETWORKS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
WITHOUT_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


@quiet()
def load_pipeline(
    weights: str, revision: str | None = None, variant: str | None = None, name: str = INPAINTING,
    dtype: torch.dtype | None = None,
) -> Any:  # fmt: skip
    """A diffusers inpainting pipeline from a folder, a single file or the hub.

    Args:
        revision, variant: of an id on the hub; of the files in a folder or on the hub.
        name: its class in diffusers; only the default one can be in a single file.
        dtype: of its networks; None: what diffusers and transformers choose.
    """
    without = WITHOUT_CHECKER if name == INPAINTING else {}
    source = located(weights)
    if (source / SUMS).exists():
        verify(source, remembered_sha256)
    try:
        if source.suffix in (".safetensors", ".ckpt") and name == INPAINTING:
            return single_file(source)
        if not source.is_dir():  # an id on the hub, of which only what is not here yet is downloaded
            import diffusers

            pipeline: Any = getattr(diffusers, name)
            source = Path(pipeline.download(weights, revision=revision, variant=variant, **without))
        return whole_pipeline(source, variant, name, dtype, without)
    except Exception as error:  # diffusers, transformers and the hub's client raise many kinds
        raise UserError(f"model {weights} is no whole diffusers inpainting pipeline ({brief(error)})") from None


def single_file(path: Path) -> Any:
    from diffusers import StableDiffusionInpaintPipeline

    if not path.is_file():  # or diffusers would ask the hub
        raise UserError("there is no such file")
    pipeline = StableDiffusionInpaintPipeline.from_single_file(str(path), safety_checker=None)
    for part in NETWORKS:
        if getattr(pipeline, part, None) is not None:
            check_finite(getattr(pipeline, part).state_dict(), path)
    return pipeline


def whole_pipeline(
    folder: Path, variant: str | None, name: str, dtype: torch.dtype | None, without: Mapping[str, Any]
) -> Any:
    """The pipeline in a folder, whose networks are loaded one by one, because only then missing tensors are noticed."""
    import diffusers
    import transformers

    index = json.loads((folder / "model_index.json").read_text())
    networks = {}
    for part in NETWORKS:
        library, kind = index.get(part) or (None, None)
        cls = getattr({"diffusers": diffusers, "transformers": transformers}.get(str(library)), str(kind), None)
        if isinstance(cls, type) and issubclass(cls, nn.Module):
            # Like diffusers: a part without files of the variant has others.
            has = variant and any((folder / part).glob(f"*.{variant}[.-]*"))
            networks[part] = load_part(cls, folder, part, variant if has else None, dtype)
    pipeline = getattr(diffusers, name).from_pretrained(
        str(folder), variant=variant, local_files_only=True, **without, **networks
    )
    check_words(pipeline)
    return pipeline


def check_words(pipeline: Any) -> None:
    """Refuse a tokenizer without words, or with words for which the text encoder has no vectors."""
    if pipeline.text_encoder is None or pipeline.tokenizer is None:
        return
    words, vectors = len(pipeline.tokenizer), pipeline.text_encoder.get_input_embeddings().num_embeddings
    if not 2 < words <= vectors:
        raise UserError(f"its tokenizer has {words} words, its text_encoder vectors for {vectors}")


def random_pipeline(sizes: Mapping[str, Any]) -> Any:
    """Untrained parts of the sizes of ``unet``, ``vae`` and ``text``, and a tokenizer of a few words."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.default_generator.manual_seed(0)
    return SimpleNamespace(
        unet=UNet2DConditionModel(**sizes["unet"]),
        vae=AutoencoderKL(**sizes["vae"]),
        text_encoder=CLIPTextModel(CLIPTextConfig(vocab_size=49438, max_position_embeddings=77, **sizes["text"])),
        tokenizer=build_tokenizer(["a photo of a dog"], 77),
    )
