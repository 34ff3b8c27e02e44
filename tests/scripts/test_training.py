"""Training: the loss's exact values, and runs that survive being stopped."""

import json
import re

import numpy as np
import pytest
import torch
from conftest import ROOT, run_script
from omegaconf import OmegaConf
from safetensors.torch import load_file

from isdiff.diffusion.schedule import add_noise, named_betas
from isdiff.io.models import load_net
from isdiff.nets.unet import UNet
from train import configured
from training import CONFIGS
from training.loop import Trainer
from training.pixel import HybridLoss, Posterior, log_likelihood_8bit

BETAS = named_betas("linear")


def perfect(x0, noise, variance):
    """A "network" that knows the noise and answers with a fixed share of the variance range."""
    return lambda x_t, t: torch.cat([noise, torch.full_like(noise, variance)], 1)


@pytest.mark.parametrize("t", [1, 200, 999])
def test_the_bound_is_zero_for_the_true_posterior(t):
    """With the true mean, the posterior's variance (share -1) costs nothing, and beta costs the textbook KL."""
    x0 = torch.rand(2, 3, 8, 8) * 1.8 - 0.9
    noise, steps = torch.randn_like(x0), torch.full((2,), t)
    loss = HybridLoss(BETAS)
    assert loss(perfect(x0, noise, -1.0), x0, steps, noise)["vb"].abs().max() < 1e-3
    p = Posterior(BETAS)
    ratio = (p.log_variance[t].exp() / BETAS[t]).item()
    kl = 0.5 * (ratio - 1 - np.log(ratio)) / np.log(2)
    assert loss(perfect(x0, noise, 1.0), x0, steps, noise)["vb"].mean().item() == pytest.approx(kl, abs=2e-3)


def test_weighting():
    x0, noise, t = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), torch.tensor([500])
    answer = lambda x_t, t: noise + 0.5  # noqa: E731
    alphas_cumprod = torch.cumprod(1 - BETAS, 0)[500].item()
    assert HybridLoss(BETAS)(answer, x0, t, noise)["loss"].item() == pytest.approx(0.25 / alphas_cumprod, rel=1e-4)


def test_velocity_network_and_velocity_weight_give_the_velocitys_mse():
    net = UNet(model_channels=32, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), velocity="linear")
    x0, noise, t = torch.rand(2, 3, 8, 8), torch.randn(2, 3, 8, 8), torch.tensor([100, 900])
    alphas_cumprod = torch.cumprod(1 - BETAS, 0)[t].float().view(-1, 1, 1, 1)
    v = alphas_cumprod.sqrt() * noise - (1 - alphas_cumprod).sqrt() * x0  # the untrained network answers zero
    found = HybridLoss(BETAS)(net, x0, t, noise)["mse"]
    torch.testing.assert_close(found, v.square().flatten(1).mean(1), rtol=2e-3, atol=1e-4)
    assert torch.isfinite(add_noise(x0, noise, alphas_cumprod)).all()


def test_8bit_likelihood_sums_to_one():
    values = torch.arange(256) / 127.5 - 1
    for mean, std in ((0.1, 0.2), (-0.99, 0.05), (0.3, 0.002)):
        mean, std = torch.full_like(values, mean), torch.full_like(values, std)
        assert log_likelihood_8bit(values, mean, std).exp().sum().item() == pytest.approx(1, abs=1e-4)


OPTIONS = OmegaConf.create(
    {
        "batch_size": 8, "total_samples": 320, "lr": 0.2, "warmup_samples": 16, "decay": 0.5, "weight_decay": 0.0,
        "ema": 0.9, "grad_clip": 1.0, "log_every": 5, "save_every_s": 1000,
    }
)  # fmt: skip


def line_loss(net, step):
    """A straight line to fit; batch n follows from n."""
    x = torch.randn(8, 1, generator=torch.Generator().manual_seed(step))
    return {"loss": (net(x) - 3 * x - 1).square().flatten(1).mean(1)}


def make_net():
    torch.manual_seed(0)
    return torch.nn.Linear(1, 1)


def test_a_stopped_training_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = Trainer(make_net(), line_loss, tmp_path / "whole", OPTIONS)
    whole.run()
    stopped = Trainer(make_net(), line_loss, tmp_path / "parts", OPTIONS)
    for _ in range(17):
        stopped.one_step()
    stopped.save()
    resumed = Trainer(make_net(), line_loss, tmp_path / "parts", OPTIONS)
    assert resumed.step == 17
    resumed.run()
    for a, b in zip(whole.params + whole.ema, resumed.params + resumed.ema, strict=True):
        assert torch.equal(a, b)
    assert whole.params[0].item() == pytest.approx(3, abs=0.3)
    curve = [json.loads(line) for line in (tmp_path / "whole" / "loss.jsonl").open()]
    assert curve[-1]["samples"] == 320 and curve[-1]["loss"] < curve[0]["loss"]


