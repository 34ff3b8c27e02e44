"""Latent models: what is refused, and folders that are not whole."""

import shutil

import pytest
import torch
from latent_parts import build_parts, build_pipeline

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.errors import UserError
from isdiff.models.base import Model
from isdiff.models.latent import LatentModel
from isdiff.models.pipeline import load_pipeline


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["method=si", "model=avatars64"], "method si needs a latent model"),
        (["method=ddnm", "model=sd2_inpainting"], "method ddnm works on pixels"),
        (["method=ddnm", "prompt=a cat"], "method ddnm takes no text"),
        (["method=si", "latent.guidance_scale=much"], "latent.guidance_scale is 'much'"),
        (["method=powerpaint", "latent.task=erase"], "latent.task is 'erase'"),
        (["method=si", "+latent.painta=true"], "painta is no argument of Conditioning"),
        (["method=hd_painter", "latent.painta=yes"], "latent.painta is 'yes'"),
        (["method=powerpaint", "latent.fitting_degree=2"], "latent.fitting_degree is 2"),
    ],
)
def test_bad_values_are_refused_at_once(overrides, message):
    with pytest.raises(UserError, match=message):
        Setup.of(compose_run(overrides))


def test_wrong_folders_are_one_sentence(tmp_path):
    build_pipeline(*build_parts(100)).save_pretrained(tmp_path / "other")
    shutil.copytree(tmp_path / "other", tmp_path / "part")
    shutil.rmtree(tmp_path / "part" / "vae")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "part"):
        with pytest.raises(UserError, match=f"{name} is no whole diffusers inpainting pipeline"):
            load_pipeline(str(tmp_path / name))
    (tmp_path / "other" / "SHA256SUMS").write_text(f"{'0' * 64}  model_index.json\n")
    with pytest.raises(UserError, match=r"model_index\.json does not have the sha256 noted"):
        load_pipeline(str(tmp_path / "other"))
    absent = LatentModel("sd2_inpainting", str(tmp_path / "none"), 512)
    assert absent.missing() == [f"weights {tmp_path / 'none'} are missing: isdiff weights get sd2_inpainting"]
    assert LatentModel("m", "owner/on-the-hub", 512).missing() == []


@pytest.mark.parametrize("model", ["photos64", "avatars64_latent"])
def test_models_whose_sizes_nobody_lists_have_no_random_weights(model):
    made = build(compose_run([f"model={model}", "model.weights=random"]).model, Model)
    with pytest.raises(UserError, match=f"model {model} cannot have random weights: "):
        made.load(torch.device("cpu"))
