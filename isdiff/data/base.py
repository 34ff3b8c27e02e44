"""What a dataset is, its ids, and the tables that list them."""

import csv
import hashlib
import os
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isdiff.component import Component
from isdiff.errors import Missing, UserError

UNSAFE = ("Cc", "Cs", "Zl", "Zp")  # Unicode's kinds: control characters, half characters, ends of lines
MAX_ID_BYTES = 200  # file systems take 255: ``.<id>.png.<process>.tmp`` has to fit as well


class Dataset(Component, ABC):
    """Images by id. Where they lie is not hashed: what each image looks like is kept with its result."""

    name: str
    not_hashed: ClassVar[tuple[str, ...]] = ("root", "path")
    labels = ("name", "features", "latent")

    @abstractmethod
    def ids(self) -> list[str]:
        """Every id, in the dataset's order; a run with ``limit=n`` takes the first n. All are :func:`safe_id`."""

    def require(self, ids: Sequence[str]) -> None:
        """Raise :class:`Missing` if some of these images are not here."""

    @abstractmethod
    def image(self, image_id: str) -> np.ndarray:
        """(H, W, 3), uint8 RGB."""

    def caption(self, image_id: str) -> str:
        """A sentence that describes the image."""
        raise UserError(f"dataset {self.name} has no captions; give prompt=...")

    def pass_over(self, places: Sequence[Path]) -> None:
        """Take no images from these files and folders, which hold results and masks."""

    def stamp(self, image_id: str) -> str:
        """A cheap signature of the file that the image comes from (captions are not part of it). Never raises.

        Equal stamps: surely the same content; different ones, or ``""``: look at the content.
        """
        return ""

    def source(self, image_id: str) -> str:
        """What the image was taken from: images of the same source are not independent of each other."""
        return image_id

    def notes(self) -> list[str]:
        """What a user should know about the data, a line each: files that are left out, for example."""
        return []


def safe_id(text: str) -> bool:
    """Tell whether an id can be part of a file name everywhere, and of a line in a list."""
    if not text or text.startswith(".") or text != text.strip() or any(part in text for part in ("..", "/", "\\")):
        return False
    if not (text.isascii() and text.isprintable()) and any(unicodedata.category(c) in UNSAFE for c in text):
        return False
    return len(text.encode()) <= MAX_ID_BYTES


def ids_of_files(names: Sequence[str]) -> list[str]:
    """Make ids of files that are given by relative paths: without suffix, with ``__`` for each slash, in Unicode's NFC.

    Files that would share an id have their suffix in it as well, and if that does not tell them apart a hash of the
    path; the ids of other files do not depend on them. Names that are no :func:`safe_id` have a hash, too.
    """
    short = [mend(stem_of(name), name) for name in names]
    long = [mend(f"{stem_of(name)}_{os.path.splitext(name)[1][1:].lower()}", name) for name in names]
    times = Counter(short)
    found = [s if times[s] == 1 else x for s, x in zip(short, long, strict=True)]
    taken, again = Counter(found), Counter[str]()
    for n, name in enumerate(names):
        if times[short[n]] > 1 and taken[found[n]] > 1:
            again[name] += 1  # files of several folders can be given by their names alone
            found[n] = hash_name(found[n], name, 8 * again[name])
    return found


def stem_of(name: str) -> str:
    """Drop a relative path's suffix, put ``__`` for each slash, and write letters with accents in one way."""
    return unicodedata.normalize("NFC", os.path.splitext(name)[0].replace("/", "__"))


def mend(text: str, name: str) -> str:
    return text if safe_id(text) else hash_name(text, name)


def hash_name(text: str, name: str, digits: int = 8) -> str:
    """Make a safe id that begins like ``text`` and ends in a hash of ``name``."""
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:digits]
    clean = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in text).replace("..", "__").lstrip(" .")
    return clean.encode()[: MAX_ID_BYTES - digits - 1].decode(errors="ignore") + "_" + digest


def read_table(file: Path, columns: Mapping[str, type], advice: str, prefix: str = "") -> dict[str, dict[str, Any]]:
    """Read the rows of a CSV file by the first of ``columns``, which holds an id, or a name after ``prefix``.

    A column is a ``str``, or an ``int`` of at least 0; ``advice`` says what to do where the file is missing.
    """
    found: dict[str, dict[str, Any]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:  # spreadsheets put a mark in front
            rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    except FileNotFoundError:
        raise Missing([f"{quote(file)} is missing. {advice}"]) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{quote(file)} cannot be read as a CSV table ({error})") from None
    for n, row in enumerate(rows, 2):
        for column, kind in columns.items():
            text = row.get(column)
            if text is None or (kind is int and not (text.isascii() and text.isdigit() and len(text) < 20)):
                must = "a text" if kind is str else "a whole number of at least 0"
                raise UserError(f"{quote(file)}, row {n}: {column} is {str(text)[:80]!r}; it must be {must}")
            row[column] = kind(text)
        image_id = prefix + row[next(iter(columns))]
        if image_id in found or not safe_id(image_id):
            raise UserError(f"{quote(file)}, row {n}: {image_id!r} is there twice or cannot be part of a file name")
        found[image_id] = row
    if not found:
        raise UserError(f"{quote(file)} has no rows; get the file anew")
    return found


def file_stamp(path: str | Path) -> str:
    """Return size and times of a file; ``""`` if it cannot be looked at."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}"  # ctime tells files apart that change places


def quote(path: str | Path) -> str:
    """Write a path for a message: as it is, or quoted where it has line breaks or bytes that no terminal shows."""
    return str(path) if str(path).isprintable() else repr(str(path))


def stamp_of(find: Callable[[str], Path | None], image_id: str) -> str:
    """Return the stamp of the file that ``find`` gives for an id; ``""`` where there is none or it fails."""
    try:
        file = find(image_id)
        return file_stamp(file) if file else ""
    except (UserError, OSError):  # such as annotations that are not here
        return ""
