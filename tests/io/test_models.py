"""Weights files that people really have: the wrong ones, half of one, edited ones. One sentence each, or a load."""

import json
import shutil
import struct

import pytest
import torch
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from isdiff.errors import Missing, UserError
from isdiff.io.models import build_net, load_attribute_net, load_caption_net, load_net, save_weights
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
LATENT = ROOT / "models" / "avatars64-latent"


def written(path, arguments=SMALL, edit=None, header=None):
    """A weights file without a note; ``edit`` changes its tensors."""
    torch.manual_seed(0)
    tensors = {k: v.half().contiguous() for k, v in build_net(arguments).state_dict().items()}
    if edit is not None:
        edit(tensors)
    save_file(tensors, path, metadata={"net": json.dumps(arguments)} if header is None else header)
    return path


def refused(path, message, loader=load_net):
    with pytest.raises(UserError, match=message) as caught:
        loader(path)
    text = str(caught.value)
    assert path.name in text and "\n" not in text and len(text) < 600
    return text


EDITS = {
    r"out\.2\.weight is not finite": lambda tensors: tensors["out.2.weight"].fill_(torch.nan),
    r'UNet: Missing .*"out\.2\.weight"$': lambda tensors: tensors.pop("out.2.weight"),
    r'UNet: Unexpected .*"spare\.weight"$': lambda tensors: tensors.update({"spare.weight": torch.zeros(2)}),
    r"UNet: size mismatch for out\.2\.weight: .*6, 31, 3, 3": lambda tensors: tensors.update(
        {"out.2.weight": torch.zeros(6, 31, 3, 3)}
    ),
}


@pytest.mark.parametrize("message", EDITS)
def test_tensors_that_do_not_fit(tmp_path, message):
    refused(written(tmp_path / "net.safetensors", edit=EDITS[message]), message)


@pytest.mark.parametrize("kind", NETS)
def test_every_kind_of_network_loads(tmp_path, kind):
    path = written(tmp_path / "net.safetensors", NETS[kind])
    net = load_net(path)
    torch.manual_seed(0)
    for a, b in zip(net.parameters(), build_net(NETS[kind]).parameters(), strict=True):
        assert torch.equal(a, b.half().float())


@pytest.mark.parametrize(
    "header, message",
    [
        ({}, "no JSON object 'net'"),
        ({"net": "[" * 100_000}, "no JSON object 'net'"),
        ({"net": json.dumps({"_target_": "os.system"})}, "'os.system'.*isdiff.nets.unet.UNet"),
        ({"net": json.dumps(SMALL | {"colour": 1})}, "colour"),
        ({"net": json.dumps(SMALL | {"channel_mult": [None]})}, "channel_mult"),
        ({"net": json.dumps(SMALL | {"model_channels": 32 * 10**5})}, "size mismatch"),
    ],
)
def test_headers_that_do_not_fit(tmp_path, header, message):
    """Absurd sizes take no memory."""
    refused(written(tmp_path / "net.safetensors", header=header), message)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a page": lambda path: path.write_text("<html>sign in</html>"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_are_none(tmp_path, damage):
    path = written(tmp_path / "net.safetensors")
    DAMAGES[damage](path)
    refused(path, "not a whole safetensors file")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = written(tmp_path / "net.safetensors")

    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("isdiff.io.models.safe_open", forbidden)
    refused(path, "Permission denied")


def test_links_and_notes(tmp_path):
    path = written(tmp_path / "net.safetensors")
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    load_net(link)
    note = tmp_path / "net.safetensors.sha256"
    for text in (b"", b"\xff\xfe", b"not a hash"):
        note.write_bytes(text)
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


@pytest.mark.parametrize(
    "header, message",
    [
        ({}, "classes"),
        ({"classes": '{"hair": 3}'}, "describes no network"),
        ({"classes": '{"hat": ["red", "none"]}'}, r'Missing .*"heads\.hat'),
    ],
)
def test_attribute_networks_are_checked(tmp_path, header, message):
    refused(attribute_file(tmp_path / "classifier.safetensors", header=header), message, load_attribute_net)


