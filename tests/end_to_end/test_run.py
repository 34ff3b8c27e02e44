"""The real command on the shipped model and data, as a user runs it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, run_script
from PIL import Image

from isdiff.cli import main
from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.data.base import Dataset
from isdiff.data.shipped import DrawnDataset
from isdiff.errors import UserError
from isdiff.io.files import sha256_file
from isdiff.paths import located, placed

SMALL = [
    "dataset=avatars", "mask=half", "sampler.steps=6", "limit=3", "metrics.bootstrap=50",
    "metrics.names=[perceptual]",
]  # fmt: skip
DEFAULT = "metrics.names=[lite0_perceptual,lite0_frechet,lite0_kid,perceptual,frechet]"


def run(out: Path, *overrides: str, code: int = 0) -> Path:
    """Run and return the folder of the run."""
    done = run_script(*SMALL, f"output_root={out}", *overrides, check=False)
    assert done.returncode == code, done.stderr
    return ROOT / done.stdout.rsplit("results: ", 1)[1].strip()


def weights_named() -> str:
    return sha256_file(ROOT / "models" / "avatars64" / "unet.safetensors")[:12]


def pictures(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / "images").glob("*.png"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    assert list(compose_run([]).metrics.names) == DEFAULT.split("[")[1].strip("]").split(",")
    return run(tmp_path_factory.mktemp("run"), "method=ddnm+isdiff", DEFAULT)


def test_everything_a_run_leaves(finished):
    names = {p.name for p in finished.iterdir()}
    assert names == {
        "config.yaml", "grid.png", "images", "measured", "per_image.csv", "per_image.jsonl", "summary.json",
        "summary.md",
    }  # fmt: skip
    assert finished.parts[-4:-1] == ("avatars", "half", "ddnm+isdiff")
    records = [json.loads(line) for line in (finished / "per_image.jsonl").read_text().splitlines()]
    assert [r["id"] for r in records] == DrawnDataset("avatars", root=str(ROOT / "data")).ids()[:3]
    for r in records:
        assert 1 <= r["attempts"] == len(r["dce"]) == len(r["start_timesteps"]) <= 3
        assert r["network_calls"] >= 5 and r["seconds"] > 0 and r["seed"] == 0
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["n"] == 3 and summary["images_per_second"] > 0 and summary["peak_memory_mib"] > 0
    assert summary["network_calls_per_image"] == np.mean([r["network_calls"] for r in records])
    assert {"device", "git_commit", "versions"} <= summary.keys()
    named = {"model": "avatars64", "size": "64x64", "weights": weights_named()}
    assert all({key: it[key] for key in named} == named for it in (summary, *records))
    assert f"Model avatars64, 64x64, weights: {named['weights']}." in (finished / "summary.md").read_text()
    for name in ("lite0_perceptual", "lite0_frechet", "perceptual", "frechet"):
        m = summary["metrics"][name]
        assert m["n"] == 3 and m["value"] > 0
    with Image.open(finished / "grid.png") as grid:
        assert grid.width > 4 * 140 and grid.height > 3 * 140  # input, seed, result, truth


def test_what_is_missing_is_asked_for_before_anything_is_sampled(tmp_path, monkeypatch):
    """Weights, images and networks of metrics in one message, and no folder is left."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    given = ["method=si", f"data_root={tmp_path}", f"output_root={tmp_path}/out", "metrics.names=[lpips,ssim]"]
    for more, things in (
        (
            ["dataset=editbench", "model=sd2_inpainting"],
            ["isdiff weights get sd2_inpainting", "EditBench is not below", "isdiff weights get alexnet"],
        ),
        (
            ["dataset=imagenet", "method=ddnm", "model=adm256_cond", "limit=2"],
            [*(f"isdiff weights get adm256_{name}" for name in ("cond", "classifier")), "2 of 2 images", "get alexnet"],
        ),
        (["dataset=avatars", "limit=1", "data_root=data"], ["isdiff weights get alexnet"]),
    ):
        done = run_script(*given, *more, check=False)
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and not done.stdout
        assert len(lines) == len(things) and all(map(str.__contains__, lines, things))
    assert not (tmp_path / "out").exists()


def test_running_again_recomputes_nothing(finished):
    before = {p: p.stat().st_mtime_ns for p in (finished / "images").iterdir()}
    records = (finished / "per_image.jsonl").read_bytes()
    again = run(finished.parents[3], "method=ddnm+isdiff", DEFAULT)
    assert again == finished
    assert {p: p.stat().st_mtime_ns for p in (finished / "images").iterdir()} == before
    assert (finished / "per_image.jsonl").read_bytes() == records


@pytest.mark.slow
def test_other_batch_sizes_and_workers_give_the_same_pictures(finished, tmp_path):
    for options in (["runtime.batch_size=2"], ["runtime.workers=2", "runtime.batch_size=1"]):
        other = run(tmp_path / options[0].replace("=", "-"), "method=ddnm+isdiff", *options)
        assert pictures(other) == pictures(finished)


