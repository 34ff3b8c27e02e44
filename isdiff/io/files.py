"""Files that are either whole or absent: write, link or download under a temporary name, then rename."""

import hashlib
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from isdiff.errors import UserError
from isdiff.progress import Reporter

CHUNK = 1 << 20


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


def atomic_save(path: str | Path, content: str | Callable[[IO[bytes]], object]) -> Path:
    """Put a text, or what ``content(stream)`` writes, at ``path``, whole or not at all; returns the path."""
    with atomic_open(path, "wb") as stream:
        if isinstance(content, str):
            stream.write(content.encode())
        else:
            content(stream)
    return Path(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that may be lost; empty where it is not there or damaged."""
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def sha256_file(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def is_sha256(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) is not None


def read_hashes(file: Path, advice: str) -> dict[str, str]:
    """Read lines ``<sha256>  <name>``, by name. Of a damaged file the error says: delete it and ``advice``."""
    found = {}
    try:
        for line in file.read_text("utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                digest, _, name = line.partition("  ")
                path = PurePosixPath(name)
                if not is_sha256(digest) or not name or path.is_absolute() or ".." in path.parts:
                    raise ValueError(f"the line {line[:80]!r} is damaged")
                found[name] = digest
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({str(error)[:200]}); delete it and {advice}") from None
    return found


class HttpsOnly(urllib.request.BaseHandler):
    """Refuses other addresses, also those that a server redirects to."""

    def default_open(self, request: urllib.request.Request) -> None:
        if request.type != "https":
            raise UserError(f"{request.full_url} is no https address, and nothing else is fetched")


def fetch(url: str, partial: Path, size: int | None) -> None:
    """Download ``url`` into ``partial``, going on after what is there."""
    have = partial.stat().st_size if partial.exists() else 0
    if have == size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.build_opener(HttpsOnly).open(request, timeout=30)
    except urllib.error.HTTPError as error:
        raise UserError(f"the server answered {error.code} {error.reason}") from None
    with response:
        done = have if response.status == 206 else 0
        total = size or done + int(response.headers.get("Content-Length") or 0)
        bar = Reporter(partial.stem, total >> 20, done=done >> 20, unit="MiB")
        with partial.open("ab" if done else "wb") as stream, bar:
            while chunk := response.read(CHUNK):
                done += len(chunk)
                if size is not None and done > size:
                    raise UserError(f"the server sends more than the {size} bytes that the file has")
                stream.write(chunk)
                bar.advance(len(chunk) / CHUNK)
    if done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes; run the same command again to go on")