def test_attribute_networks_load_and_are_finite(tmp_path):
    path = attribute_file(tmp_path / "classifier.safetensors")
    assert load_attribute_net(path).classes == {"hair": ["red", "none"]}
    attribute_file(path, lambda net: net.embed.bias.fill_(float("inf")))
    refused(path, r"embed\.bias is not finite", load_attribute_net)


@pytest.fixture
def latent(tmp_path):
    """The shipped latent model, without the note that would catch every change."""
    folder = tmp_path / "latent"
    shutil.copytree(LATENT, folder, ignore=shutil.ignore_patterns("SHA256SUMS", "card", "README.md"))
    return folder


def edit_file(path, change, header=None):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=header or {"format": "pt"})


def first_nan(tensors):
    tensors[min(tensors)].view(-1)[:1] = float("nan")


def drop_first(tensors):
    del tensors[min(tensors)]


def reshape_first(tensors):
    tensors[min(tensors)] = torch.zeros(3, 5)


CAPTIONS, TEXT = "captions.safetensors", "text_encoder/model.safetensors"


@pytest.mark.parametrize(
    "file, change, message",
    [
        (CAPTIONS, first_nan, r"captions\.safetensors.*not finite"),
        (CAPTIONS, drop_first, r"captions\.safetensors do not fit CaptionNet: Missing"),
        (TEXT, drop_first, r"text_encoder.*is missing"),
    ],
)
def test_caption_networks_are_checked(latent, file, change, message):
    edit_file(latent / file, change, {"end": "1"} if file == CAPTIONS else None)
    with pytest.raises(UserError, match=message) as caught:
        load_caption_net(latent)
    assert "\n" not in str(caught.value)


def test_caption_networks_of_broken_files(latent):
    load_caption_net(latent)
    (latent / "text_encoder" / "config.json").write_bytes(b'{"a": ')
    with pytest.raises(UserError, match="text_encoder"):
        load_caption_net(latent)
    edit_file(latent / CAPTIONS, lambda tensors: None, {"end": "last"})
    with pytest.raises(UserError, match="end"):
        load_caption_net(latent)


def pipeline(folder):
    from isdiff.models.pipeline import load_pipeline

    return load_pipeline(str(folder))


UNET, VAE = (f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))


@pytest.mark.parametrize("file, change", [(UNET, first_nan), (VAE, drop_first), (TEXT, reshape_first)])
def test_diffusers_folders_are_checked(latent, file, change):
    edit_file(latent / file, change)
    with pytest.raises(UserError, match="latent.*" + file.split("/")[0]) as caught:
        pipeline(latent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file, content",
    [
        ("model_index.json", b"[1]"),
        ("unet/config.json", b'{"a": '),
        (UNET, b""),
        ("tokenizer/tokenizer.json", None),
    ],
)
def test_broken_diffusers_folders(latent, file, content):
    assert {type(part).__name__ for part in (pipeline(latent).unet, pipeline(latent).vae)} == {
        "UNet2DConditionModel", "AutoencoderKL"
    }  # fmt: skip
    (latent / file).unlink() if content is None else (latent / file).write_bytes(content)
    for path in (latent, latent / "nothing.safetensors"):
        with pytest.raises(UserError, match="latent") as caught:
            pipeline(path)
        assert "\n" not in str(caught.value)


def pixel(**nets):
    from isdiff.models.pixel import PixelModel

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


FAST = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@FAST
@given(data=st.data())
def test_damaged_bytes_load_or_are_refused(valid, tmp_path, data):
    header = 8 + struct.unpack("<Q", valid[:8])[0]
    content = bytearray(valid)
    places = st.integers(0, header - 1) | st.integers(0, 7) | st.integers(0, len(valid) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    end = data.draw(st.just(len(valid)) | st.just(len(valid)) | st.integers(0, len(valid)))
    survives(bytes(content[:end]), tmp_path / "net.safetensors")
