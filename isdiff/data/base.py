"""What a dataset is, which ids it may have, and checks of the values that datasets and masks are made with."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isdiff.errors import UserError

MAX_ID_BYTES = 200  # file systems take 255: ``.<id>.png.<process>.tmp`` has to fit as well
GENERATED = "generated"  # the stamp of content that follows from the id and the configuration alone


class Dataset(ABC):
    """Images by id."""

    name: str

    @abstractmethod
    def ids(self) -> list[str]:
        """Every id, in the dataset's order; a run with ``limit=n`` takes the first n. All are :func:`safe_id`."""

    def require(self, ids: Sequence[str]) -> None:  # noqa: B027
        """
        Raises:
            Missing: some of these images are not here.
        """

    @abstractmethod
    def image(self, image_id: str) -> np.ndarray:
        """(H, W, 3), uint8 RGB."""

    def caption(self, image_id: str) -> str:
        """A sentence that describes the image.

        Raises:
            UserError: the dataset has none.
        """
        raise UserError(f"dataset {self.name} has no captions; give prompt=...")

    def stamp(self, image_id: str) -> str:
        """A cheap signature of the file that the image comes from (captions are not part of it).

        Equal stamps: surely the same content; different ones: look at the content. ``""`` is unknown: always look;
        ``"generated"`` is content that follows from the id and the configuration alone. Never raises.
        """
        return ""

    def notes(self) -> list[str]:
        """What a user should know about the data, a line each: files that are left out, for example."""
        return []


def safe_id(text: str) -> bool:
    """Whether an id can be part of a file name everywhere and of a line in a list.

    Not so: ``..``, slashes, control characters, line breaks or undecodable bytes in it, a dot in front, blanks at the
    ends, nothing at all, or more than 200 bytes of UTF-8.
    """
    if not text or text.startswith(".") or text != text.strip() or any(part in text for part in ("..", "/", "\\")):
        return False
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        return False
    return len(text.encode()) <= MAX_ID_BYTES


def ids_of_files(names: Sequence[str]) -> list[str]:
    """Ids of files that are given by relative paths: without suffix, with ``__`` for each slash.

    Files that would share an id have their suffix in it as well, and if that does not tell them apart a hash of the
    path; the ids of other files do not depend on them. So do names that are no :func:`safe_id`, once mended or cut.
    """
    stems = [os.path.splitext(name)[0].replace("/", "__") for name in names]
    plain = [mended(stem, name) for stem, name in zip(stems, names, strict=True)]
    shared = {image_id for image_id, count in Counter(plain).items() if count > 1}
    taken = set(plain) - shared
    longer = [
        mended(f"{stem}_{os.path.splitext(name)[1][1:].lower()}", name) for stem, name in zip(stems, names, strict=True)
    ]
    counts = Counter(image_id for short, image_id in zip(plain, longer, strict=True) if short in shared)
    ids = []
    for short, image_id, name in zip(plain, longer, names, strict=True):
        if short not in shared:
            ids.append(short)
            continue
        candidate, digits = image_id, 8
        while candidate in taken or (candidate == image_id and counts[image_id] > 1):
            candidate, digits = hashed(image_id, name, digits), digits + 8
        taken.add(candidate)
        ids.append(candidate)
    return ids


def mended(text: str, name: str) -> str:
    return text if safe_id(text) else hashed(text, name)


def hashed(text: str, name: str, digits: int = 8) -> str:
    """A safe id that begins like ``text`` and ends in a hash of ``name``."""
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:digits]
    clean = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in text).replace("..", "__").lstrip(" .")
    return clean.encode()[: MAX_ID_BYTES - digits - 1].decode(errors="ignore") + "_" + digest


def file_stamp(path: Path) -> str:
    """Size and time of change of a file; ``""`` if it cannot be looked at."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


def shown(path: str | Path) -> str:
    """A path for a message: as it is, or quoted where it has line breaks or bytes that no terminal shows."""
    return str(path) if str(path).isprintable() else repr(str(path))


def check_flag(key: str, value: Any) -> None:
    """
    Raises:
        UserError: the value is not a bool; ``"no"`` would otherwise mean yes.
    """
    if not isinstance(value, bool):
        raise UserError(f"{key} is {value!r}; it must be true or false")


def check_whole(key: str, value: Any, low: int | None = 1) -> None:
    """
    Raises:
        UserError: the value is no whole number, or below ``low``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or (low is not None and value < low):
        raise UserError(f"{key} is {value!r}; it must be a whole number{'' if low is None else f' of at least {low}'}")


def check_text(key: str, value: Any) -> None:
    """
    Raises:
        UserError: the value is no text, or an empty one (as a path, that would be the current folder).
    """
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise UserError(f"{key} is {value!r}; it must be a text that is not empty")


def check_choice(key: str, value: Any, allowed: Sequence[str], what: str = "there are") -> None:
    """
    Raises:
        UserError: the value is none of those allowed.
    """
    if not isinstance(value, str) or value not in allowed:
        raise UserError(f"{key} is {value!r}; {what} {', '.join(allowed)}")
