"""Weights files that people really have: the wrong ones, half of one, edited ones. One sentence each, or a load."""

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from isdiff.errors import Missing, UserError
from isdiff.io.models import build_net, load_attribute_net, load_caption_net, load_net, save_weights
from isdiff.models.pipeline import load_pipeline
from isdiff.models.pixel import PixelModel
from isdiff.nets.drawings import AttributeNet

SMALL = {"model_channels": 32, "channel_mult": [1], "num_res_blocks": 1, "attention_resolutions": []}
NETS = {
    "unet": SMALL,
    "ddim": {"_target_": "isdiff.nets.ddim.DDIMUNet", "ch": 32, "ch_mult": [1], "num_res_blocks": 1, "image_size": 8},
    "classifier": {
        "_target_": "isdiff.nets.classifier.Classifier", "image_size": 8, "model_channels": 32, "num_classes": 3,
        "num_res_blocks": 1, "attention_resolutions": [], "channel_mult": [1], "num_head_channels": 32,
    },
}  # fmt: skip


def written(path, arguments=SMALL, edit=None, header=None, damage=None):
    """A weights file without a note; ``edit`` changes its tensors, ``damage`` the file."""
    torch.manual_seed(0)
    tensors = {k: v.half().contiguous() for k, v in build_net(arguments).state_dict().items()}
    if edit is not None:
        edit(tensors)
    save_file(tensors, path, metadata={"net": json.dumps(arguments)} if header is None else header)
    if damage is not None:
        damage(path)
    return path


def refused(path, message, loader=load_net):
    with pytest.raises(UserError, match=message) as caught:
        loader(path)
    assert path.name in str(caught.value) and len(str(caught.value)) < 600


def header(**arguments) -> dict[str, str]:
    return {"net": json.dumps(SMALL | arguments)}


WRONG = [  # a message, and how a file comes to it; absurd sizes take no memory
    (r"out\.2\.weight is not finite", {"edit": lambda t: t["out.2.weight"].fill_(torch.nan)}),
    (r'UNet: Missing .*"out\.2\.weight"$', {"edit": lambda t: t.pop("out.2.weight")}),
    ("UNet: size mismatch for out", {"edit": lambda t: t.update({"out.2.weight": torch.zeros(6, 31, 3, 3)})}),
    ("no JSON object 'net'", {"header": {"net": "[" * 100_000}}),
    ("'os.system'.*isdiff.nets.unet.UNet", {"header": header(_target_="os.system")}),
    ("colour", {"header": header(colour=1)}),
    ("size mismatch", {"header": header(model_channels=32 * 10**5)}),
    ("not a whole safetensors file", {"damage": lambda path: path.write_bytes(path.read_bytes()[:-10])}),
    ("not a whole safetensors file", {"damage": lambda path: (path.unlink(), path.mkdir())}),
]


@pytest.mark.parametrize("message, how", WRONG)
def test_files_that_cannot_be_used(tmp_path, message, how):
    refused(written(tmp_path / "net.safetensors", **how), message)


@pytest.mark.parametrize("kind", NETS)
def test_every_kind_of_network_loads(tmp_path, kind):
    path = written(tmp_path / "net.safetensors", NETS[kind])
    net = load_net(path)
    torch.manual_seed(0)
    for a, b in zip(net.parameters(), build_net(NETS[kind]).parameters(), strict=True):
        assert torch.equal(a, b.half().float())


def test_links_and_notes(tmp_path):
    path = written(tmp_path / "net.safetensors")
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    load_net(link)
    note = tmp_path / "net.safetensors.sha256"
    note.write_bytes(b"not a hash")
    refused(path, r"net\.safetensors\.sha256")
    note.unlink()
    path.unlink()
    with pytest.raises(Missing, match=r"link\.safetensors"):
        load_net(link)


def attribute_file(path, edit=None, header=None):
    net = AttributeNet({"hair": ["red", "none"]})
    with torch.no_grad():
        if edit:
            edit(net)
    save_weights(path, net, {"classes": json.dumps(net.classes)} if header is None else header)
    return path


