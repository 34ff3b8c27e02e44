"""What stands for the weights in a run's identity: their content, remembered by size and times."""

import json
import os
import shutil

import pytest
from conftest import ROOT
from safetensors.torch import load_file, save_file

from isdiff.io import fingerprint as module
from isdiff.io.files import sha256_file
from isdiff.io.hub import is_hub_id

LATENT = ROOT / "models" / "avatars64-latent"
UNET, VAE = (f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))


def written(path, content: bytes = b"one"):
    path.write_bytes(content)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SETTLED_NS", 0)
    module.known.clear()
    return tmp_path / "cache" / "isdiff" / "hashes.json"


def fingerprint(weights, **options):
    return module.weights_fingerprint(str(weights), **options)


def test_a_file_is_known_by_its_content(tmp_path, cache):
    path = written(tmp_path / "net.safetensors")
    path.with_name(path.name + ".sha256").write_text("0" * 64 + "  net.safetensors\n")  # is no content
    first = fingerprint(path)
    assert first == sha256_file(path)
    moved = tmp_path / "elsewhere" / "other.safetensors"
    moved.parent.mkdir()
    shutil.copy(path, moved)
    assert fingerprint(moved, name="other") == first
    written(path, b"two")
    assert fingerprint(path) != first
    path.unlink()
    assert fingerprint(path) == "missing" and fingerprint("random") == "random"


def test_a_folder_is_known_by_the_content_of_its_model_files(latent_copy, tmp_path, cache):
    first = fingerprint(latent_copy)
    assert first == fingerprint(LATENT) and len(first) == 64, "notes and cards do not count"
    (latent_copy / "README.md").write_text("about")
    assert fingerprint(latent_copy) == first
    moved = tmp_path / "moved"
    latent_copy.rename(moved)
    assert fingerprint(moved) == first
    tensors = load_file(moved / VAE)
    tensors[min(tensors)].mul_(2)
    save_file(tensors, moved / VAE, metadata={"format": "pt"})
    second = fingerprint(moved)
    config = moved / "unet" / "config.json"
    config.write_text(config.read_text() + " ")
    assert len({first, second, fingerprint(moved), fingerprint(moved, variant="fp16")}) == 4
    assert fingerprint(tmp_path) == "missing", "no model lies there"


def test_a_hub_id_is_known_by_its_commit(tmp_path, cache, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert fingerprint("owner/tiny") == "owner/tiny"
    assert fingerprint("owner/tiny", revision="v1") == "owner/tiny@v1"
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--owner--tiny"
    (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "snapshots" / commit / "model_index.json").write_text("{}")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    assert fingerprint("owner/tiny") == f"owner/tiny@{commit}" == fingerprint("owner/tiny", revision=commit)
    assert fingerprint("owner/tiny", variant="fp16") not in (fingerprint("owner/tiny"), fingerprint("owner/other"))


def test_large_files_are_hashed_once(tmp_path, cache, monkeypatch):
    path = written(tmp_path / "net.safetensors")
    hashed = []
    monkeypatch.setattr(module, "sha256_file", lambda p: hashed.append(p) or sha256_file(p))
    first = fingerprint(path)
    assert fingerprint(path) == first and len(hashed) == 1
    module.known.clear()  # another process
    assert fingerprint(path) == first and len(hashed) == 1 and str(path) in cache.read_text()
    os.utime(path, ns=(1, 1))
    assert fingerprint(path) == first and len(hashed) == 2
    monkeypatch.setattr(module, "SETTLED_NS", 10**15)
    other = written(tmp_path / "new.safetensors")
    assert fingerprint(other) == fingerprint(other) and len(hashed) == 4, "just written: a second write could go unseen"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b'{"PATH": [1, 2, 3, "no hash"]}'])
def test_a_damaged_cache_is_no_matter(tmp_path, cache, content):
    path = written(tmp_path / "net.safetensors")
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content.replace(b"PATH", str(path).encode()))
    assert fingerprint(path) == sha256_file(path)
    assert json.loads(cache.read_text())[str(path)][-1] == sha256_file(path)


def test_a_cache_that_cannot_be_written_is_no_matter(tmp_path, cache, monkeypatch):
    path = written(tmp_path / "net.safetensors")
    (tmp_path / "cache").write_text("a file in the way")
    assert fingerprint(path) == sha256_file(path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert fingerprint(path) == sha256_file(path)


def test_paths_are_no_hub_ids_and_odd_ids_no_traceback(cache):
    for weights in ("nowhere/net.ckpt", "~/net", "a/b/c", ""):
        assert not is_hub_id(weights) and fingerprint(weights) == "missing"
    assert all(fingerprint(weights) == weights for weights in ("owner/a..b", "owner/tiny-1.5"))
