"""Datasets of image files that people have on disk, in the layouts in which they have them."""

import hashlib
import json
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from isdiff.checks import BadValue, Count, Text, check_choice, check_side, check_text
from isdiff.data.base import Dataset, ids_of_files, quote, read_table, stamp_of
from isdiff.data.images import CROPPED, PREPROCESSING, SUFFIXES, load_rgb, suffix_of
from isdiff.errors import Missing, UserError
from isdiff.paths import located


def below(path: Path, folder: Path) -> bool:
    """Tell whether a path leads below a folder, links followed."""
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def walk(root: Path, without: Iterable[Path] = ()) -> Iterator[tuple[str, Path]]:
    """Yield the files below ``root``, as (name, path), except hidden ones and those at or below ``without``.

    Every real folder is visited once, and links that lead above ``root`` are not followed, so links in circles end.
    Folders come before links to them: a link never decides under which path a file is known.
    """
    left_out = {os.path.realpath(place) for place in without if below(place, root)}
    names = {os.path.basename(place) for place in left_out}
    seen = left_out | {str(parent) for parent in Path(os.path.realpath(root)).parents}
    folders, links = [str(root)], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen or not os.path.isdir(real):
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"{quote(folder)} cannot be listed ({error.strerror}); change its permissions") from None
        for entry in entries:
            if entry.name.startswith(".") or (entry.name in names and os.path.realpath(entry.path) in left_out):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                links.append(entry.path)
            else:
                yield entry.name, Path(entry.path)


def reason_to_skip(name: str, path: Path) -> str | None:
    """Say why a file is not used; None if it may be an image."""
    if (suffix := suffix_of(name)) not in SUFFIXES:
        return (suffix if suffix.isprintable() else repr(suffix)) or "without suffix"
    if not os.path.isfile(path):
        return "broken links" if path.is_symlink() else "that are no regular files"
    return None


class FileDataset(Dataset):
    """Images in files below the folder ``path``, as squares of ``size`` pixels."""

    advice = ""  # how to get images that are missing

    def __init__(self, path: str, size: int, preprocess: str = CROPPED) -> None:
        check_text("path", path)
        check_side("size", size)
        check_choice("preprocess", preprocess, list(PREPROCESSING), "there are")
        self.path, self.size, self.preprocess = located(path), size, preprocess
        self.without: Sequence[Path] = ()

    def pass_over(self, places: Sequence[Path]) -> None:
        self.without = places

    @abstractmethod
    def file(self, image_id: str) -> Path | None:
        """The file of an image; None if it is not here."""

    def image(self, image_id: str) -> np.ndarray:
        file = self.file(image_id)
        if file is None:
            raise UserError(f"image {image_id} is not below {quote(self.path)}")
        image = load_rgb(file)
        try:
            return np.asarray(PREPROCESSING[self.preprocess](image, self.size))
        except ValueError as error:
            raise UserError(f"image {quote(file)} cannot be used: {error}") from None

    def stamp(self, image_id: str) -> str:
        return stamp_of(self.file, image_id)

    def require(self, ids: Sequence[str]) -> None:
        if absent := [image_id for image_id in ids if self.file(image_id) is None]:
            count = f"{len(absent)} of {len(ids)} images of {self.name}"
            raise Missing([f"{count} are not below {self.path} (first: {absent[0]}). {self.advice}"])


class FolderDataset(FileDataset):
    """Anyone's images: every image file below a folder, cropped to squares; ids as :func:`ids_of_files` makes them."""

    name = "folder"

    def fingerprint(self) -> dict[str, Any]:
        """Another folder's name is another run, or two folders' images of one name would take turns in one."""
        return super().fingerprint() | {"folder": os.path.basename(os.path.abspath(self.path))}

    @cached_property
    def listing(self) -> tuple[list[Path], Counter[str]]:
        """Files that may be images, and how many others there are by reason."""
        if not self.path.is_dir():
            raise Missing([f"dataset.path: there is no folder {quote(self.path)}; give dataset.path=FOLDER"])
        images, skipped = [], Counter[str]()
        for name, path in walk(self.path, self.without):
            if reason := reason_to_skip(name, path):
                skipped[reason] += 1
            else:
                images.append(path)
        if own := [place for place in self.without if place.exists() and below(place, self.path)]:
            skipped["with results or masks"] = sum(place.parent not in own for place in own)
        return images, skipped

    @cached_property
    def files(self) -> dict[str, Path]:
        images, skipped = self.listing
        if not images:
            others = f"; {describe(skipped)}" if skipped else ""
            raise Missing([f"dataset.path: {quote(self.path)} has no image (.png, .jpg or another format){others}"])
        relative = sorted((path.relative_to(self.path).parts, path) for path in images)
        return dict(zip(ids_of_files(["/".join(p) for p, _ in relative]), [path for _, path in relative], strict=True))

    def notes(self) -> list[str]:
        skipped = self.listing[1]
        return [f"{quote(self.path)}: {describe(skipped)}"] if skipped else []

    def ids(self) -> list[str]:
        return list(self.files)

    def file(self, image_id: str) -> Path | None:
        return self.files.get(image_id)


def describe(skipped: Counter[str]) -> str:
    total, reasons = skipped.total(), [f"{count} {reason}" for reason, count in skipped.most_common(8)]
    what = "1 file is" if total == 1 else f"{total} files are"
    return f"{what} left out: {', '.join(reasons)}"


