"""PowerPaint in the two files that its authors published gives what the whole diffusers folder gives."""

import shutil
from pathlib import Path

import pytest
import torch
from configured import LEVELS, results, tiny_latent_model, write_images
from latent_parts import build_parts, build_pipeline, set_weights
from safetensors.torch import load_file, save_file

from isdiff.config.composing import compose_run
from isdiff.errors import Missing, UserError
from isdiff.io.files import sha256_file
from isdiff.models.latent import FILES, LatentModel, PowerPaintModel
from isdiff.nets.drawings import TASK_WORDS

TABLE = "text_model.embeddings.token_embedding."


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Make ``whole``, a folder of diffusers, ``own``, the same in its authors' layout, and ``base``, another model."""
    root = tmp_path_factory.mktemp("powerpaint")
    whole = tiny_latent_model(root / "whole")
    unet, vae, tokenizer, text = build_parts(100, None, LEVELS)
    build_pipeline(set_weights(unet, 7), vae, tokenizer, set_weights(text, 8)).save_pretrained(root / "base")
    for file in FILES:
        (root / "own" / file).parent.mkdir(parents=True)
    shutil.copyfile(whole / "unet" / "diffusion_pytorch_model.safetensors", root / "own" / FILES[0])
    found = load_file(whole / "text_encoder" / "model.safetensors")
    tensors = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in found.items()}
    words = tensors.pop(f"{TABLE}weight")
    count = len(words) - 10 * len(TASK_WORDS)
    tensors[f"{TABLE}wrapped.weight"] = words[:count].clone()
    for i, word in enumerate(TASK_WORDS):
        tensors[f"{TABLE}trainable_embeddings.{word}"] = words[count + 10 * i : count + 10 * i + 10].clone()
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]  # as older transformers keep it
    save_file(tensors, root / "own" / FILES[1])
    return root


def test_it_makes_the_same_pictures_as_the_whole_folder(folders, tmp_path):
    common = [
        "method=powerpaint", "model.image_size=64", "dataset=folder", f"dataset.path={tmp_path / 'in'}", "mask=half",
        "model.variant=null", "sampler.steps=3", "runtime.precision=fp32", "latent.task=shape-guided",
        "latent.fitting_degree=0.5", f"output_root={tmp_path / 'out'}",
    ]  # fmt: skip
    ids = write_images(tmp_path / "in", 64, 2)
    whole = compose_run([*common, "model=powerpaint", f"model.weights={folders / 'whole'}"])
    paths = [f"model.weights={folders / 'own'}", f"model.base={folders / 'base'}"]
    own = compose_run([*common, "model=powerpaint_v1", *paths])
    expected, found = results(whole, ids), results(own, ids)
    assert all(torch.equal(found[i].picture, expected[i].picture) for i in ids)


def model(folders: Path, weights: Path) -> PowerPaintModel:
    return PowerPaintModel("powerpaint_v1", str(weights), 64, base=str(folders / "base"))


@pytest.fixture
def own(folders, tmp_path) -> Path:
    """A copy to damage."""
    return shutil.copytree(folders / "own", tmp_path / "own")


def edited(file: Path, change) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


DAMAGE = {
    "trainable_embeddings.P_obj is (9, 32)": (
        1, lambda t: t.update({f"{TABLE}trainable_embeddings.P_obj": torch.zeros(9, 32)})
    ),
    "token_embedding.weight: copying a param with shape": (
        1, lambda t: t.update({f"{TABLE}wrapped.weight": t[f"{TABLE}wrapped.weight"][1:].clone()})
    ),
    'Missing key(s) in state_dict: "final_layer_norm.bias"': (1, lambda t: t.pop("text_model.final_layer_norm.bias")),
    "is not finite": (0, lambda t: t["conv_in.bias"].fill_(torch.nan)),
}  # fmt: skip


@pytest.mark.parametrize("message", DAMAGE)
def test_what_does_not_fit_is_one_sentence(folders, own, message):
    which, change = DAMAGE[message]
    edited(own / FILES[which], change)
    with pytest.raises(UserError) as caught:
        model(folders, own).pipeline()
    assert message in str(caught.value) and str(own) in str(caught.value)


def test_hashes_that_were_noted_hold(folders, own):
    (own / "SHA256SUMS").write_text("".join(f"{sha256_file(own / file)}  {file}\n" for file in FILES))
    model(folders, own).pipeline()
    edited(own / FILES[0], lambda t: t["conv_in.bias"].add_(1))
    with pytest.raises(UserError, match="does not have the sha256 noted"):
        model(folders, own).pipeline()


def test_all_that_is_missing_is_named_at_once(folders, tmp_path):
    absent = PowerPaintModel("powerpaint_v1", str(tmp_path / "none"), 64, base=str(tmp_path / "sd15_inpainting"))
    assert [line.partition(": ")[2] for line in absent.missing()] == [
        "isdiff weights get powerpaint_v1", "isdiff weights get sd15_inpainting",
    ]  # fmt: skip
    with pytest.raises(Missing):
        absent.pipeline()
    assert absent.identity() == "missing" and model(folders, folders / "own").missing() == []


def test_its_identity_is_the_content_of_files_and_base(folders, own):
    before = model(folders, own).identity()
    assert before == model(folders, folders / "own").identity() != LatentModel("m", str(own), 64).identity()
    assert PowerPaintModel("m", str(own), 64, base=str(folders / "whole")).identity() != before
    edited(own / FILES[1], lambda t: t[f"{TABLE}wrapped.weight"].add_(1))
    assert model(folders, own).identity() != before
