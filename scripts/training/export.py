"""What a training leaves for others: weights, samples, the loss curve and the numbers behind a model's card.

A pixel model is one file; parts of a latent model are written into a folder of diffusers one by one.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from isdiff.devices import resolve_precision
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, resampling_plan
from isdiff.engine import Engine
from isdiff.environment import device_name, package_versions
from isdiff.io.files import atomic_open, atomic_save, sha256_file
from isdiff.io.hub import SUMS, model_files
from isdiff.io.models import save_weights
from isdiff.known import KnownRegion
from isdiff.paths import placed
from isdiff.priors.pixel import PixelPrior
from isdiff.samplers.solvers import DDNMSteps
from isdiff.trajectory import Task
from training.health import LEVELS
from training.loop import Trainer

SCHEDULER = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False,
    "set_alpha_to_one": True, "steps_offset": 1, "timestep_spacing": "trailing",
}  # fmt: skip


def export(net: nn.Module, trainer: Trainer, cfg) -> None:
    """Write averaged weights in fp16, ``samples.png``, ``loss.png`` and ``training.json`` into ``cfg.export``."""
    folder = placed(cfg.export)
    save_weights(folder / "unet.safetensors", net, {"net": json.dumps(entries(cfg.net))})
    curve, held_out = (read_lines(trainer.folder / name) for name in ("loss.jsonl", "dev.jsonl"))
    draw_curve(curve, folder / "loss.png", held_out)
    tail = curve[-max(1, len(curve) // 10) :]
    facts = {
        "samples_seen": trainer.samples,
        "steps": trainer.step,
        "seconds": round(trainer.seconds),
        "parameters": sum(p.numel() for p in net.parameters()),
        "last_tenth_loss": round(sum(point["loss"] for point in tail) / len(tail), 5),
        "exported": min(held_out, key=lambda point: point["dev"], default={}),
        "configuration": settings(cfg),
        "device": device_name(trainer.params[0].device),
        "versions": package_versions(),
    }
    with atomic_open(folder / "training.json") as stream:
        json.dump(facts, stream, indent=1)
    save_samples(net, folder / "samples.png", cfg)


PLACES = ("folder", "export", "data_root", "logger", "workers", "device")  # where it ran, not what was trained


def entries(node) -> dict[str, Any]:
    """A mapping of the configuration in plain Python, its references filled in."""
    found = OmegaConf.to_container(node, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def settings(cfg) -> dict[str, Any]:
    """What a training depends on."""
    return {key: value for key, value in entries(cfg).items() if key not in PLACES}


def read_lines(path: Path) -> list[dict]:
    """The objects of a ``.jsonl`` file; none where there is no file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def draw_curve(curve: list[dict], path: Path, held_out: list[dict] | None = None) -> None:
    """The training loss and, beside it, the held-out errors: all together, and noise levels one by one."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, 2 if held_out else 1, figsize=(10 if held_out else 6, 3.4), layout="constrained", squeeze=False
    )
    axes = panels[0, 0]
    axes.plot([p["samples"] / 1000 for p in curve], [p["loss"] for p in curve], linewidth=0.8, label="training loss")
    axes.set(xlabel="thousand samples", yscale="log", title="velocity error (training loss: with bound)")
    if held_out:
        at = [p["samples"] / 1000 for p in held_out]
        for name, title in (
            ("train", "training images, averaged weights"),
            ("dev", "held-out images, averaged weights"),
        ):
            axes.plot(at, [p[name] for p in held_out], linewidth=1.2, label=title)
        for i, level in enumerate(LEVELS):
            panels[0, 1].plot(at, [p[f"dev_{level}"] for p in held_out], color=f"C{i}", label=f"t = {level}")
            panels[0, 1].plot(at, [p[f"train_{level}"] for p in held_out], color=f"C{i}", linestyle=":")
        panels[0, 1].set(
            xlabel="thousand samples", yscale="log", title="noise error: held-out (lines), training (dots)"
        )
        panels[0, 1].legend(fontsize="x-small")
    axes.legend(fontsize="x-small")
    atomic_save(path, lambda stream: figure.savefig(stream, dpi=110, format="png"))
    pyplot.close(figure)


def unconditional_samples(
    net: nn.Module, count: int, size: int, schedule: str, *, steps: int = 50, eta: float = 0.0, seed: int = 0,
    precision: str = "auto", batch_size: int = 32,
) -> torch.Tensor:  # fmt: skip
    """(count, 3, size, size) in [-1, 1]: "inpainting" with a hole that covers everything; DDNM's eta, 0 is DDIM."""
    device = next(net.parameters()).device
    prior = PixelPrior(net, device, resolve_precision(precision, device))
    grid = Grid.of(named_betas(schedule), leading_timesteps(1000, steps))
    engine = Engine(prior, grid, DDNMSteps(eta), KnownRegion(), resampling_plan, batch_size=batch_size, run_seed=seed)
    blank = torch.zeros(3, size, size, device=device)
    everything = torch.ones(1, size, size, dtype=torch.bool, device=device)
    found = {r.task.id: r.x for r in engine.run(Task(f"sample-{i}", blank, everything) for i in range(count))}
    return torch.stack([found[f"sample-{i}"] for i in range(count)]).cpu()


def save_samples(net: nn.Module, path: Path, cfg) -> None:
    """A grid of uncurated samples as PNG, 16 a row."""
    samples = unconditional_samples(
        copy.deepcopy(net), cfg.samples, cfg.image_size, cfg.noise_schedule, steps=cfg.sample_steps, eta=0.85
    )
    pixels = ((samples.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    rows = pixels.unflatten(0, (-1, 16)).permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
    atomic_save(path, lambda stream: Image.fromarray(rows.numpy()).save(stream, "png"))


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
