"""What ``isdiff inpaint`` and ``isdiff strip`` share: their options, and the files that are named."""

from __future__ import annotations

import argparse
import errno
import glob
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isdiff.cli.command import Parser
from isdiff.errors import Missing, UserError

if TYPE_CHECKING:
    import numpy as np

    from isdiff.pictures.files import PictureFile


def parser(command: str, text: str | None) -> Parser:
    """A parser with the options that both commands have."""
    made = Parser(f"isdiff {command}", description=text)
    made.add_argument("--mask", help="FILE, FOLDER (one of each image's name), half, expand, wide, center or alpha")
    made.add_argument("--invert", action="store_true", help="what the mask shows is known")
    made.add_argument("--model", help="isdiff models lists them (default: patches; latent methods have their own)")
    made.add_argument("--prompt", default="", help="what the hole is to show, for latent models; @FILE reads a file")
    made.add_argument("--seed", type=int, default=0, help="another one gives another result (0)")
    made.add_argument("--size", type=int, help="side at which the model works, in the place of its own")
    made.add_argument("--steps", type=int, help="of the sampler (default: the method's own, 50 with patches)")
    made.add_argument("--reduction", type=float, default=4.0, help="shrink a crop by at most this (4)")
    made.add_argument("--megapixels", type=float, help="that a picture may have (89)")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an override, as of isdiff run")
    return made


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of an ``Inpainter``, but for its method."""
    names = ("model", "prompt", "size", "steps", "reduction")
    return {name: getattr(args, name) for name in names} | {"overrides": args.set}


@contextmanager
def take_up_to(megapixels: float | None) -> Iterator[None]:
    """Meanwhile pictures may be so large."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if megapixels is not None:
        if not 0 < megapixels < float("inf"):
            raise UserError(f"--megapixels is {megapixels}; it must be above 0, such as 200")
        Image.MAX_IMAGE_PIXELS = round(megapixels * 1e6)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made, or into which nothing can be written."""
    from isdiff.data.base import quote

    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UserError(f"{quote(there)} is no folder, so nothing can be written below it; give another place with -o")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        reason = f" ({error.strerror})" if error.errno != errno.ENOENT else ""  # which is of the file in it
        raise UserError(f"nothing can be written into {quote(there)}{reason}; give another place with -o") from None


def files_of(words: list[str], left_out: list[Path]) -> dict[str, Path]:
    """The images that files, folders and patterns name, each by a name that no other has.

    Args:
        aside: places of results and masks. Folders and patterns take nothing from them, and a line on stderr says so.
    """
    from isdiff.data.base import ids_of_files, quote
    from isdiff.data.files import below, reason_to_skip, walk

    found: dict[Path, str] = {}
    left_out, met = [place for place in left_out if place.exists()], set[Path]()
    for word in words:
        path, named, missing = Path(word), dict[Path, str](), f"image {word} is missing"
        if path.is_dir():
            inside = sorted(file for name, file in walk(path, without=left_out) if reason_to_skip(name, file) is None)
            named = {file: file.relative_to(path).as_posix() for file in inside}
            met |= {place for place in left_out if below(place, path)}
            missing = f"{word} has no image (.png, .jpg or another usual format)"
        elif path.exists():
            named = {path: path.name}
        elif glob.has_magic(word):
            fitting = [Path(name) for name in sorted(glob.glob(word, recursive=True)) if os.path.isfile(name)]
            hidden = {
                file: place for file in fitting for place in left_out if file.samefile(place) or below(file, place)
            }
            named = {file: file.name for file in fitting if file not in hidden}
            met |= set(hidden.values())
            missing = f"no file fits {word}"
        if not named:
            raise Missing([missing])
        found |= {file: name for file, name in named.items() if file not in found}
    if met:
        places = ", ".join(sorted(map(quote, met)))
        print(f"isdiff: no images are taken from {places}, which hold results or masks", file=sys.stderr)
    return dict(zip(ids_of_files(list(found.values())), found, strict=True))


class Masks:
    """The hole of every file, as ``--mask`` and ``--invert`` say; ``files`` are all of them, by their names."""

    def __init__(self, mask: str, invert: bool, files: Mapping[str, Path]) -> None:
        from isdiff.data.base import stem_of
        from isdiff.masks.files import FileMask
        from isdiff.pictures.inpaint import ALPHA, NAMED

        self.mask, self.invert = mask, invert
        self.is_file = mask not in (*NAMED, ALPHA)
        if self.is_file and not os.path.exists(mask):
            raise Missing([f"mask {mask} is missing; give a file, a folder, or {', '.join((*NAMED, ALPHA))}"])
        self.folder = FileMask(mask) if self.is_file and os.path.isdir(mask) else None
        self.names = {path: name for name, path in files.items()}
        self.stems = Counter(stem_of(path.name) for path in files.values())

    def file_of(self, file: PictureFile) -> Path | None:
        """The file that the hole comes from; None where it comes from none."""
        from isdiff.data.base import stem_of

        if self.folder is None:
            return Path(self.mask) if self.is_file else None
        name, stem = self.names[file.path], stem_of(file.path.name)
        return self.folder.file_for(stem if name not in self.folder.index and self.stems[stem] == 1 else name)

    def hole(self, file: PictureFile) -> np.ndarray:
        """The hole, (H, W) bool."""
        from isdiff.pictures.inpaint import hole_of

        return hole_of(self.file_of(file) or self.mask, file.picture, self.invert)
