"""Published weights: which files there are, fetching them safely, and converting them once.

A download goes to a temporary name, resumes where it stopped, and gets its own name only after size and sha256 fit.
Where no hash is published, the file must fit its network.
"""

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from isdiff.errors import Missing, UserError
from isdiff.io.files import fetch, sha256_file
from isdiff.io.hub import HubEntry, brief, check_finite
from isdiff.io.models import build_net, fill, open_weights, plain_state, save_weights
from isdiff.paths import located, placed


@dataclass(frozen=True)
class Entry:
    """One file of the manifest; ``name`` is what ``model=`` and ``isdiff weights`` call it."""

    name: str
    file: str  # its published name
    mirrors: list[str]  # addresses, tried in order
    licence: str
    source: str
    net: dict[str, Any] | None = None  # arguments of the network and its ``_target_``; a metric's is used as it is
    size: int | None = None  # None where nobody publishes it, as the hash
    sha256: str | None = None


def read_manifest(path: Path) -> tuple[dict[str, Entry], dict[str, HubEntry]]:
    if not path.is_file():
        raise Missing([f"{path} is missing: give the folder that has the manifest (isdiff weights --root ...)"])
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        files = {name: Entry(name, **fields) for name, fields in (content.get("files") or {}).items()}
        hub = {name: HubEntry(name, **fields) for name, fields in (content.get("hub") or {}).items()}
        for text in [*files, *hub, *(entry.file for entry in files.values())]:
            if Path(text).name != text or text.startswith(".") or "\\" in text:
                raise ValueError(f"{text[:80]!r} must be a plain name, without folders")
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is no manifest of weights ({brief(error)}); restore it") from None
    return files, hub


class Weights:
    """The weights folder (``model_root``) and its manifest."""

    def __init__(self, root: str | Path = "models", manifest: str | Path | None = None) -> None:
        self.root = placed(root)
        self.entries, self.repositories = read_manifest(located(manifest or Path(root) / "manifest.yaml"))

    def entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise UserError(f"there are no weights {name!r}; isdiff weights list shows what there is")
        return self.entries[name]

    def path(self, entry: Entry) -> Path:
        """Where the published file lies."""
        return self.root / ("downloads" if entry.net else "metrics") / entry.file

    def converted(self, entry: Entry) -> Path:
        """Where the safetensors file that runs use lies."""
        return self.root / entry.name / "weights.safetensors"

    def verify(self, entry: Entry, path: Path) -> str:
        """Return the file's sha256 if it has the size and the hash that are published."""
        size, digest = path.stat().st_size, sha256_file(path)
        for what, found, expected in (("size", size, entry.size), ("sha256", digest, entry.sha256)):
            if expected is not None and found != expected:
                raise UserError(f"{entry.file}: its {what} is {found}, {expected} is expected")
        return digest

    def accept(self, entry: Entry, path: Path) -> None:
        self.verify(entry, path)
        if not entry.sha256:  # what fits the network is taken
            fit_net(entry, path)

    def get(self, name: str) -> Path:
        """Download (or go on downloading) a file from the first mirror that has it."""
        entry = self.entry(name)
        path = self.path(entry)
        if path.exists():
            self.accept(entry, path)
            return path
        partial = path.with_name(path.name + ".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        reasons = []
        for url in entry.mirrors:
            try:
                fetch(url, partial, entry.size)
                self.accept(entry, partial)
            except UserError as error:
                partial.unlink(missing_ok=True)  # what does not fit is no start for another try
                reasons.append(f"{url}: {error}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                if getattr(error, "filename", None):
                    raise  # the error is this machine's, and no mirror helps
                reasons.append(f"{url}: {brief(error)}")  # a broken connection: what came is kept for the next try
            else:
                partial.replace(path)
                return path
        tried = "; ".join(reasons) or "nothing, no mirror is listed"
        advice = f"If you have it: isdiff weights register {name} PATH"
        raise UserError(f"could not fetch {entry.file}. {advice}. Tried: {tried}")

    def register(self, name: str, path: Path) -> Path:
        """Take a file that the user already has, by a link to it; one that is refused changes nothing."""
        entry = self.entry(name)
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        self.accept(entry, path)
        place = self.path(entry)
        if not place.is_file() or place.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh = place.with_name(f".{place.name}.link")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(path.resolve())
            fresh.replace(place)
        elif sha256_file(place) != sha256_file(path):  # the same one would be linked to itself, and lost
            raise UserError(f"{place} is here with another content; delete it to register {path}")
        return place

    def convert(self, name: str) -> Path:
        """Convert a published pickle to safetensors, once."""
        entry = self.entry(name)
        source, target = self.path(entry), self.converted(entry)
        if entry.net is None:
            raise UserError(f"{name} is used as it is, in {source}; nothing has to be converted")
        if not source.exists():
            raise UserError(f"{source} is not here; isdiff weights get {name}, or register {name} PATH")
        digest = self.verify(entry, source)
        net = fit_net(entry, source)
        save_weights(target, net, {"net": json.dumps(entry.net), "source_sha256": digest}, dtype=None)
        return target

    def status(self, entry: Entry) -> str:
        """Return ``ready``, ``downloaded``, ``partly here``, ``broken link`` or ``missing``."""
        path = self.path(entry)
        if self.converted(entry).exists():
            return "ready"
        if path.exists():
            return "downloaded" if entry.net else "ready"
        if path.is_symlink():
            return "broken link"
        return "partly here" if path.with_name(path.name + ".partial").exists() else "missing"


def fit_net(entry: Entry, path: Path) -> torch.nn.Module:
    """Build an entry's network with the tensors of a published file, a pickle of plain tensors or safetensors."""
    with path.open("rb") as stream:
        is_safetensors = stream.read(9)[8:] == b"{"
    try:
        state = open_weights(path)[0] if is_safetensors else torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a pickle that is not plain tensors raises many things
        raise UserError(f"{path} is not a plain state dict and will not be unpickled ({brief(error)})") from None
    with torch.device("meta"):
        net = build_net(entry.net or {})
    fill(net, plain_state(path, state), path)
    check_finite(net.state_dict(), path)
    return net
