"""Latent methods through the real command, on an untrained model in the folder layout of diffusers."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, run_script
from latent_parts import build_parts, build_pipeline
from PIL import Image

# Four levels as in Stable Diffusion, so that HD-Painter finds its layers.
LEVELS = {
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "block_out_channels": [32, 32, 64, 64],
    "attention_head_dim": [2, 2, 4, 4],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    words = {word: torch.randn(10, 32) for word in ("P_ctxt", "P_shape", "P_obj")}
    build_pipeline(*build_parts(100, words, LEVELS)).save_pretrained(path)
    return path


def run(folder, tmp_path, *overrides: str, check: bool = True):
    return run_script(
        "dataset=avatars", f"model.weights={folder}", f"output_root={tmp_path}", "limit=2", "metrics.names=[]",
        "sampler.steps=5", "runtime.precision=fp32", *overrides, check=check,
    )  # fmt: skip


def records(tmp_path, label: str) -> tuple[list[dict], np.ndarray]:
    (path,) = (tmp_path / "avatars" / "half" / label).iterdir()
    lines = [json.loads(line) for line in (path / "per_image.jsonl").read_text().splitlines()]
    assert (path / "grid.png").exists() and len(lines) == 2
    return lines, np.stack([np.asarray(Image.open(path / "images" / f"{line['id']}.png")) for line in lines])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["si", "si+isdiff", "powerpaint", "powerpaint+isdiff", "hd_painter"])
def test_methods(folder, tmp_path, method):
    run(folder, tmp_path, f"method={method}")
    lines, pictures = records(tmp_path, method)
    if "+isdiff" not in method:
        assert [line["network_calls"] for line in lines] == [5, 5]
    else:
        assert all(line["attempts"] >= 1 and line["dce"] for line in lines)
    from isdiff.data.drawn_dataset import DrawnDataset

    data = DrawnDataset("avatars", root=str(ROOT / "data"))
    truths = np.stack([data.image(line["id"]) for line in lines])
    assert np.array_equal(pictures[:, :, :32], truths[:, :, :32]), "known pixels are the input's"
    assert not np.array_equal(pictures[:, :, 32:], truths[:, :, 32:])


@pytest.mark.slow
def test_prompts_steer_and_batches_do_not(folder, tmp_path):
    """Captions, one text for all, and none give different pictures; batch sizes and processes give the same."""
    found = []
    for i, overrides in enumerate(([], ["prompt=caption"], ["prompt=a dog"], ["prompt=a dog", "runtime.batch_size=1"])):
        run(folder, tmp_path / str(i), "method=si", *overrides)
        found.append(records(tmp_path / str(i), "si")[1])
    assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[1], found[2])
    assert np.array_equal(found[2], found[3])


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
    from isdiff.config.composing import compose_run
    from isdiff.config.setup import Setup
    from isdiff.errors import UserError

    with pytest.raises(UserError, match=message):
        Setup.of(compose_run(overrides))


def test_wrong_folders_are_one_sentence(folder, tmp_path):
    from isdiff.errors import UserError
    from isdiff.models.latent import LatentModel
    from isdiff.models.pipeline import load_pipeline

    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is no whole diffusers inpainting pipeline"):
        load_pipeline(str(tmp_path / "empty"))
    import shutil

    shutil.copytree(folder, tmp_path / "part")
    shutil.rmtree(tmp_path / "part" / "vae")
    with pytest.raises(UserError, match="part is no whole diffusers inpainting pipeline"):
        load_pipeline(str(tmp_path / "part"))
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "SHA256SUMS").write_text(f"{'0' * 64}  model_index.json\n")
    with pytest.raises(UserError, match=r"model_index\.json does not have the sha256 noted"):
        load_pipeline(str(tmp_path / "other"))
    absent = LatentModel("sd2_inpainting", str(tmp_path / "none"), 512)
    assert absent.missing() == [f"weights {tmp_path / 'none'} are missing: isdiff weights get sd2_inpainting"]
    assert LatentModel("m", "owner/on-the-hub", 512).missing() == []
