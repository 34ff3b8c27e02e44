"""Published weights: which files there are, fetching them safely, and converting them once.

A download goes to a temporary name, resumes where it stopped, and gets its own name only after size and sha256 fit.
Where no hash is published, the first download's is recorded and enforced from then on.
"""

from __future__ import annotations

import errno
import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from isdiff.errors import Missing, UserError
from isdiff.io.files import atomic_open, fetch, is_sha256, link, plain, sha256_file
from isdiff.io.hub import HubEntry, brief, check_finite
from isdiff.io.models import build_net, fill, open_weights, plain_state, save_weights
from isdiff.paths import located, placed

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@dataclass(frozen=True)
class Entry:
    """One file of the manifest.

    Attributes:
        name: what ``model=`` and ``isdiff weights`` call it.
        file: its published name.
        mirrors: addresses, tried in order.
        size, sha256: None where nobody publishes them.
        net: arguments of the network, with its ``_target_``; None for a metric's, which is used as it is.
    """

    name: str
    file: str
    mirrors: list[str]
    licence: str
    source: str
    net: dict[str, Any] | None = None
    size: int | None = None
    sha256: str | None = None


def read_manifest(path: Path) -> tuple[dict[str, Entry], dict[str, HubEntry]]:
    """Read the files and the hub folders of a manifest, by name."""
    if not path.is_file():
        raise Missing([f"{path} is missing: give the folder that has the manifest (isdiff weights --root ...)"])
    try:
        content = yaml.safe_load(plain(path).read_text("utf-8"))
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
        self.hashes_path = self.root / "hashes.json"

    def entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise UserError(f"there are no weights {name!r}; isdiff weights list shows what there is")
        return self.entries[name]

    def path(self, entry: Entry) -> Path:
        """Return where the published file lies."""
        return self.root / ("downloads" if entry.net else "metrics") / entry.file

    def converted(self, entry: Entry) -> Path:
        """Return where the safetensors file that runs use lies."""
        return self.root / entry.name / "weights.safetensors"

    def hashes(self) -> dict[str, str]:
        """Read the recorded sha256 of every file."""
        try:
            content = json.loads(plain(self.hashes_path).read_bytes())
            if all(map(is_sha256, content.values())):
                return dict(content)
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, RecursionError):
            pass
        raise UserError(f"{self.hashes_path} is damaged; restore it, or delete it to record hashes anew")

    def record(self, entry: Entry, digest: str) -> None:
        hashes = self.hashes()
        if hashes.get(entry.file) != digest:
            with atomic_open(self.hashes_path) as stream:
                json.dump(hashes | {entry.file: digest}, stream, indent=1)

    def verify(self, entry: Entry, path: Path, again: bool = False) -> str:
        """Return the file's sha256 if it may be used; ``again`` overrules a recorded hash, never a published one."""
        size = path.stat().st_size
        if entry.size is not None and size != entry.size:
            raise UserError(f"{entry.file}: {size} bytes came, {entry.size} are expected")
        digest = sha256_file(path)
        if entry.sha256 and digest != entry.sha256:
            raise UserError(f"{entry.file}: its sha256 is {digest}, {entry.sha256} is expected")
        recorded = None if entry.sha256 or again else self.hashes().get(entry.file)
        if recorded and digest != recorded:
            raise UserError(
                f"{entry.file}: its sha256 is {digest}, {recorded} is expected, which {self.hashes_path} has from the "
                f"first file; if this one is right: isdiff weights register {entry.name} PATH --again"
            )
        return digest

    def accept(self, entry: Entry, path: Path, again: bool = False) -> str:
        """Return the file's sha256 if it may be recorded: one that no hash vouches for must fit the network."""
        digest = self.verify(entry, path, again)
        if not entry.sha256 and (again or entry.file not in self.hashes()):
            fit_net(entry, path)
        return digest

    def get(self, name: str) -> Path:
        """Download (or go on downloading) a file from the first mirror that has it."""
        entry = self.entry(name)
        path = self.path(entry)
        if path.exists():
            self.record(entry, self.accept(entry, path))
            return path
        self.hashes()  # a damaged record is found before the download
        partial = path.with_name(path.name + ".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        reasons = []
        for url in entry.mirrors:
            try:
                fetch(url, partial, entry.size)
                digest = self.accept(entry, partial)
            except UserError as error:
                partial.unlink(missing_ok=True)  # what does not fit is no start for another try
                reasons.append(f"{url}: {error}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                if getattr(error, "filename", None) or getattr(error, "errno", None) in FULL:
                    raise  # the error is this machine's, and no mirror helps
                reasons.append(f"{url}: {brief(error)}")  # a broken connection: what came is kept for the next try
            else:
                partial.replace(path)
                self.record(entry, digest)
                return path
        tried = "; ".join(reasons) or "nothing, no mirror is listed"
        raise UserError(
            f"could not fetch {entry.file}. If you have it: isdiff weights register {name} PATH. Tried: {tried}"
        )

    def register(self, name: str, path: Path, again: bool = False) -> Path:
        """Take a file that the user already has, by a link to it. A file that is refused leaves everything as it was.

        Args:
            again: replace a file that is here, and the hash that was recorded for it.
        """
        entry = self.entry(name)
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        self.hashes()  # a damaged record is found before anything changes
        digest = self.accept(entry, path, again)
        place = self.path(entry)
        own = place.is_file() and not place.is_symlink()
        if not (own and sha256_file(place) == digest):  # that would be linked to itself, and lost
            if own and not again:
                raise UserError(f"{place} is here with another content; register {name} PATH --again replaces it")
            link(place, path)
        self.record(entry, digest)
        return place

    def convert(self, name: str) -> Path:
        """Convert a published pickle to safetensors, once; both hashes are recorded."""
        entry = self.entry(name)
        source, target = self.path(entry), self.converted(entry)
        if entry.net is None:
            raise UserError(f"{name} is used as it is, in {source}; nothing has to be converted")
        if not source.exists():
            raise UserError(f"{source} is not here; isdiff weights get {name}, or register {name} PATH")
        digest = self.verify(entry, source)
        net = fit_net(entry, source)
        self.record(entry, digest)
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
    fill(net, plain_state(path, state), path, assign=True)
    check_finite(net, path)
    return net
