"""Metrics and their intervals."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT

from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics, configured_metrics
from isdiff.errors import UserError
from isdiff.io.files import sha256_file
from isdiff.metrics.base import Absent, Features, Unavailable
from isdiff.metrics.intervals import VERDICT_IMAGES, Estimate, contrast, estimate
from isdiff.metrics.pairs import LPIPS, SSIM, CLIPScore, HPSv2
from isdiff.metrics.samples import FrechetStatistic, KernelStatistic, MeanStatistic, frechet_distance


def images(count: int, seed: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), np.uint8))


@pytest.mark.parametrize("count", [40, 400])
def test_frechet_distance_of_known_gaussians(count):
    """Against the textbook formula on the same sample moments, with more and with fewer samples than features."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(count, 50)) * 2 + 1, rng.normal(size=(count, 50)) @ rng.normal(size=(50, 50))
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(s1 @ s2).real, 0)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * roots
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


def test_frechet_agrees_with_torch_fidelity():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.normal(size=(300, 64)) * s) for s in (1.0, 1.5))
    theirs = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), False)
    assert frechet_distance(a.numpy(), b.numpy()) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)


def test_paired_differences_are_sharper_than_separate_intervals():
    rng = np.random.default_rng(0)
    hard = rng.normal(5, 2, 100)  # images differ much more than methods do
    first, second = MeanStatistic(hard), MeanStatistic(hard - 0.2 + rng.normal(0, 0.1, 100))
    paired = contrast(first, second).difference
    assert paired.value == pytest.approx(-0.2, abs=0.05) and paired.high < 0
    assert paired.high - paired.low < 0.1 * (estimate(first).high - estimate(first).low)
    with pytest.raises(ValueError, match="cannot pair"):
        contrast(first, MeanStatistic(hard[:50]))


@pytest.mark.parametrize("size", [4, 30, 90])
def test_frechet_sample_is_the_distance_of_the_chosen_features(size):
    """Whichever of images and features are more; images far from zero, one chosen often, one alone."""
    rng = np.random.default_rng(size)
    a, b = rng.normal(size=(30, size)) + 50, rng.normal(size=(30, size)) * 2 + 51
    sample = FrechetStatistic(a, b)
    for chosen in (np.arange(30), rng.integers(30, size=30), np.array([3, 3, 3, 8]), np.array([5, 5])):
        assert sample.value(chosen) == pytest.approx(frechet_distance(a[chosen], b[chosen]), rel=1e-9)


def test_a_network_that_is_missing_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    metric = LPIPS(str(tmp_path))
    with pytest.raises(Absent, match=r"alexnet-owt-7be5be79\.pth of a metric is missing: isdiff weights get alexnet"):
        metric.measure(images(2, 0), images(2, 1))
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "alexnet-owt-7be5be79.pth").write_bytes(b"something else")
    with pytest.raises(Absent, match="is damaged or another file; delete it, then: isdiff weights get alexnet"):
        metric.measure(images(2, 0), images(2, 1))


@pytest.mark.parametrize(
    "net, network, entry", [("alex", "alexnet", "alexnet"), ("squeeze", "squeezenet1_1", "squeezenet")]
)
def test_lpips_uses_the_weights_it_finds(tmp_path, monkeypatch, net, network, entry):
    """With the layout and random numbers in the file: zero for equal images, and the file's weights matter."""
    import torchvision

    monkeypatch.setattr("isdiff.metrics.networks.MANIFEST", str(tmp_path / "manifest.yaml"))
    (tmp_path / "metrics").mkdir()
    values = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made = getattr(torchvision.models, network)(weights=None)
        torch.save(made.state_dict(), tmp_path / "metrics" / "net.pth")
        found = {"file": "net.pth", "mirrors": [], "licence": "", "source": ""}
        found["sha256"] = sha256_file(tmp_path / "metrics" / "net.pth")
        (tmp_path / "manifest.yaml").write_text(json.dumps({"files": {entry: found}}))
        metric = LPIPS(str(tmp_path), net)
        values.append(metric.measure(images(3, 0), images(3, 1)).value(np.arange(3)))
        assert metric.measure(images(3, 0), images(3, 0)).value(np.arange(3)) == pytest.approx(0, abs=1e-7)
    assert values[0] > 0 and values[0] != values[1]


@pytest.mark.parametrize("metric, values", [(SSIM(), [0.9, 0.99, 0.2]), (LPIPS("models"), [0.1, 0.0, 2.0])])
def test_an_interval_of_few_images_keeps_to_what_the_metric_can_say(metric, values):
    sample = metric.sample(Features(np.array(values)))
    found = estimate(sample, 200)
    assert sample.limits[0] <= found.low < found.high <= sample.limits[1]
    assert found.low == 0 or found.high == 1


