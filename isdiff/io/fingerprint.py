"""What stands for a model's weights in the identity of a run: their content, wherever they lie and whatever their name.

Hashing gigabytes takes seconds, so hashes are remembered by path, size and times in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from isdiff.errors import UserError
from isdiff.io.files import atomic_open, is_sha256, plain, sha256_file
from isdiff.io.hub import is_hub_id, model_files
from isdiff.paths import located

KEPT = 500  # files that the cache remembers
SETTLED_NS = 2_000_000_000  # within the grain of a file system's clock a second write could go unseen
UNUSED = ("safety_checker", "feature_extractor")  # parts of pipelines that are never loaded

known: dict[str, list] = {}  # absolute path: size, mtime_ns, ctime_ns, sha256


def weights_fingerprint(
    weights: str, *, name: str = "", revision: str | None = None, variant: str | None = None
) -> str:
    """Identify the content of ``weights`` as a model loads it.

    Args:
        weights: a file, a diffusers folder, an id on the hub, or ``random``.
        name: the model's, for messages; the same content under two names has one fingerprint.
        revision: of an id on the hub.
        variant: of the files in a folder or on the hub.
    Returns:
        A file's sha256; for a folder one over the names and hashes of its model files; for an id on the hub the id
        with the commit that the local cache has for ``revision``, or with ``revision`` where nothing is here yet;
        ``random``, or ``missing`` where there is nothing to load.
    """
    if weights == "random":
        return "random"
    path = located(weights)
    try:
        if path.is_file():
            return remembered_sha256(path)
        if path.is_dir():
            return folder_fingerprint(path, variant)
    except OSError as error:
        raise UserError(f"weights {weights} {name} cannot be read ({error.strerror}: {error.filename})") from None
    return hub_fingerprint(weights, revision, variant) if is_hub_id(weights) else "missing"


def folder_fingerprint(folder: Path, variant: str | None) -> str:
    """Hash the index of a pipeline and all files of the parts that it names, or those of a part by itself."""
    index = folder / "model_index.json"
    if index.is_file():
        files = [index, *(file for part in parts(index) for file in model_files(folder / part))]
    elif (folder / "config.json").is_file():
        files = model_files(folder)
    else:
        return "missing"
    lines = [f"variant {variant}\n"] if variant else []
    lines += [f"{remembered_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def parts(index: Path) -> list[str]:
    """List the folders that a ``model_index.json`` names, sorted; none if it is damaged (loading then says so)."""
    try:
        named = json.loads(plain(index).read_text()).items()
    except (ValueError, AttributeError, RecursionError):
        return []
    folders = (name for name, value in named if isinstance(value, list) and any(value) and name not in UNUSED)
    return sorted(name for name in folders if Path(name).name == name and (index.parent / name).is_dir())


def hub_fingerprint(repo: str, revision: str | None, variant: str | None) -> str:
    """Name an id on the hub with the commit and the variant that are loaded."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = None
    with suppress(ValueError, OSError):  # the hub allows no such id, or the cache cannot be read; loading will say so
        found = try_to_load_from_cache(repo, "model_index.json", cache_dir=constants.HF_HUB_CACHE, revision=revision)
    commit = Path(found).parent.name if isinstance(found, str) else revision
    return repo + (f"@{commit}" if commit else "") + (f"#{variant}" if variant else "")


def remembered_sha256(path: Path) -> str:
    """Return the file's sha256; read from the file only if its size or times are not those that are remembered."""
    key = os.path.abspath(path)
    stat = os.stat(key)
    signature = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    if key not in known:
        known.update({k: v for k, v in read_cache().items() if k not in known})
    if known.get(key, [])[:3] == signature:
        return known[key][3]
    digest = sha256_file(key)
    if abs(time.time_ns() - max(signature[1:])) >= SETTLED_NS:
        known[key] = [*signature, digest]
        entries = {k: v for k, v in read_cache().items() if k != key} | {key: known[key]}
        with suppress(OSError, RuntimeError), atomic_open(cache_path()) as stream:
            json.dump(dict(list(entries.items())[-KEPT:]), stream)
    return digest


def cache_path() -> Path:
    """Return ``isdiff/hashes.json`` in the user's cache folder; RuntimeError where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "isdiff" / "hashes.json"


def read_cache() -> dict[str, list]:
    """Read what the cache file remembers, without entries that are damaged."""
    try:
        entries = json.loads(cache_path().read_bytes()).items()
    except (OSError, ValueError, AttributeError, RuntimeError):  # too deep JSON is a RuntimeError
        return {}
    return {key: value for key, value in entries if isinstance(value, list) and len(value) == 4 and is_sha256(value[3])}
