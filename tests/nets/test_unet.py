"""The U-Net: names and shapes of the public checkpoints, numbers of the reference."""

import pytest
import torch
from conftest import GOLDEN, golden_json
from safetensors.torch import load_file

from isdiff.diffusion.schedule import named_betas
from isdiff.nets.unet import UNet, timestep_embedding

KEYS = sorted(p for p in (GOLDEN / "unet_keys").glob("*.json") if "ddim" not in p.stem and "classifier" not in p.stem)
NETS = sorted((GOLDEN / "unet_numeric").glob("gd_*.json"))


@pytest.mark.parametrize("path", KEYS, ids=lambda p: p.stem)
def test_public_checkpoints_fit_strictly(path):
    recorded = golden_json(f"unet_keys/{path.name}")
    arguments = {k: v for k, v in recorded["meta"]["unet_kwargs"].items() if k not in ("use_checkpoint", "use_fp16")}
    with torch.device("meta"):
        net = UNet(**arguments)
    assert {name: list(value.shape) for name, value in net.state_dict().items()} == recorded["keys"]
    assert sum(p.numel() for p in net.parameters()) == recorded["meta"]["total_params"]


@pytest.mark.parametrize("path", NETS, ids=lambda p: p.stem)
@pytest.mark.parametrize("case", ["int", "float_nonsquare", "equal_t"])
def test_outputs_equal_the_reference(path, case):
    tensors = load_file(path.with_suffix(".safetensors"))
    net = UNet(**golden_json(f"unet_numeric/{path.name}")["constructor"]).eval()
    net.load_state_dict({k.removeprefix("sd."): v.float() for k, v in tensors.items() if k.startswith("sd.")})
    x, t, y, out, emb = (tensors.get(f"io.{case}.{name}") for name in ("x", "t", "y", "out", "t_emb"))
    torch.testing.assert_close(timestep_embedding(t, net.model_channels), emb, atol=1e-4, rtol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(net(x, t, y), out, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", ["int", "float", "equal_t"])
def test_ddim_outputs_equal_the_reference(case, golden_ddim_net):
    tensors = load_file(GOLDEN / "unet_numeric" / "ddim_p1.safetensors")
    x, t, out = (tensors[f"io.{case}.{name}"] for name in ("x", "t", "out"))
    with torch.inference_mode():
        torch.testing.assert_close(golden_ddim_net(x, t), out, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="not class-conditional"):
        golden_ddim_net(x, t, torch.zeros(len(x), dtype=torch.long))


def test_labels_belong_to_class_conditional_networks(golden_net):
    with pytest.raises(ValueError, match="class-conditional"):
        golden_net(torch.zeros(1, 3, 16, 16), torch.zeros(1), torch.zeros(1, dtype=torch.long))


def small(**options) -> UNet:
    torch.manual_seed(0)
    net = UNet(model_channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(2,), **options).eval()
    for p in net.parameters():  # blocks start as identities: give every layer something to do
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)
    return net


def test_patches_fold_and_unfold():
    net = small(patch_size=2)
    assert net(torch.randn(2, 3, 32, 32), torch.tensor([5, 900])).shape == (2, 6, 32, 32)
    assert net.input_blocks[0][0].in_channels == 12


def test_velocity_becomes_noise():
    net = small(velocity="linear")
    raw = small()
    raw.load_state_dict(net.state_dict())
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([10, 990])
    alphas_cumprod = torch.cumprod(1 - named_betas("linear"), 0)[t].float().view(-1, 1, 1, 1)
    with torch.inference_mode():
        noise, v = net(x, t), raw(x, t)
    torch.testing.assert_close(noise[:, :3], (1 - alphas_cumprod).sqrt() * x + alphas_cumprod.sqrt() * v[:, :3])
    torch.testing.assert_close(noise[:, 3:], v[:, 3:])


def test_half_precision_stays_close_and_returns_the_input_dtype():
    net = small(velocity="linear")
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([10, 700])
    with torch.inference_mode():
        full = net(x, t)
        half = net.to(torch.bfloat16)(x, t)
    assert half.dtype == torch.float32
    assert (half - full).abs().max() < 0.1
