"""Fetching weights, against a local server that behaves as real ones have been seen to."""

import errno
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from conftest import ROOT, golden_json
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from isdiff.cli.command import call
from isdiff.errors import UserError
from isdiff.io.models import build_net, load_net
from isdiff.io.weights import Weights

main = partial(call, "weights")
NET = {
    "_target_": "isdiff.nets.unet.UNet", "model_channels": 32, "channel_mult": [1], "num_res_blocks": 1,
    "attention_resolutions": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("published") / "net.pt"
    torch.manual_seed(0)
    torch.save({f"module.{k}": v for k, v in build_net(NET).state_dict().items()}, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of a server on this machine, which this process and its children trust."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    key, made = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "certificate.pem"))
    words = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=127.0.0.1"
    words += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {made}"
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made))
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield key, made


@contextmanager
def serving(handler, certificate):
    """The address of a server with TLS."""
    key, made = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()


@pytest.fixture
def server(checkpoint, certificate):
    """Serve /good, /forbidden, /page (HTML with status 200), /short (ends early once), /other (wrong), /to/ADDRESS."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Range")))
            if self.path == "/forbidden":
                return self.send_error(403)
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/to/"))
                return self.end_headers()
            body = b"<html>please sign in</html>" if self.path == "/page" else checkpoint
            if self.path == "/other":
                body = checkpoint[::-1]
            start = 0
            if (wanted := self.headers.get("Range")) and self.path != "/page":
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = len(body) // 3 if self.path == "/short" and not start else len(body)
            self.wfile.write(body[start:end])

        def log_message(self, *args):
            pass

    with serving(Handler, certificate) as url:
        yield url, seen


def folder(tmp_path, *mirrors: str, **options) -> Weights:
    entry = {"file": "net.pt", "mirrors": list(mirrors), "licence": "none", "source": "test", "net": NET, **options}
    OmegaConf.save(OmegaConf.create({"files": {"net": entry}}), tmp_path / "manifest.yaml")
    return Weights(tmp_path)


def test_download_convert_and_load(tmp_path, server, checkpoint):
    url, _ = server
    weights = folder(tmp_path, f"{url}/good", size=len(checkpoint), sha256=hashlib.sha256(checkpoint).hexdigest())
    entry = weights.entry("net")
    assert weights.status(entry) == "missing"
    assert weights.get("net").read_bytes() == checkpoint
    assert weights.status(entry) == "downloaded"
    path = weights.convert("net")
    assert weights.status(entry) == "ready" and not list(tmp_path.rglob("*.partial"))
    net = load_net(path)
    torch.manual_seed(0)
    for a, b in zip(net.parameters(), build_net(NET).parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_broken_connection_is_resumed(tmp_path, server, checkpoint):
    url, seen = server
    weights = folder(tmp_path, f"{url}/short", size=len(checkpoint))
    with pytest.raises(UserError, match=r"ended after .* run the same command again"):
        weights.get("net")
    assert weights.status(weights.entry("net")) == "partly here"
    assert weights.get("net").read_bytes() == checkpoint
    assert seen == [("/short", None), ("/short", f"bytes={len(checkpoint) // 3}-")]


@pytest.mark.parametrize(
    "path, options, message",
    [
        ("/forbidden", {}, "the server answered 403 Forbidden"),
        ("/page", {}, "not a plain state dict"),
        ("/other", {"sha256": "0" * 64}, "its sha256 is"),
        ("/good", {"size": 1000}, "sends more than the 1000 bytes"),
        ("/to/http://127.0.0.1:9/x", {}, "http://127.0.0.1:9/x is no https address"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, server, path, options, message):
    url, _ = server
    weights = folder(tmp_path, url + path, **options)
    with pytest.raises(UserError, match=message) as caught:
        weights.get("net")
    assert "isdiff weights register net PATH" in str(caught.value)
    assert not weights.path(weights.entry("net")).exists()


def test_redirects_within_https_are_followed_and_the_next_mirror_helps(tmp_path, server, checkpoint):
    url, seen = server
    mirrors = [f"{url}/forbidden", f"{url}/page", f"{url}/to/{url}/good"]
    assert folder(tmp_path, *mirrors).get("net").read_bytes() == checkpoint
    assert [path for path, _ in seen] == ["/forbidden", "/page", f"/to/{url}/good", "/good"]


class Evil:
    def __reduce__(self):
        return print, ("this must never be printed",)


def other_state() -> dict:
    torch.manual_seed(1)
    return build_net(NET).state_dict()


def state_as(tmp_path, tensors=None, name: str = "own.pt"):
    path = tmp_path / name
    torch.save(other_state() if tensors is None else tensors, path)
    return path


@pytest.mark.parametrize(
    "tensors, message",
    [
        ({"a": Evil()}, "not a plain state dict"),
        ({"a": torch.zeros(1)}, "do not fit UNet: Missing key"),
        ({**other_state(), "out.2.weight": torch.full((6, 32, 3, 3), torch.nan)}, r"out\.2\.weight is not finite"),
    ],
)
def test_a_wrong_file_is_refused_and_leaves_everything(tmp_path, capsys, tensors, message):
    weights = folder(tmp_path)
    right, own = state_as(tmp_path, name="right.pt"), state_as(tmp_path, tensors)

    for _ in range(2):  # where nothing is, and where the right one is
        before = {p: (p.is_symlink(), p.read_bytes()) for p in sorted(tmp_path.rglob("*")) if p.is_file()}
        with pytest.raises(UserError, match=message):
            weights.register("net", own)
        assert before == {p: (p.is_symlink(), p.read_bytes()) for p in sorted(tmp_path.rglob("*")) if p.is_file()}
        weights.register("net", right)
    assert "never be printed" not in capsys.readouterr().out


def test_registering_over_what_is_here(tmp_path, server, checkpoint):
    url, _ = server
    weights = folder(tmp_path, f"{url}/good")
    place = weights.get("net")
    link, copy = tmp_path / "link.pt", tmp_path / "copy.pt"
    link.symlink_to(place)
    copy.write_bytes(checkpoint)
    for path in (place, link, copy):
        assert weights.register("net", path).read_bytes() == checkpoint and not place.is_symlink()
    for path, message in (
        (tmp_path / "nothing.pt", "there is no file"),
        (state_as(tmp_path), "another content; delete"),
    ):
        with pytest.raises(UserError, match=message):
            weights.register("net", path)
    place.unlink()
    for path in (copy, tmp_path / "own.pt"):  # a link is replaced
        assert weights.register("net", path).read_bytes() == path.read_bytes() and place.is_symlink()
    assert weights.convert("net").exists()
    (tmp_path / "own.pt").unlink()
    weights.converted(weights.entry("net")).unlink()
    assert weights.status(weights.entry("net")) == "broken link"
    with pytest.raises(UserError, match=r"net\.pt is not here; isdiff weights get net"):
        weights.convert("net")
    assert weights.get("net").read_bytes() == checkpoint and not place.is_symlink()


def test_a_safetensors_file_is_registered(tmp_path):
    weights = folder(tmp_path)
    save_file(other_state(), tmp_path / "own.safetensors")
    weights.register("net", tmp_path / "own.safetensors")
    converted = weights.convert("net")
    assert all(torch.equal(value, other_state()[name]) for name, value in load_file(converted).items())
    save_file({"a": torch.zeros(1)}, tmp_path / "wrong.safetensors")
    with pytest.raises(UserError, match="do not fit"):
        weights.register("net", tmp_path / "wrong.safetensors")
    (tmp_path / "wrong.safetensors").write_bytes((tmp_path / "own.safetensors").read_bytes()[:-9])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        weights.register("net", tmp_path / "wrong.safetensors")


GOOD = {"file": "net.pt", "mirrors": [], "licence": "none", "source": "test", "net": NET}
REPO = {"repo": "owner/tiny", "allow": [], "licence": "none", "source": "test", "gigabytes": 1}


@pytest.mark.parametrize(
    "content",
    [
        "files: {net: [", {"files": {"net": {**GOOD, "colour": 1}}}, {"files": {"net": {**GOOD, "file": "../net.pt"}}},
        {"files": {"net": {k: v for k, v in GOOD.items() if k != "licence"}}}, {"hub": {"../tiny": REPO}},
    ],
)  # fmt: skip
def test_damaged_manifests(tmp_path, content):
    path = tmp_path / "manifest.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=r"manifest\.yaml is no manifest of weights"):
        Weights(tmp_path)


RECORDED = {
    "adm256_uncond": "guided_diffusion_256_uncond", "adm256_cond": "guided_diffusion_256_classcond",
    "repaint_celeba256": "repaint_celeba256", "repaint_places256": "repaint_places256", "celeba_hq": "ddim_celeba_hq",
    "adm256_classifier": "guided_diffusion_256_classifier",
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_the_manifests_networks_have_the_published_shapes(name):
    with torch.device("meta"):
        net = build_net(Weights(ROOT / "models").entry(name).net)
    shapes = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert shapes == golden_json(f"unet_keys/{RECORDED[name]}.json")["keys"]


def said(capsys, *arguments: object) -> tuple[int, str]:
    """``isdiff weights`` in this process: its exit code and what it says on stderr."""
    code = main(list(map(str, arguments)))
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "says"),
    [(["get", "x"], "there are no weights 'x'"), (["get", "net"], "could not fetch net.pt"),
     (["get", "http"], "is no https address"), (["convert", "tiny"], "put a copy of it at "),
     (["--root", "none", "list"], "manifest.yaml is missing")],
)  # fmt: skip
def test_errors_of_the_command_are_one_sentence(capsys, tmp_path, command, says):
    files = {
        "net": {**GOOD, "mirrors": ["https://127.0.0.1:9/net.pt", "no address"]},
        "http": {**GOOD, "mirrors": ["http://127.0.0.1:9/x", "file:///etc/passwd"]},
    }
    OmegaConf.save(OmegaConf.create({"files": files, "hub": {"tiny": REPO}}), tmp_path / "manifest.yaml")
    code, text = said(capsys, "--root", tmp_path, *command)
    assert code in (1, 2) and text.startswith("isdiff: ") and says in text and text.count("\n") == 1


def test_a_full_disk_is_one_sentence(capsys, tmp_path, monkeypatch):
    folder(tmp_path, "http://127.0.0.1:9/one", "http://127.0.0.1:9/two")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "downloads"))

    monkeypatch.setattr("isdiff.io.weights.fetch", full)
    code, text = said(capsys, "--root", tmp_path, "get", "net")
    assert code == 1 and str(tmp_path / "downloads") in text and text.count("\n") == 1
    assert "output_root" not in text and "could not fetch" not in text


def test_check_looks_at_everything(capsys, tmp_path, checkpoint):
    entries = {name: {**GOOD, "file": f"{name}.pt", "size": len(checkpoint)} for name in ("a", "b", "c")}
    OmegaConf.save(OmegaConf.create({"files": entries}), tmp_path / "manifest.yaml")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "a.pt").write_bytes(b"short")
    (tmp_path / "downloads" / "b.pt").write_bytes(checkpoint)
    (tmp_path / "downloads" / "c.pt").symlink_to(tmp_path / "gone.pt")
    assert main(["--root", str(tmp_path), "check"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("b ") and "a.pt: its size is 5" in err and "c.pt is a link to" in err
