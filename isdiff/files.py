"""Files that are either whole or absent: write under a temporary name, then rename."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_open(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open ``path`` for writing so that a crash leaves the old file, or none, never a torn one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_save(path: str | Path, save: Callable[[IO[bytes]], object]) -> Path:
    """``save(stream)`` into ``path`` atomically; returns the path."""
    with atomic_open(path, "wb") as stream:
        save(stream)
    return Path(path)


def sha256_file(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_sha256(text: object) -> bool:
    """Whether ``text`` is a sha256 as :func:`sha256_file` writes it."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) is not None