def test_metrics_are_what_their_files_say():
    """Every file builds a metric of its own name, with the values that the configuration has for it."""
    cfg = compose_run(["model_root=elsewhere"])
    names = sorted(path.stem for path in (ROOT / "configs" / "metric").glob("*.yaml"))
    built = dict(zip(names, build_metrics(names, cfg), strict=True))
    assert {name: metric.name for name, metric in built.items()} == {name: name for name in names}
    assert built["lpips"].model_root == "elsewhere"
    assert built["caption_score"].folder == Path("elsewhere/avatars64-latent")
    other = compose_run(["+metrics.options.caption_score.model=mine"])
    assert build_metrics(["caption_score"], other)[0].folder == Path("mine")


@pytest.mark.parametrize(
    "override, message",
    [
        ("metrics.names=[psnrr]", "metrics.names has 'psnrr'"),
        ("+metrics.options.ssim.window=7", "window is no argument of SSIM, which takes none"),
        ("+metrics.options.ssim=7", "metrics.options.ssim is 7; options are arguments of a metric by its name"),
    ],
)
def test_what_there_is_not_is_refused(override, message):
    with pytest.raises(UserError, match=re.escape(message)):
        configured_metrics(compose_run(["metrics.names=[ssim]", override]))


def test_clip_score_is_the_models_cosine(tmp_path):
    """With an untrained CLIP of the published layout: 100 times the cosine of the model's own embeddings."""
    folder = tiny_clip(tmp_path / "clip_vit_l14")
    from transformers import CLIPModel, CLIPProcessor

    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    pictures, prompts = images(3, 0), ["a cat", "a dog", "cat"]
    with torch.no_grad():
        logits = model(**processor(text=prompts, images=pictures, padding=True, return_tensors="pt")).logits_per_image
    expected = 100 * (logits.diagonal() / model.logit_scale.exp()).clamp(min=0).mean().item()
    metric = CLIPScore(str(folder))
    assert metric.measure(pictures, pictures, prompts).value(np.arange(3)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(Unavailable, match="the run has no prompts"):
        metric.measure(pictures, pictures, ["", "", ""])
    with pytest.raises(Unavailable, match="is missing: isdiff weights get clip_vit_l14"):
        CLIPScore(str(tmp_path / "none" / "clip_vit_l14")).measure(pictures, pictures, prompts)
    preferred = HPSv2(str(folder))  # the same arithmetic on other weights
    assert preferred.measure(pictures, pictures, prompts).value(np.arange(3)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(Unavailable, match=r"is missing: put HPSv2 or HPSv2\.1 there, in the layout of transformers"):
        HPSv2(str(tmp_path / "none")).measure(pictures, pictures, prompts)


def test_the_title_of_the_clip_score_names_the_revision_that_is_downloaded():
    revision = yaml.safe_load((ROOT / "models" / "manifest.yaml").read_text())["hub"]["clip_vit_l14"]["revision"]
    assert f"(ViT-L/14, revision {revision[:8]})" in CLIPScore.title


def tiny_clip(folder):
    import json

    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    folder.mkdir()
    words = ["<|startoftext|>", "<|endoftext|>", *"acdogt", *(c + "</w>" for c in "acdogt"), "ca", "cat</w>"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    text = {**small, "vocab_size": len(words), "max_position_embeddings": 16, "eos_token_id": 1, "bos_token_id": 0}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def test_no_verdict_on_few_images():
    few, many = (Estimate(1.0, 0.5, 1.5, n) for n in (VERDICT_IMAGES - 1, VERDICT_IMAGES))
    assert not few.excludes_zero and many.excludes_zero and not Estimate(1.0, -0.5, 1.5, 900).excludes_zero


def test_runs_are_paired_by_image():
    first, second = MeanStatistic(np.array([1.0, 2.0, 3.0])), MeanStatistic(np.array([30.0, 10.0]))
    whole = contrast(first, second, 10, (["a", "b", "c"], ["c", "a"]))
    found = whole.difference
    assert found.value == pytest.approx((30 + 10) / 2 - (3 + 1) / 2) and found.n == 2
    assert whole.relative == pytest.approx(100 * 18 / 2), "of the images that both have"
    with pytest.raises(ValueError, match="no image in common"):
        contrast(first, second, 10, (["a", "b", "c"], ["d", "e"]))
    with pytest.raises(ValueError, match="cannot pair 3 images with 2 without their names"):
        contrast(first, second, 10)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_what_is_not_known_is_null_and_not_nan(n):
    rng = np.random.default_rng(0)
    found = estimate(KernelStatistic(rng.standard_normal((n, 4)), rng.standard_normal((n, 4))), 50)
    text = json.dumps(found.as_dict(), allow_nan=False)
    assert Estimate.of(json.loads(text)).text() == found.text()
    assert "nan" not in found.text()
