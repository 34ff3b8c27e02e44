"""What extractors have said of images, kept in files: a row of numbers for each key.

Keys name content (hashes of pixels and texts), so that a row never becomes wrong: it is found, or it is not.
"""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from isdiff.io.files import atomic_save


class ArrayStore:
    """Rows of float32 by key, in a folder of ``.npz`` files with ``keys`` (N,) and ``rows`` (N, ...).

    Every portion of new rows is a file of its own, whole or absent and named by its keys, so that processes that
    measure the same at the same time write the same files. A file that is damaged counts as absent and is removed: its
    rows are measured again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.rows: dict[str, np.ndarray] = {}
        for path in sorted(self.folder.glob("*.npz")):
            self.rows |= read_rows(path)

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def add(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Keep new rows (N, ...), one for each key."""
        rows = np.ascontiguousarray(rows, np.float32)
        found = dict(zip(keys, rows, strict=True))
        name = hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]
        names, content = np.array(list(found)), np.stack(list(found.values()))
        atomic_save(self.folder / f"{name}.npz", lambda stream: np.savez(stream, keys=names, rows=content))
        self.rows |= found

    def missing(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if key not in self.rows]

    def take(self, keys: Iterable[str]) -> np.ndarray:
        """(N, ...) in the order of ``keys``, all of which must be here."""
        return np.stack([self.rows[key] for key in keys])


def read_rows(path: Path) -> dict[str, np.ndarray]:
    """The rows of one file; none if it is damaged (the checksums in it tell)."""
    try:
        with np.load(path, allow_pickle=False) as content:
            if any(member.compress_type for member in content.zip.infolist()):
                raise ValueError("could hold any amount")
            keys, rows = content["keys"], content["rows"]
        if keys.dtype.kind == "U" and rows.dtype == np.float32 and keys.shape == rows.shape[:1]:
            return dict(zip(keys.tolist(), rows, strict=True))
    except Exception:  # damaged archives raise nearly anything
        pass
    with suppress(OSError):
        path.unlink()
    return {}
