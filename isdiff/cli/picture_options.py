"""What ``isdiff inpaint`` and ``isdiff strip`` share: their options, and the files that are named."""

from __future__ import annotations

import argparse
import errno
import glob
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from isdiff.errors import Missing, UserError, explained

if TYPE_CHECKING:
    import numpy as np

    from isdiff.pictures.files import PictureFile


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong, with the exit code of a configuration that does not work."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help says more)")


def parser(command: str, text: str | None) -> Parser:
    made = Parser(f"isdiff {command}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--mask", help="FILE, FOLDER (one of each image's name), half, expand, wide, center or alpha")
    made.add_argument("--invert", action="store_true", help="what the mask shows is known")
    made.add_argument("--model", help="isdiff models lists them (default: patches; latent methods have their own)")
    made.add_argument(
        "--prompt", default="", help="what the hole is to show, for latent models; @FILE is the text in a file"
    )
    made.add_argument("--seed", type=int, default=0, help="another one gives another result (0)")
    made.add_argument("--size", type=int, help="side at which the model works, in the place of its own")
    made.add_argument(
        "--steps", type=int, help="of the sampler, in the place of the method's own (50 with patches); 25 is quick"
    )
    made.add_argument(
        "--reduction", type=float, default=4.0, help="shrink a crop by at most this; larger holes take several (4)"
    )
    made.add_argument("--megapixels", type=float, help="that a picture may have (89)")
    made.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an override, as of isdiff run")
    return made


def guarded(act: Callable[[list[str]], int], arguments: list[str]) -> int:
    """The exit code of a command: every mistake of the user's, and of the machine's, is one sentence."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    try:
        return act(arguments)
    except (UserError, OSError) as error:
        print(f"isdiff: {said(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        print("isdiff: stopped", file=sys.stderr)
        return 130
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def take_up_to(megapixels: float | None) -> None:
    """Until the command ends, pictures may be so large."""
    from PIL import Image

    if megapixels is not None:
        if not 0 < megapixels < float("inf"):
            raise UserError(f"--megapixels is {megapixels}; it must be above 0, such as 200")
        Image.MAX_IMAGE_PIXELS = round(megapixels * 1e6)


def said(error: BaseException) -> str:
    """One sentence for an error, with the options of these commands."""
    text = explained(error).replace("output_root=...", "-o")
    return text.replace("pixels; save it smaller", "pixels; save it smaller or give --megapixels")


def check_folder(folder: Path) -> None:
    """
    Raises:
        UserError: there is no such folder, and none can be made, or nothing can be written into it.
    """
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


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of an ``Inpainter``, but for its method."""
    names = ("model", "prompt", "size", "steps", "reduction")
    return {name: getattr(args, name) for name in names} | {"overrides": args.set}


def files_of(words: list[str], aside: list[Path]) -> dict[str, Path]:
    """The images that files, folders and patterns name, each by a name that no other has.

    Args:
        aside: places of results and masks, of which folders and patterns take nothing, which is said.

    Raises:
        UserError: a pattern that fits nothing.
        Missing: a file that is not there, a folder without images.
    """
    from isdiff.data.base import ids_of_files, quote
    from isdiff.data.files import below, reason_to_skip, walk

    found: dict[Path, str] = {}
    aside, met = [place for place in aside if place.exists()], set[Path]()
    for word in words:
        path = Path(word)
        if path.is_dir():
            inside = sorted(file for name, file in walk(path, without=aside) if reason_to_skip(name, file) is None)
            met |= {place for place in aside if below(place, path)}
            if not inside:
                raise Missing([f"{word} has no image (.png, .jpg or another usual format)"])
            found |= {file: file.relative_to(path).as_posix() for file in inside if file not in found}
        elif path.exists():
            found.setdefault(path, path.name)
        elif glob.has_magic(word):
            fitting = [Path(name) for name in sorted(glob.glob(word, recursive=True)) if os.path.isfile(name)]
            hidden = {file: place for file in fitting for place in aside if file.samefile(place) or below(file, place)}
            met |= set(hidden.values())
            fitting = [file for file in fitting if file not in hidden]
            if not fitting:
                raise Missing([f"no file fits {word}"])
            for file in fitting:
                found.setdefault(file, file.name)
        else:
            raise Missing([f"image {word} is missing"])
    if met:
        places = ", ".join(sorted(map(quote, met)))
        print(f"isdiff: no images are taken from {places}, which hold results or masks", file=sys.stderr)
    return dict(zip(ids_of_files(list(found.values())), found, strict=True))


class Masks:
    """The hole of every file, as ``--mask`` and ``--invert`` say; ``files`` are all of them, by their names.

    Raises:
        Missing: there is no such file or folder.
    """

    def __init__(self, mask: str, invert: bool, files: Mapping[str, Path]) -> None:
        from isdiff.data.base import stem_of
        from isdiff.masks.files import FileMask
        from isdiff.pictures.inpaint import ALPHA, NAMED

        self.mask, self.invert, self.folder = mask, invert, None
        if mask in (*NAMED, ALPHA):
            return
        if not os.path.exists(mask):
            raise Missing([f"mask {mask} is missing; give a file, a folder, or {', '.join((*NAMED, ALPHA))}"])
        if os.path.isdir(mask):
            self.folder = FileMask(mask)
        self.names = {path: name for name, path in files.items()}
        self.stems = Counter(stem_of(path.name) for path in files.values())

    def file_of(self, file: PictureFile) -> Path | None:
        """The file that the hole comes from; None where it comes from none.

        Raises:
            UserError: the folder has none that is for this file alone.
        """
        from isdiff.data.base import stem_of

        if not self.folder:
            return Path(self.mask) if os.path.exists(self.mask) else None
        name, stem = self.names[file.path], stem_of(file.path.name)
        if name not in self.folder.index and self.stems[stem] == 1:
            name = stem
        return self.folder.file_for(name)

    def hole(self, file: PictureFile) -> np.ndarray:
        """(H, W) bool.

        Raises:
            UserError: there is none for this file, it cannot be read, or is of another size.
        """
        from isdiff.pictures.inpaint import hole_of

        return hole_of(self.file_of(file) or self.mask, file.picture, self.invert)
