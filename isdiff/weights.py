"""Published weights: which files there are, fetching them safely, and converting them once.

A download goes to a temporary name, resumes where it stopped, and gets its own name only after size and sha256 fit.
Where no hash is published, the first download's is recorded and enforced from then on.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from isdiff.errors import UserError
from isdiff.files import atomic_open, sha256_file
from isdiff.hub import HubEntry
from isdiff.models import save_weights
from isdiff.progress import Reporter

CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One file of the manifest.

    Attributes:
        name: what ``model=`` and ``scripts/weights.py`` call it.
        file: its published name.
        mirrors: addresses, tried in order.
        size, sha256: None where nobody publishes them.
        net: arguments of the network, with its ``_target_``.
    """

    name: str
    file: str
    mirrors: tuple[str, ...]
    licence: str
    source: str
    net: dict[str, Any]
    size: int | None = None
    sha256: str | None = None


class Weights:
    """The weights folder (``model_root``) and its manifest."""

    def __init__(self, root: str | Path = "models", manifest: str | Path | None = None) -> None:
        self.root = Path(root)
        content = OmegaConf.to_container(OmegaConf.load(manifest or self.root / "manifest.yaml"))
        self.entries: dict[str, Entry] = {
            name: Entry(name=name, **{**entry, "mirrors": tuple(entry["mirrors"])})
            for name, entry in content["files"].items()
        }
        self.repositories = {
            name: HubEntry(name=name, **{**entry, "allow": tuple(entry["allow"])})
            for name, entry in content.get("hub", {}).items()
        }
        self.hashes_path = self.root / "hashes.json"

    def entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise UserError(f"there are no weights {name!r}; scripts/weights.py list shows what there is")
        return self.entries[name]

    def path(self, entry: Entry) -> Path:
        """Where the published file lies."""
        return self.root / "downloads" / entry.file

    def converted(self, entry: Entry) -> Path:
        """Where the safetensors file that runs use lies."""
        return self.root / entry.name / "weights.safetensors"

    def hashes(self) -> dict[str, str]:
        return json.loads(self.hashes_path.read_text()) if self.hashes_path.exists() else {}

    def record(self, file: str, digest: str) -> None:
        with atomic_open(self.hashes_path) as stream:
            json.dump(self.hashes() | {file: digest}, stream, indent=1)

    def verify(self, entry: Entry, path: Path) -> str:
        """The file's sha256 if it may be used.

        Raises:
            UserError: a web page instead of the file, a wrong size, or a wrong hash.
        """
        with path.open("rb") as stream:
            start = stream.read(256).lstrip().lower()
        if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<error")):
            first = start.decode("utf-8", "replace").splitlines()[0][:80]
            raise UserError(f"{entry.file}: a web page came instead of the file ({first})")
        size = path.stat().st_size
        if entry.size is not None and size != entry.size:
            raise UserError(f"{entry.file}: {size} bytes came, {entry.size} are expected")
        digest = sha256_file(path)
        expected = entry.sha256 or self.hashes().get(entry.file)
        if expected and digest != expected:
            raise UserError(f"{entry.file}: its sha256 is {digest}, {expected} is expected")
        return digest

    def get(self, name: str) -> Path:
        """Download (or go on downloading) a file from the first mirror that has it.

        Raises:
            UserError: no mirror gave a file that fits, with what each said.
        """
        entry = self.entry(name)
        path = self.path(entry)
        if path.exists():
            self.verify(entry, path)
            return path
        partial = path.with_name(path.name + ".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        reasons = []
        for url in entry.mirrors:
            try:
                fetch(url, partial, entry.size)
                digest = self.verify(entry, partial)
            except UserError as error:
                partial.unlink(missing_ok=True)  # what does not fit is no start for another try
                reasons.append(f"{url}: {error}")
                continue
            except (OSError, urllib.error.URLError) as error:
                reasons.append(f"{url}: {error}")  # a broken connection: what came is kept for the next try
                continue
            partial.replace(path)
            self.record(entry.file, digest)
            return path
        raise UserError(
            f"could not fetch {entry.file}. If you have it: scripts/weights.py register {name} PATH. Tried: "
            + "; ".join(reasons)
        )

    def register(self, name: str, path: Path) -> Path:
        """Take a file that the user already has, by a link to it."""
        entry = self.entry(name)
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        digest = self.verify(entry, path)
        place = self.path(entry)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(path.resolve())
        self.record(entry.file, digest)
        return place

    def convert(self, name: str) -> Path:
        """Published pickle to safetensors, once; both hashes are recorded.

        Raises:
            UserError: the file is missing, is no plain state dict, or does not fit the network strictly.
        """
        from isdiff.models import build_net

        entry = self.entry(name)
        source, target = self.path(entry), self.converted(entry)
        if not source.exists():
            raise UserError(f"{source} is not here; fetch it: scripts/weights.py get {name}")
        digest = self.verify(entry, source)
        try:
            state = torch.load(source, map_location="cpu", weights_only=True)
        except Exception as error:  # a pickle that is not plain tensors raises many things
            raise UserError(f"{entry.file} is not a plain state dict and will not be unpickled ({error})") from None
        state = plain_state(state)
        with torch.device("meta"):
            net = build_net(entry.net)
        try:
            net.load_state_dict(state, strict=True, assign=True)
        except RuntimeError as error:
            raise UserError(f"{entry.file} does not fit {entry.net['_target_']}: {str(error)[:300]}") from None
        header = {"net": json.dumps(entry.net), "source_sha256": digest}
        save_weights(target, net, header, dtype=None)
        return target

    def status(self, entry: Entry) -> str:
        """``ready``, ``downloaded``, ``partly here`` or ``missing``."""
        path = self.path(entry)
        if self.converted(entry).exists():
            return "ready"
        if path.exists():
            return "downloaded"
        return "partly here" if path.with_name(path.name + ".partial").exists() else "missing"


def plain_state(state: Any) -> dict[str, torch.Tensor]:
    """A state dict out of the wrappers it is published in, without the ``module.`` of data-parallel training."""
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    return {name.removeprefix("module."): value for name, value in state.items()}


def fetch(url: str, partial: Path, size: int | None) -> None:
    """Download ``url`` into ``partial``, going on after what is there.

    Raises:
        UserError: the server refuses, or answers with a web page.
        OSError: the connection broke; what came is kept.
    """
    have = partial.stat().st_size if partial.exists() else 0
    if size is not None and have == size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is left to send
            return
        raise UserError(f"the server answered {error.code} {error.reason}") from None
    with response:
        kind = response.headers.get("Content-Type", "")
        if "text/html" in kind or "xml" in kind:
            raise UserError(f"a web page came instead of the file ({kind})")
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        total = size or (int(length) + have * resumed if length else 0)
        with partial.open("ab" if resumed else "wb") as stream:
            done = have if resumed else 0
            with Reporter(partial.stem, total >> 20, done=done >> 20, unit="MiB") as bar:
                while chunk := response.read(CHUNK):
                    stream.write(chunk)
                    done += len(chunk)
                    bar.advance(len(chunk) / CHUNK)
    if total and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes; run the same command again to go on")