def test_trainings_compose():
    """With every reference resolved; as named, and as the cards of the models say."""
    named = [[f"train={path.stem}"] for path in (CONFIGS / "train").glob("*64*.yaml")]
    cards = "\n".join(path.read_text("utf-8") for path in (ROOT / "models").glob("*/README.md"))
    told = [words.split() for words in re.findall(r"`python scripts/train\.py\s+([^`]*)`", cards)]
    told += [[f"train={name}"] for name in re.findall(r"`train=(\w+)`", cards)]
    assert len(named) == 12 and len(told) >= 12
    for overrides in dict.fromkeys(map(tuple, [*named, *told])):
        assert configured(overrides).export.startswith("models/")


@pytest.mark.parametrize("override", ["=3", "train=nothing", "train.colour=1", "train.seed=${x}"])
def test_wrong_overrides_of_a_training_get_one_sentence(override):
    done = run_script(override, script="train.py", check=False)
    assert done.returncode == 1 and done.stderr.startswith("isdiff: ") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_real_script_trains_resumes_and_exports(tmp_path):
    """A tiny network on a few real drawings: train, go on, and load what was written."""
    small = [
        f"output_root={tmp_path}", f"data_root={tmp_path}", f"train.export={tmp_path}/export",
        "train.train_images=40", "train.net.channel_mult=[1,1]", "train.net.num_res_blocks=1", "train.samples=16",
        "train.net.attention_resolutions=[]", "train.net.model_channels=32", "train.init_from=null",
        "train.optim.batch_size=4", "train.optim.log_every=1", "train.dev_images=4",
        "train.sample_steps=5",
    ]  # fmt: skip
    run_script(*small, "train.optim.total_samples=8", script="train.py")
    run_script(*small, "train.optim.total_samples=16", script="train.py")
    facts = json.loads((tmp_path / "export" / "training.json").read_text())
    assert facts["samples_seen"] == 16 and facts["steps"] == 4
    assert {p.name for p in (tmp_path / "export").iterdir()} >= {"samples.png", "loss.png", "unet.safetensors"}
    net = load_net(tmp_path / "export" / "unet.safetensors")
    assert net.patch_size == 2 and net.levels is not None
    # On another machine, without the state: from the exported weights, and no step further gives them back.
    weights = f"train.init_from={tmp_path}/export/unet.safetensors"
    elsewhere = [f"output_root={tmp_path}/new", f"train.export={tmp_path}/new"]
    run_script(*small, *elsewhere, weights, "train.optim.total_samples=4", "train.optim.lr=0", script="train.py")
    again = load_net(tmp_path / "new" / "unet.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


@pytest.mark.long
def test_a_latent_model_is_trained_part_by_part(tmp_path):
    """Four tiny trainings in a row give a folder that diffusers loads and that our methods run on."""
    small = [
        f"output_root={tmp_path}", f"data_root={tmp_path}", f"train.export={tmp_path}/model",
        "train.train_images=40", "train.optim.batch_size=4", "train.optim.total_samples=8", "train.optim.log_every=1",
    ]  # fmt: skip
    narrow = ["train.net.block_out_channels=[16,16,32,32]", "train.compile=false"]
    narrow += ["train.net.attention_head_dim=[2,2,2,2]"]
    folder = tmp_path / "model"
    for name in ("vae", "encoder", "captions", "latent_noise", "latent"):
        run_script(f"train=avatars64_{name}", *small, *(narrow if "latent" in name else []), script="train.py")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    for name in ("decoder", "words"):
        run_script(f"train=avatars64_{name}", *small, script="train.py")
    again = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    changed = {key.split(".")[0] for key in vae if not torch.equal(vae[key], again[key])}
    assert "decoder" in changed and changed <= {"decoder", "post_quant_conv"}, "latents stay as they were"
    from diffusers import StableDiffusionInpaintPipeline

    pipeline = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
    assert pipeline.tokenizer("a face P_obj_3").input_ids[-2] >= len(pipeline.tokenizer) - 30
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert 0 < pipeline.vae.config.scaling_factor != 0.18215
    start = pipeline.text_encoder.get_input_embeddings().weight.float()
    assert not torch.equal(start[-1], start[-2]), "task words were trained"
    assert {p.name for p in (folder / "card").iterdir()} >= {"avatars64_vae.json", "avatars64_latent.png"}
    common = ["dataset=avatars", f"model.weights={folder}", f"output_root={tmp_path}/out", "limit=2"]
    run_script(*common, "method=powerpaint", "sampler.steps=2", "prompt=caption", "metrics.names=[]")
