"""What ``isdiff inpaint`` and ``isdiff strip`` share: their options, and the files that are named."""

from __future__ import annotations

import argparse
import glob
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from isdiff.cli.command import Parser
from isdiff.data.base import ids_of_files, quote, stem_of
from isdiff.data.files import below, reason_to_skip, walk
from isdiff.errors import Missing, UserError
from isdiff.masks.files import FileMask

if TYPE_CHECKING:
    from isdiff.pictures.files import PictureFile


def parser(command: str, text: str | None) -> Parser:
    made = Parser(f"isdiff {command}", description=text)
    made.add_argument("inputs", nargs="+", metavar="FILE|FOLDER|PATTERN")
    made.add_argument("-o", "--out", required=True, help="a file's name, or a folder")
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


def read_options(parser: Parser, arguments: list[str]) -> argparse.Namespace:
    """Parse them; the last input is the mask where there is no ``--mask``."""
    args = parser.parse_args(arguments)
    if args.mask is None and not getattr(args, "extend", ""):
        if len(args.inputs) < 2:
            raise UserError("no mask is given; give one after the image, or --mask half, for example")
        *args.inputs, args.mask = args.inputs
    if args.megapixels is not None:
        if not 0 < args.megapixels < float("inf"):
            raise UserError(f"--megapixels is {args.megapixels}; it must be above 0, such as 200")
        Image.MAX_IMAGE_PIXELS = round(args.megapixels * 1e6)
    return args


def for_inpainter(args: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "prompt", "size", "steps", "reduction")
    return {name: getattr(args, name) for name in names} | {"overrides": args.set}


def check_folder(folder: Path) -> None:
    """Refuse a folder into which nothing can be written, before any work begins."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        what = f"nothing can be written into {quote(there)} ({error.strerror})"
        raise UserError(f"{what}; give another place with -o") from None


def files_of(words: list[str], left_out: list[Path]) -> dict[str, Path]:
    """Name the images of files, folders and patterns, which take nothing from places that are ``left_out``."""
    found: dict[Path, str] = {}
    left_out, met = [place for place in left_out if place.exists()], set[Path]()
    for word in words:
        path, named = Path(word), dict[Path, str]()
        if path.is_dir():
            inside = sorted(file for name, file in walk(path) if reason_to_skip(name, file) is None)
            named = {file: file.relative_to(path).as_posix() for file in inside}
            missing = f"{word} has no image (.png, .jpg or another usual format)"
        elif path.exists() or not glob.has_magic(word):
            found |= {path: path.name} if path.exists() else {}
            missing = f"image {word} is missing"
        else:
            named = {Path(name): os.path.basename(name) for name in sorted(glob.glob(word, recursive=True))}
            missing = f"no file fits {word}"
        named = {file: name for file, name in named.items() if file.is_file()}
        own = {file: place for file in named for place in left_out if file.samefile(place) or below(file, place)}
        met |= set(own.values())
        found |= {file: name for file, name in named.items() if file not in own and file not in found}
        if path not in found and not named.keys() - own:
            raise Missing([missing + (" outside of masks and results" if own else "")])
    if met:
        places = ", ".join(sorted(map(quote, met)))
        print(f"isdiff: no images are taken from {places}: masks or results", file=sys.stderr)
    if len({*found.values()}) < len(found):  # they are of several folders
        top = os.path.commonpath(map(os.path.abspath, found))
        found = {file: Path(os.path.relpath(file, top)).as_posix() for file in found}
    return dict(zip(ids_of_files([*found.values()]), found, strict=True))


class Masks:
    """The hole of every file, as ``--mask`` and ``--invert`` say; ``files`` are all of them, by their names."""

    def __init__(self, args: argparse.Namespace, files: Mapping[str, Path]) -> None:
        from isdiff.pictures.inpaint import NAMED

        self.mask, self.invert, self.soft = args.mask, args.invert, getattr(args, "soft", False)
        if self.mask and self.mask not in NAMED and not os.path.exists(self.mask):
            raise Missing([f"mask {self.mask} is missing; give a file, a folder, or {', '.join(NAMED)}"])
        is_folder = self.mask and self.mask not in NAMED and os.path.isdir(self.mask)
        self.folder = FileMask(self.mask) if is_folder else None
        self.stems = Counter(stem_of(path.name) for path in files.values())

    def source(self, name: str, path: Path) -> str | Path:
        """Return the file that an image's hole comes from, or the name of a mask that needs none."""
        if self.folder is None:
            return self.mask or ""
        stem = stem_of(path.name)  # of the image's file, where its name here has no mask
        return self.folder.file_for(stem if name not in self.folder.index and self.stems[stem] == 1 else name)

    def hole(self, name: str, file: PictureFile) -> np.ndarray | None:
        from isdiff.pictures.inpaint import hole_of

        return self.mask and hole_of(self.source(name, file.path), file.picture, self.invert, soft=self.soft)
