"""What the folders of configurations offer, found there and listed nowhere, and small models in the place of weights.

A YAML file that is added is covered by the contract tests by being there.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from conftest import ROOT, golden_json
from flow_parts import FLOWS, WIDTH, t5_of
from latent_parts import build_parts, build_pipeline
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from isdiff.config.composing import compose_run
from isdiff.engine import Result
from isdiff.io.models import save_weights
from isdiff.runs.experiment import Experiment
from isdiff.runs.run import execute
from isdiff.trajectory import Task

CONFIGS = ROOT / "configs"
SIDE = {"pixel": 16, "latent": 32}  # of the small models' images; HD-Painter needs multiples of 32
# Four levels as in Stable Diffusion, so that HD-Painter finds its layers.
LEVELS = {
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "block_out_channels": [32, 32, 64, 64],
    "attention_head_dim": [2, 2, 4, 4],
}


# A run's record of an image, without the image's id.
RECORD = {
    "run": "0" * 8, "seed": 0, "model": "tiny", "weights": "random", "size": "16x16",
    "network_calls": 1, "attempts": 1, "chosen_attempt": 0, "seconds": 0.1, "dce": [], "start_timesteps": [990],
    "image_sha": "0" * 16, "mask_sha": "0" * 16, "picture_sha": "0" * 16, "stamps": ["", "", ""],
}  # fmt: skip


def choices(group: str) -> list[str]:
    """The names that ``group=`` takes."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def kind_of(method: str) -> str:
    """``pixel`` or ``latent``: the space that a method works in."""
    return "pixel" if compose_run([f"method={method}"]).get("latent") is None else "latent"


def tiny_pixel_model(path: Path, net: torch.nn.Module) -> Path:
    """The recorded small network as a file of weights, as training writes it."""
    save_weights(path, net, {"net": json.dumps(golden_json("unet_numeric/gd_p1.json")["constructor"])})
    return path


def tiny_latent_model(path: Path) -> Path:
    """A small pipeline in the layout of diffusers, its weights a function of their names, with PowerPaint's words."""
    words = {
        word: torch.randn(10, 32, generator=torch.Generator().manual_seed(i))
        for i, word in enumerate(("P_ctxt", "P_shape", "P_obj"))
    }
    build_pipeline(*build_parts(100, words, LEVELS)).save_pretrained(path)
    return path


def write_images(folder: Path, side: int, count: int) -> list[str]:
    """Smooth images in colours of their own; returns their ids."""
    folder.mkdir(parents=True)
    names = [f"im{i}" for i in range(count)]
    for i, name in enumerate(names):
        coarse = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return names


def write_editbench(root: Path, natural: Iterable[int], generated: Iterable[int], side: int = 64) -> None:
    """EditBench as it is released, with images of these numbers, each with its hole in its last 10 n columns."""
    for part, numbers in (("natural", natural), ("generated", generated)):
        rows = ["aos,prompt_full,prompt_mask-simple,prompt_mask-rich"]
        for n in numbers:
            for kind in ("references", "masks"):
                (root / f"{kind}_{part}").mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(n).integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(root / f"references_{part}" / f"{n}.png")
            hole = np.indices((side, side))[1] >= side - 10 * n
            Image.fromarray(hole.astype(np.uint8) * 255).save(root / f"masks_{part}" / f"{n}.png")
            rows.append(f'{n},"a cat, sitting {n}",a cat,a small cat')
        (root / f"annotations_{part}.csv").write_text("\n".join(rows))


def changed(cfg: DictConfig, **values) -> DictConfig:
    """A copy with some values set, ``runtime__batch_size=3`` for ``runtime.batch_size``."""
    cfg = cfg.copy()
    for key, value in values.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, merge=False)
    return cfg


def results(cfg: DictConfig, ids: Iterable[str], change=lambda task: task) -> dict[str, Result]:
    """What the engine makes of these images, in this order; ``change`` is done to each before the model sees it."""
    experiment = Experiment.of(cfg)

    def tasks() -> Iterable[Task]:
        for image_id in ids:
            yield experiment.prior.prepare(change(experiment.task(image_id)), experiment.prompt(image_id))

    return {result.task.id: result for result in experiment.engine().run(tasks())}


def tiny_images(place: Path, net: torch.nn.Module, count: int, side: int = 16) -> list[str]:
    """Put a small model and ``count`` images into a folder; the overrides of a run on them."""
    tiny_pixel_model(place / "net.safetensors", net)
    write_images(place / "images", side, count)
    return tiny_words(place, side)


def tiny_words(place: Path, side: int = 16) -> list[str]:
    return [
        "dataset=folder", f"dataset.path={place}/images", f"dataset.size={side}", "mask=half", "model=avatars64",
        f"model.weights={place}/net.safetensors", f"model.image_size={SIDE['pixel']}",
    ]  # fmt: skip


def tiny_run(place: Path, out: str, count: int, *overrides: str) -> DictConfig:
    """A run of ``count`` images of :func:`tiny_images`, into ``place/out``."""
    return compose_run([
        *tiny_words(place), "method=ddnm+isdiff", "sampler.steps=5", "runtime.batch_size=2", "metrics.names=[]",
        f"limit={count}", f"output_root={place / out}", *overrides,
    ])  # fmt: skip


def run_quietly(cfg: DictConfig) -> None:
    """Body of a process that was forked: the run, in a group of processes of its own, saying nothing."""
    os.setsid()
    torch.set_num_threads(1)  # the threads of the process that was forked are not here
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    execute(cfg)


def tiny_flow_model(path: Path, model: DictConfig) -> Path:
    """Write a small random pipeline of the family of a model's configuration, with the scheduler that it describes."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    pipe = FLOWS[model.family]()
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(**model.scheduler)
    if model.family == "sd3":
        pipe.register_modules(text_encoder_3=t5_of(2 * WIDTH), tokenizer_3=pipe.tokenizer)
    pipe.save_pretrained(path)
    return path


def tiny_place(path: Path, net: torch.nn.Module, count: int) -> Path:
    """Put small models and ``count`` images of both kinds below a folder."""
    tiny_pixel_model(path / "pixel.safetensors", net)
    tiny_latent_model(path / "latent")
    for kind, side in SIDE.items():
        write_images(path / f"{kind}-images", side, count)
    return path


# Where a method also comes with IS-Diff, that stands for both, for all but DDNM.
RICHEST = [name for name in choices("method") if name == "ddnm" or f"{name}+isdiff" not in choices("method")]


def composed(place: Path, method: str, *overrides: str) -> DictConfig:
    """The method on a small model, four steps, one climb at most; where it judges, with two attempts for each image."""
    kind = kind_of(method)
    pixel = ["model=avatars64", f"model.weights={place}/pixel.safetensors"]
    given = pixel if kind == "pixel" else ["model=avatars64_latent", f"model.weights={place}/latent", 'prompt="a dog"']
    given += ["isdiff.start.iterations=2", "isdiff.start.steps=2"] if method == "sonic" else []
    given += ["sampler.inner_steps=2"] if method.startswith("lanpaint") else []
    cfg = compose_run([
        "dataset=folder", f"dataset.path={place}/{kind}-images", "mask=half", f"method={method}", *given,
        f"model.image_size={SIDE[kind]}", "sampler.steps=4", "sampler.jump=2", "runtime.precision=fp32",
        "isdiff.refine.attempts=2", "isdiff.refine.tau=0", "metrics.names=[]", f"output_root={place}/out", *overrides,
    ])  # fmt: skip
    return changed(cfg, sampler__repeat=min(2, cfg.sampler.repeat))