class BenchmarkDataset(FileDataset):
    """A published dataset of which a committed manifest, a CSV with ``id`` and ``number``, picks the images.

    ``patterns`` are file names that people have for image ``{number}``; those with ``{next}``, which is number + 1, are
    for copies that were renumbered from 1 to ``total``.
    """

    not_hashed = ("path", "manifest", "patterns", "total", "advice")  # how files are found

    def __init__(
        self, name: Text, path: str, size: int, manifest: Text, patterns: Sequence[str], advice: str, total: Count = 0,
        preprocess: str = CROPPED,
    ) -> None:  # fmt: skip
        super().__init__(path, size, preprocess)
        try:
            if not isinstance(patterns, (list, tuple)) or not [p.format(number=1, next=2) for p in patterns]:
                raise ValueError("none")
        except (LookupError, ValueError, AttributeError, TypeError):
            rule = "it must be a list of file names with {number} or {next}"
            raise BadValue(f"patterns is {patterns!r}; {rule}") from None
        self.name, self.patterns, self.advice, self.total = name, list(patterns), advice, total
        self.numbers = read_manifest(located(manifest))

    def fingerprint(self) -> dict[str, Any]:
        rows = json.dumps([[image_id, str(number)] for image_id, number in self.numbers.items()])
        return super().fingerprint() | {"images": hashlib.sha256(rows.encode()).hexdigest()[:16]}

    def ids(self) -> list[str]:
        return list(self.numbers)

    @cached_property
    def index(self) -> dict[str, Path]:
        """Every image file below the folder by its name, found once; of several with one name, the first by depth."""
        found = [(len(path.parts), str(path), name) for name, path in walk(self.path, self.without)]
        index: dict[str, Path] = {}
        for _, path, name in sorted(found):
            if suffix_of(name) in SUFFIXES:
                index.setdefault(name, Path(path))
        return index

    @cached_property
    def usable_patterns(self) -> list[str]:
        """A copy renumbered from 1 is known by its last file; its numbers are one more than the published ones."""
        renumbered = [p for p in self.patterns if "{next" in p]
        if any(p.format(next=self.total) in self.index for p in renumbered):
            return renumbered
        return [p for p in self.patterns if p not in renumbered]

    def file(self, image_id: str) -> Path | None:
        if (number := self.numbers.get(image_id)) is None:
            return None
        names = (pattern.format(number=number, next=number + 1) for pattern in self.usable_patterns)
        return next((self.index[name] for name in names if name in self.index), None)


def read_manifest(file: Path) -> dict[str, int]:
    rows = read_table(file, {"id": str, "number": int}, "It comes with isdiff; install it anew")
    return {image_id: row["number"] for image_id, row in rows.items()}


PARTS = ("natural", "generated")
PROMPTS = ("prompt_full", "prompt_mask-simple", "prompt_mask-rich")
ADVICE = "Get EditBench from its authors (Google Research), unpack it there, then run isdiff data check editbench"


def find_root(path: Path) -> Path:
    """Find the folder with the annotations: ``path`` itself or one below it, as archives unpack differently."""
    names = [f"annotations_{part}.csv" for part in PARTS]
    found = [(names.index(name), len(file.parts), file) for name, file in walk(path) if name in names]
    if not found:
        raise Missing([f"EditBench is not below {quote(path)} (no annotations_natural.csv). {ADVICE}"])
    return min(found)[-1].parent


def place(root: Path, kind: str, image_id: str) -> Path:
    """Return where the image (``references``) or mask (``masks``) of an id lies."""
    part, _, number = image_id.partition("-")
    if part not in PARTS:
        raise UserError(f"image {image_id} is none of EditBench; mask=editbench goes with dataset=editbench alone")
    return root / f"{kind}_{part}" / f"{number}.png"


class EditBench(FileDataset):
    """Ids are ``natural-<number>`` and ``generated-<number>``, in the order of the annotation files.

    ``path`` has ``annotations_{natural,generated}.csv``, ``references_*/N.png`` and ``masks_*/N.png``; ``prompt`` is an
    annotation column, which :meth:`caption` gives.
    """

    name, advice = "editbench", ADVICE

    def __init__(
        self, path: str, size: int = 512, part: str = "both", prompt: str = "prompt_full", preprocess: str = CROPPED
    ) -> None:
        super().__init__(path, size, preprocess)
        check_choice("part", part, (*PARTS, "both"), "EditBench has")
        check_choice("prompt", prompt, PROMPTS, "EditBench has")
        self.parts, self.prompt = PARTS if part == "both" else (part,), prompt

    @cached_property
    def root(self) -> Path:
        return find_root(self.path)

    @cached_property
    def rows(self) -> dict[str, dict[str, str]]:
        rows: dict[str, dict[str, str]] = {}
        for part in self.parts:
            file = self.root / f"annotations_{part}.csv"
            rows |= read_table(file, dict.fromkeys(("aos", *PROMPTS), str), ADVICE, f"{part}-")
        return rows

    def ids(self) -> list[str]:
        return list(self.rows)

    def caption(self, image_id: str) -> str:
        return self.rows[image_id][self.prompt]

    def file(self, image_id: str) -> Path | None:
        file = place(self.root, "references", image_id)
        return file if file.is_file() else None
