"""Model folders from a hub, against a local server that speaks its protocol."""

import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import run_script
from omegaconf import OmegaConf

from isdiff.cli.command import call
from isdiff.errors import UserError
from isdiff.io.hub import verify

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"model_index.json": b"{}", "unet/net.fp16.safetensors": b"weights" * 1000, "unet/net.safetensors": b"big" * 9}


@pytest.fixture
def hub():
    """One repository, owner/tiny, at one commit."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body: bool):
            path = self.path.split("?")[0]
            file = path.removeprefix(f"/owner/tiny/resolve/{COMMIT}/")
            if path.startswith(f"/api/models/owner/tiny/tree/{COMMIT}"):
                tree = [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in FILES.items()]
                return self.send(json.dumps(tree).encode(), body, "application/json")
            if path.removeprefix("/api/models/owner/tiny") in ("", f"/revision/{COMMIT}", "/revision/main"):
                info = {"id": "owner/tiny", "modelId": "owner/tiny", "sha": COMMIT, "private": False,
                        "siblings": [{"rfilename": p} for p in FILES]}  # fmt: skip
                return self.send(json.dumps(info).encode(), body, "application/json")
            if file in FILES:
                return self.send(FILES[file], body, "application/octet-stream")
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, content: bytes, body: bool, kind: str):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()


def manifest(tmp_path, repo: str, revision: str | None) -> None:
    entry = {"repo": repo, "revision": revision, "allow": ["*.json", "*.fp16.safetensors"], "gigabytes": 0.1,
             "licence": "none", "source": "test"}  # fmt: skip
    (tmp_path / "models").mkdir(exist_ok=True)
    OmegaConf.save(OmegaConf.create({"files": {}, "hub": {"tiny": entry}}), tmp_path / "models" / "manifest.yaml")


def weights(tmp_path, address: str, *args: str, repo: str = "owner/tiny", revision: str | None = COMMIT):
    manifest(tmp_path, repo, revision)
    env = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1",
           "HF_HUB_OFFLINE": "0"}  # fmt: skip
    return run_script("--root", str(tmp_path / "models"), *args, command="weights", check=False, env=env)


@pytest.mark.long
@pytest.mark.parametrize("revision", [COMMIT, None])
def test_a_folder_is_fetched_noted_and_checked(tmp_path, hub, revision):
    done = weights(tmp_path, hub, "get", "tiny", revision=revision)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "tiny"
    assert (folder / "unet" / "net.fp16.safetensors").read_bytes() == FILES["unet/net.fp16.safetensors"]
    assert not (folder / "unet" / "net.safetensors").exists(), "only what is needed is fetched"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert lines[0] == f"# owner/tiny at {COMMIT}" and len(lines) == 3
    assert "ready" in weights(tmp_path, hub, "list").stdout
    assert "2 files as noted" in weights(tmp_path, hub, "check").stdout
    (folder / "model_index.json").write_text("{ }")
    done = weights(tmp_path, hub, "check")
    assert done.returncode == 1 and "model_index.json does not have the sha256 noted" in done.stderr


@pytest.mark.long
def test_what_the_hub_does_not_have_is_one_sentence(tmp_path, hub):
    done = weights(tmp_path, hub, "get", "tiny", repo="owner/gone")
    assert done.returncode == 1 and "could not fetch owner/gone from the hub" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_network_it_is_one_sentence(tmp_path, capsys):
    manifest(tmp_path, "owner/tiny", COMMIT)
    assert call("weights", ["--root", str(tmp_path / "models"), "get", "tiny"]) == 1
    said = capsys.readouterr().err
    assert "could not fetch owner/tiny from the hub" in said and said.count("isdiff: ") == 1


@pytest.mark.parametrize("note", [f"{'0' * 64}  ../outside", f"{'0' * 63}  model_index.json", "one word", "\xff"])
def test_a_damaged_note_is_one_sentence(tmp_path, note):
    (tmp_path / "SHA256SUMS").write_text(note, "latin-1")
    with pytest.raises(UserError, match="SHA256SUMS cannot be read"):
        verify(tmp_path)
