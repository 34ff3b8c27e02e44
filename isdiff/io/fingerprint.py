"""What stands for a model's weights in the identity of a run: their content, wherever they lie and whatever their name.

Hashing gigabytes takes seconds, so hashes are remembered by path, size and times in the user's cache folder.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from isdiff.errors import UserError
from isdiff.io.files import atomic_save, is_sha256, read_json, sha256_file
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
    if not is_hub_id(weights):
        return "missing"
    from huggingface_hub import constants, try_to_load_from_cache

    found = None
    with suppress(ValueError, OSError):  # the hub allows no such id, or the cache cannot be read; loading will say so
        found = try_to_load_from_cache(weights, "model_index.json", constants.HF_HUB_CACHE, revision)
    commit = Path(found).parent.name if isinstance(found, str) else revision
    return weights + (f"@{commit}" if commit else "") + (f"#{variant}" if variant else "")


def folder_fingerprint(folder: Path, variant: str | None) -> str:
    """Hash the index of a pipeline and all files of the parts that it names, or those of a part by itself."""
    index = folder / "model_index.json"
    if index.is_file():  # loading says if it is damaged
        parts = [name for name, value in read_json(index).items() if isinstance(value, list) and any(value)]
        parts = [part for part in parts if part not in UNUSED and Path(part).name == part and (folder / part).is_dir()]
        files = [index, *(file for part in sorted(parts) for file in model_files(folder / part))]
    elif (folder / "config.json").is_file():
        files = model_files(folder)
    else:
        return "missing"
    lines = [f"variant {variant}\n"] if variant else []
    lines += [f"{remembered_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


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
        with suppress(OSError, RuntimeError):
            atomic_save(cache_path(), json.dumps(dict(list(entries.items())[-KEPT:])))
    return digest


def cache_path() -> Path:
    """Return ``isdiff/hashes.json`` in the user's cache folder; RuntimeError where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "isdiff" / "hashes.json"


def read_cache() -> dict[str, list]:
    """Read what the cache file remembers, without entries that are damaged."""
    with suppress(RuntimeError):
        entries = read_json(cache_path()).items()
        return {k: v for k, v in entries if isinstance(v, list) and len(v) == 4 and is_sha256(v[3])}
    return {}
