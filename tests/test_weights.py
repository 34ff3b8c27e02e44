"""Fetching weights, against a local server that behaves as real ones have been seen to."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from conftest import ROOT, golden_json, run_script
from omegaconf import OmegaConf

from isdiff.errors import UserError
from isdiff.models import build_net, load_net
from isdiff.weights import Weights

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


@pytest.fixture
def server(checkpoint):
    """Paths: /good, /forbidden, /page (an HTML page with status 200), /short (ends early once), /other (wrong file)."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Range")))
            if self.path == "/forbidden":
                return self.send_error(403)
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

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", seen
    http.shutdown()


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
    net = load_net(OmegaConf.create({"weights": str(path)}))
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
        ("/page", {}, "a web page came instead of the file"),
        ("/other", {"sha256": "0" * 64}, "its sha256 is"),
        ("/good", {"size": 10**6}, "bytes came|connection ended"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, server, path, options, message):
    url, _ = server
    weights = folder(tmp_path, url + path, **options)
    with pytest.raises(UserError, match=message) as caught:
        weights.get("net")
    assert "scripts/weights.py register net PATH" in str(caught.value)
    assert not weights.path(weights.entry("net")).exists()


def test_the_second_mirror_helps(tmp_path, server, checkpoint):
    url, seen = server
    assert folder(tmp_path, f"{url}/forbidden", f"{url}/page", f"{url}/good").get("net").read_bytes() == checkpoint
    assert [path for path, _ in seen] == ["/forbidden", "/page", "/good"]


def test_an_unknown_hash_is_recorded_and_then_enforced(tmp_path, server, checkpoint):
    url, _ = server
    weights = folder(tmp_path, f"{url}/good")
    path = weights.get("net")
    assert json.loads((tmp_path / "hashes.json").read_text()) == {"net.pt": hashlib.sha256(checkpoint).hexdigest()}
    path.write_bytes(checkpoint[:-1] + b"x")
    with pytest.raises(UserError, match="its sha256 is"):
        weights.get("net")


def test_an_own_file_is_registered(tmp_path, checkpoint):
    own = tmp_path / "elsewhere.pt"
    own.write_bytes(checkpoint)
    weights = folder(tmp_path)
    weights.register("net", own)
    assert weights.convert("net").exists() and own.read_bytes() == checkpoint
    with pytest.raises(UserError, match="there is no file"):
        weights.register("net", tmp_path / "nothing.pt")


class Evil:
    def __reduce__(self):
        return print, ("this must never be printed",)


def test_pickled_code_is_never_run(tmp_path, capsys):
    weights = folder(tmp_path)
    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    weights.register("net", tmp_path / "evil.pt")
    with pytest.raises(UserError, match="not a plain state dict"):
        weights.convert("net")
    assert "never be printed" not in capsys.readouterr().out


def test_another_networks_file_does_not_fit(tmp_path):
    weights = folder(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    weights.register("net", tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"does not fit isdiff\.nets\.unet\.UNet"):
        weights.convert("net")


RECORDED = {
    "adm256_uncond": "guided_diffusion_256_uncond", "adm256_cond": "guided_diffusion_256_classcond",
    "repaint_celeba256": "repaint_celeba256", "repaint_places256": "repaint_places256", "celeba_hq": "ddim_celeba_hq",
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_the_manifests_networks_have_the_published_shapes(name):
    with torch.device("meta"):
        net = build_net(Weights(ROOT / "models").entry(name).net)
    shapes = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert shapes == golden_json(f"unet_keys/{RECORDED[name]}.json")["keys"]


def test_the_command_lists_and_refuses():
    assert "adm256_uncond" in run_script("list", script="weights.py").stdout
    done = run_script("get", "nonsense", script="weights.py", check=False)
    assert done.returncode == 1 and "there are no weights 'nonsense'" in done.stderr and "Traceback" not in done.stderr
