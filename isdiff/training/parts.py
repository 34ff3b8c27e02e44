"""Parts of a diffusers pipeline folder, written one by one as they are trained."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch

from isdiff.io.files import atomic_open, sha256_file
from isdiff.io.hub import SUMS, model_files
from isdiff.paths import placed
from isdiff.training.export import draw_curve, read_lines, settings
from isdiff.training.loop import Trainer

SCHEDULER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": True, "steps_offset": 1, "timestep_spacing": "trailing",
}  # fmt: skip


def save_part(net, name: str, trainer: Trainer, cfg, **scheduler) -> None:
    """The part in its subfolder, its loss curve and the facts for the card; ``scheduler`` settings go to its file.

    Weights are fp16, but a text encoder's float32: transformers loads it in the dtype of its file, diffusers the rest
    in float32, and its pipeline cannot mix the two.
    """
    folder = placed(cfg.export)
    dtype = torch.float32 if name == "text_encoder" else torch.float16
    copy.deepcopy(net).to(dtype).save_pretrained(folder / name, safe_serialization=True)
    facts = {
        "samples_seen": trainer.samples,
        "seconds": round(trainer.seconds),
        "parameters": sum(p.numel() for p in net.parameters()),
        "configuration": settings(cfg),
    }
    card = folder / "card"
    with atomic_open(card / f"{cfg.name}.json") as stream:
        json.dump(facts, stream, indent=1)
    draw_curve(read_lines(trainer.folder / "loss.jsonl"), card / f"{cfg.name}.png")
    finish(folder, **scheduler)


def finish(folder: Path, **scheduler) -> None:
    """The scheduler, the pipeline's index and the hashes of all files; called after every part.

    A scheduler that is there already keeps what is not said anew.
    """
    from diffusers import DDIMScheduler, __version__

    there = (folder / "scheduler" / "scheduler_config.json").exists()
    kept = DDIMScheduler.load_config(folder / "scheduler", local_files_only=True) if there else {}
    kept = {name: value for name, value in kept.items() if not name.startswith("_")}
    DDIMScheduler(**(kept | SCHEDULER | scheduler)).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionInpaintPipeline", "_diffusers_version": __version__,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None],
        "requires_safety_checker": False,
    }  # fmt: skip
    with atomic_open(folder / "model_index.json") as stream:
        json.dump(index, stream, indent=2)
    files = [file for file in model_files(folder) if file.relative_to(folder).parts[0] not in ("card", "README.md")]
    with atomic_open(folder / SUMS) as stream:
        stream.writelines(f"{sha256_file(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
