"""The small latent model that ships: whole, true to its images, and listening to words."""

import csv

import numpy as np
import pytest
import torch
from conftest import ROOT, run_script
from PIL import Image

from isdiff.data.images import to_tensor
from isdiff.data.shipped import DrawnDataset
from isdiff.io.hub import verify
from isdiff.io.models import load_caption_net
from isdiff.masks.generated import ExpandMask, HalfMask
from training.autoencoder import known_distance, untouched

FOLDER = ROOT / "models" / "avatars64-latent"


@pytest.fixture(scope="module")
def pipeline():
    from diffusers import StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline.from_pretrained(FOLDER, safety_checker=None, local_files_only=True)


@pytest.fixture(scope="module")
def faces():
    data = DrawnDataset("avatars", root=str(ROOT / "data"))
    return torch.stack([to_tensor(data.image(i)) for i in data.ids()[:64]])


def captions(count: int) -> list[str]:
    with (ROOT / "data" / "avatars" / "test.csv").open(newline="") as stream:
        return [row["caption"] for row in csv.DictReader(stream)][:count]


def test_the_folder_is_whole_and_small():
    assert verify(FOLDER) >= 8
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) < 60e6


def test_diffusers_own_pipeline_runs_it(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    picture, mask = Image.new("RGB", (64, 64), "white"), Image.new("L", (64, 64), 255)
    out = pipeline("red hair", picture, mask, height=64, width=64, num_inference_steps=3).images[0]
    assert out.size == (64, 64) and np.asarray(out).std() > 5


@torch.inference_mode()
def test_the_autoencoder_keeps_test_images(pipeline, faces):
    latents = pipeline.vae.encode(faces).latent_dist.mean
    assert 0.8 < (latents * pipeline.vae.config.scaling_factor).std().item() < 1.25
    error = (pipeline.vae.decode(latents).sample.clamp(-1, 1) - faces).square().mean((1, 2, 3)) / 4
    assert (-10 * error.log10()).mean().item() > 25, "PSNR in dB"


@torch.inference_mode()
@pytest.mark.parametrize(("mask", "most"), [(HalfMask(), 0.1), (ExpandMask(), 0.3)])
def test_known_latents_do_not_depend_on_what_is_blanked(pipeline, faces, mask, most):
    hole = torch.from_numpy(mask.hole("", 64, 64)).expand(len(faces), 1, -1, -1)
    scale = pipeline.vae.config.scaling_factor
    whole, masked = (pipeline.vae.encode(x).latent_dist.mean * scale for x in (faces, faces.masked_fill(hole, 0.0)))
    assert known_distance(masked, whole, untouched(hole, 4)).mean().sqrt().item() < most


@torch.inference_mode()
def test_captions_find_their_images(faces):
    """Of 64 test faces the caption's own comes first for at least a third; chance is one in 64."""
    net, tokenizer = load_caption_net(FOLDER)
    ids = tokenizer(captions(64), padding="max_length", truncation=True, return_tensors="pt").input_ids
    similar = net(faces, ids)
    assert (similar.argmax(0) == torch.arange(64)).float().mean().item() > 1 / 3


@pytest.mark.slow
def test_words_steer(tmp_path):
    """Faces with an all but empty picture around them: asked for red hair they are redder than asked for blue hair."""
    found = {}
    for color in ("red", "blue"):
        run_script(
            "dataset=avatars", "mask=expand", "method=si", f"prompt={color} hair", "sampler.steps=10", "limit=8",
            "metrics.names=[]", f"output_root={tmp_path / color}",
        )  # fmt: skip
        pictures = [np.asarray(Image.open(p)).astype(float) for p in sorted((tmp_path / color).rglob("images/*.png"))]
        found[color] = np.mean([p[..., 0] - p[..., 2] for p in pictures])
    assert found["red"] > found["blue"] + 5, found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["si", "si+isdiff", "powerpaint", "powerpaint+isdiff", "hd_painter"])
def test_every_latent_method_runs_offline_on_it(tmp_path, method):
    run_script(
        "dataset=avatars", "mask=half", f"method={method}", "prompt=caption", "sampler.steps=8", "limit=2",
        "metrics.names=[perceptual,ssim,caption_score]", "metrics.bootstrap=10", f"output_root={tmp_path}",
    )  # fmt: skip
    (summary,) = tmp_path.rglob("summary.json")
    import json

    metrics = json.loads(summary.read_text())["metrics"]
    assert metrics["ssim"]["value"] > 0.3 and metrics["caption_score"]["value"] > 0