def test_raw_output_and_other_seeds_differ(tmp_path):
    quick = ["method=repaint", "limit=1", "sampler.repeat=1", "sampler.steps=2", "metrics.names=[]"]
    found = [
        run(tmp_path, *quick, *more.split())
        for more in ("", "output.composite=raw", "output.composite=blend", "seed=1")
    ]
    assert len(set(found)) == 4 == len({tuple(pictures(folder).values()) for folder in found})


def test_mask_files_and_images_that_cannot_be_used(tmp_path):
    ids = [f"photos-test-{n:04d}" for n in range(3)]
    (tmp_path / "masks").mkdir()
    hole = np.zeros((64, 64), np.uint8)
    hole[20:40, 20:40] = 255
    Image.fromarray(hole).save(tmp_path / "masks" / f"{ids[0]}.png")
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(tmp_path / "masks" / f"{ids[1]}.png")
    words = ["model=avatars64", "method=ddnm", "sampler.repeat=1", "sampler.steps=2", "metrics.names=[]"]
    words += ["dataset=photos", "mask=files", f"mask.path={tmp_path / 'masks'}", f"output_root={tmp_path}"]
    done = run_script(*SMALL, *words, check=False)
    assert done.returncode == 3
    assert "model avatars64 (64x64) knows drawn faces, not images as those of photos" in done.stderr
    folder = ROOT / done.stdout.rsplit("results: ", 1)[1].strip()
    assert list(pictures(folder)) == [f"{ids[0]}.png"]
    failed = json.loads((folder / "summary.json").read_text())["failed"]
    assert "hides everything" in failed[ids[1]] and "no mask for image" in failed[ids[2]]


BAD = {  # overrides and what the sentence about them says
    "sampler.steps=0": "sampler.steps is 0;", "limit=0": "limit is 0;", "mask=files": "give mask.path=...",
    "method=ddnm+isdiff isdiff.start.lambda=0.3": "lower isdiff.start.lambda,",
    "metrics.names=[psnr]": "metrics.names has 'psnr'; there are alexnet_diversity, caption_score,",
    "mask._target_=os.system": "only a MaskSource of isdiff, or of a package named by --plugin",
    "method=ddnn": "there is no method 'ddnn'; there are ", "sampler.stepz=3": "is sampler.steps meant?",
    "prompt=[red](dog)": "as a text it is 'prompt=\"[red](dog)\"'",
    "seed=1,2": "'seed=1,2' has several values, each for a run of its own (isdiff run -m); as a text",
    "+seed=3": "do not compose: +seed=3 (Could", "seed=${nope}": "does not resolve: Interpolation key 'nope' not found",
}  # fmt: skip


@pytest.mark.parametrize("overrides, said", BAD.items(), ids=BAD)
def test_wrong_overrides_get_one_sentence(overrides, said, capsys):
    """The same on the command line and where overrides are composed, as for tables and studies."""
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        _ = Setup.of(compose_run(overrides.split())).metrics
    assert main(["run", *overrides.split()]) == 1
    assert capsys.readouterr().err == f"isdiff: {caught.value}\n"


@pytest.mark.parametrize("text", ["a (red) dog=b", "it's; 50% off!", 'say "a, b"', "\\é\\", "a [b], {c}"])
def test_texts_are_taken_as_they_are_typed(text, capsys):
    assert compose_run([f"prompt={text}"]).prompt == text
    assert main(["run", f"prompt={text}", "--cfg", "job"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["prompt"] == text


def test_a_tilde_is_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "josé").mkdir()
    smallest = Image.new("RGB", (8, 8), "red")
    smallest.save(tmp_path / "josé" / "a.png")
    cfg = compose_run(["dataset=folder", "dataset.path=~/josé", "dataset.size=8"])
    assert build(cfg.dataset, Dataset).ids() == ["a"]
    assert located("~/x") == placed("~/x") == tmp_path / "x"


def test_plus_isdiff_is_the_method_with_isdiff_on_and_no_resampling():
    for name in ("ddnm", "repaint"):
        short = compose_run([f"method={name}+isdiff"])
        long = compose_run([f"method={name}", "isdiff=on", "sampler.repeat=1"])
        assert short == long and Setup.of(short).label == f"{name}+isdiff"
    assert Setup.of(compose_run(["method=ddnm", "isdiff=seed_only"])).label == "ddnm+seed_only"
    assert compose_run(["method=ddnm"]).sampler.repeat == 10
    words = ["method=si+isdiff", "isdiff=off", "sampler.steps=9"], ["method=si", "sampler.steps=9"]
    off, plain = map(compose_run, words)
    assert Setup.of(off).fingerprint("fp32") == Setup.of(plain).fingerprint("fp32"), "switched off is the method"