def test_attribute_networks_load_and_are_checked(tmp_path):
    path = attribute_file(tmp_path / "classifier.safetensors")
    assert load_attribute_net(path).classes == {"hair": ["red", "none"]}
    for header, message in (
        ({}, "classes"),
        ({"classes": '{"hair": 3}'}, "describes no network"),
        ({"classes": '{"hat": ["red", "none"]}'}, r'Missing .*"heads\.hat'),
    ):
        refused(attribute_file(path, header=header), message, load_attribute_net)
    attribute_file(path, lambda net: net.embed.bias.fill_(float("inf")))
    refused(path, r"embed\.bias is not finite", load_attribute_net)


def first_nan(tensors):
    tensors[min(tensors)].view(-1)[:1] = float("nan")


def drop_first(tensors):
    del tensors[min(tensors)]


def reshape_first(tensors):
    tensors[min(tensors)] = torch.zeros(3, 5)


CAPTIONS, TEXT = "captions.safetensors", "text_encoder/model.safetensors"
UNET, VAE = (f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))


def damaged(folder: Path, file: str, change) -> None:
    """Change tensors by a function; write other bytes, or nothing at all."""
    if change is None or isinstance(change, bytes):
        (folder / file).unlink() if change is None else (folder / file).write_bytes(change)
        return
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file, metadata={"format": "pt"} | ({"end": "1"} if file == CAPTIONS else {}))


@pytest.mark.parametrize(
    "file, change, message",
    [
        (CAPTIONS, first_nan, r"captions\.safetensors.*not finite"),
        (CAPTIONS, drop_first, r"captions\.safetensors do not fit CaptionNet: Missing"),
        (TEXT, drop_first, r"text_encoder.*is missing"),
    ],
)
def test_caption_networks_are_checked(latent_copy, file, change, message):
    damaged(latent_copy, file, change)
    with pytest.raises(UserError, match=message):
        load_caption_net(latent_copy)


@pytest.mark.parametrize(
    "file, change",
    [
        (UNET, first_nan), (VAE, drop_first), (TEXT, reshape_first), (UNET, b""), ("unet/config.json", b'{"a": '),
        ("tokenizer/tokenizer.json", None),
    ],
)  # fmt: skip
def test_diffusers_folders_are_checked(latent_copy, file, change):
    damaged(latent_copy, file, change)
    with pytest.raises(UserError, match=f"latent.*{file.split('/')[0] if callable(change) else ''}"):
        load_pipeline(str(latent_copy))


def pixel(**nets):
    return PixelModel("m", image_size=8, **nets).load(torch.device("cpu"))


def test_networks_of_the_wrong_kind(tmp_path):
    net = str(written(tmp_path / "net.safetensors"))
    guide = str(written(tmp_path / "guide.safetensors", NETS["classifier"]))
    labelled = str(written(tmp_path / "labelled.safetensors", SMALL | {"num_classes": 3}))
    pixel(weights=net)
    both = {"guidance_scale": 1.0, "num_classes": 3}
    pixel(weights=labelled, classifier={"name": "c", "weights": guide}, **both)
    with pytest.raises(UserError, match=r"guide\.safetensors"):
        pixel(weights=guide)
    with pytest.raises(UserError, match=r"net\.safetensors"):
        pixel(weights=labelled, classifier={"name": "c", "weights": net}, **both)
    with pytest.raises(UserError, match=r"labelled\.safetensors.*num_classes"):
        pixel(weights=labelled)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    path = written(tmp_path_factory.mktemp("valid") / "net.safetensors", NETS["classifier"])
    return path.read_bytes()


def survives(content: bytes, path) -> None:
    """A sentence, or a network that answers with numbers."""
    path.write_bytes(content)
    try:
        net = load_net(path)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert all(p.isfinite().all() for p in net.parameters())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_load_or_are_refused(valid, tmp_path, data):
    header = 8 + struct.unpack("<Q", valid[:8])[0]
    content = bytearray(valid)
    places = st.integers(0, header - 1) | st.integers(0, 7) | st.integers(0, len(valid) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    end = data.draw(st.just(len(valid)) | st.just(len(valid)) | st.integers(0, len(valid)))
    survives(bytes(content[:end]), tmp_path / "net.safetensors")
