"""Fill holes in your own pictures.

  isdiff inpaint photo.jpg mask.png -o out.png
  isdiff inpaint photos/ --mask masks/ -o out/
  isdiff inpaint 'photos/*.jpg' --mask half --method repaint --variants 4 -o out/

Without --mask, the last name is the mask; white is the hole. Known pixels stay, bit for bit: folders of results have
PNG where the input's format is lossy. Exit codes: 0; 1: it does not work as asked; 2: weights or files are missing; 3:
some pictures could not be made.
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isdiff.cli import picture_options
from isdiff.errors import SomeFailed, UserError, summed_up

if TYPE_CHECKING:
    from isdiff.pictures.files import PictureFile
    from isdiff.pictures.jobs import Filled, Inpainter, Job

MOST_VARIANTS = 1000
SOFT = 2  # a crop that is resized by more than this is said to be


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = picture_options.parser("inpaint", __doc__)
    parser.add_argument("inputs", nargs="+", metavar="FILE|FOLDER|PATTERN")
    parser.add_argument("-o", "--out", required=True, help="a file's name, or a folder")
    parser.add_argument("--method", default="ddnm+isdiff", help="isdiff methods lists them (default: ddnm+isdiff)")
    parser.add_argument("--variants", type=int, default=1, help="so many results each, with seeds from --seed on")
    args = parser.parse_args(arguments)
    if not 1 <= args.variants <= MOST_VARIANTS:
        raise UserError(
            f"--variants is {args.variants}; it must be a whole number from 1 to {MOST_VARIANTS} "
            "(another --seed goes on from there)"
        )
    if args.mask is None:
        if len(args.inputs) < 2:
            raise UserError("no mask is given; give one after the image, or --mask half, for example")
        *args.inputs, args.mask = args.inputs
    return args


def is_image_name(out: str) -> bool:
    from isdiff.data.images import SUFFIXES, suffix_of

    return suffix_of(Path(out).name) in SUFFIXES


def targets(out: str, files: dict[str, Path], seeds: list[int]) -> dict[tuple[str, int], Path]:
    """Where each result goes; names in folders get their suffix once the file has been read.

    Raises:
        UserError: a file is named for several pictures or where a folder is, or an input would be replaced.
    """
    place = Path(out)
    if is_image_name(out):
        if place.is_dir():
            raise UserError(f"-o {out} is a folder; give a file's name, or a folder's without {place.suffix}")
        if len(files) > 1:
            raise UserError(f"-o {out} is one file for {len(files)} images; give a folder")
        stem, suffix = place.with_suffix(""), place.suffix
    else:
        if place.exists() and not place.is_dir():
            raise UserError(f"-o {out} is a file, and its name has no suffix of an image; give a folder, or a .png")
        if place.suffix and not place.exists() and not out.endswith(("/", os.sep)):
            raise UserError(f"-o {out}: {place.suffix} is no image format here; give a .png, or {out}/ for a folder")
        stem, suffix = None, ""
    found = {}
    for name in files:
        for seed in seeds:
            base = stem or place / name
            ending = f"_seed{seed}" if len(seeds) > 1 else ""
            found[name, seed] = base.with_name(f"{base.name}{ending}{suffix}")
    return found


class Work:
    """The pictures of one command: read when their turn comes, written as soon as they are made."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.seeds = [args.seed + n for n in range(args.variants)]
        self.is_file = is_image_name(args.out)
        out, mask = Path(args.out), Path(args.mask)
        before = out.parent.glob(f"{glob.escape(out.stem)}_seed*{glob.escape(out.suffix)}") if self.is_file else ()
        for word in args.inputs:
            if os.path.isdir(word) and os.path.exists(out) and os.path.samefile(word, out):
                raise UserError(
                    f"-o {out} is the folder of the images, where results would be images too; give another"
                )
        self.files = picture_options.files_of(args.inputs, [out, *before, mask])
        self.masks = picture_options.Masks(args.mask, args.invert, self.files)
        self.targets = targets(args.out, self.files, self.seeds)
        picture_options.check_folder(next(iter(self.targets.values())).parent)
        self.read: dict[Job, tuple[str, PictureFile]] = {}
        self.failed: dict[str, str] = {}
        self.lost: dict[str, str] = {}  # what files say about their pictures and results do not, in words
        self.first_of: dict[str, int] = {}  # files of several frames, and how many

    def jobs(self, skip: Any) -> Iterator[Job]:
        """One for every picture and seed; what cannot be used is noted, and ``skip`` hears of it."""
        from isdiff.pictures.files import check_writable, read_picture
        from isdiff.pictures.inpaint import job_of

        for name, path in self.files.items():
            try:
                file = read_picture(path)
                hole = self.masks.hole(file)
                job = job_of(file.picture, hole, file.picture.name, self.seeds[0])
                places = [self.target(name, seed, file) for seed in self.seeds]
                if lost := check_writable(places[0], file):  # all are of one format
                    self.lost[file.picture.name] = f"the result has not its {', '.join(lost)}"
            except (UserError, OSError) as error:
                self.failed[str(path)] = picture_options.said(error)
                skip(len(self.seeds))
                continue
            if file.frames > 1:
                self.first_of[file.picture.name] = file.frames
            for seed in self.seeds:
                one = replace(job, seed=seed)
                self.read[one] = name, file
                yield one

    def target(self, name: str, seed: int, file: PictureFile) -> Path:
        """
        Raises:
            UserError: it is the input, another input or a mask.
        """
        place = self.targets[name, seed]
        if not self.is_file:
            place = place.with_name(place.name + file.lossless_suffix)
        if place.exists() and place.samefile(file.path):
            raise UserError(f"{place} is the input itself; give another place with -o")
        if place.exists() and any(place.samefile(other) for other in self.given(file) if other.exists()):
            raise UserError(f"{place} is one of the inputs or masks; give another place with -o")
        return place

    def given(self, file: PictureFile) -> list[Path]:
        mask = self.masks.file_of(file)
        return [*self.files.values(), *([mask] if mask else [])]

    def take(self, filled: Filled) -> Path | None:
        """Write a result; None where there is none."""
        from isdiff.pictures.files import write_picture

        name, file = self.read.pop(filled.job)
        if filled.failure:
            self.failed[f"{file.picture.name}, seed {filled.job.seed}"] = filled.failure
            return None
        place = self.target(name, filled.job.seed, file)
        try:
            write_picture(place, file.picture.filled(filled.values, filled.job.hole), file.info)
        except (UserError, OSError) as error:
            if isinstance(error, OSError):  # of a temporary file beside it
                error.filename = str(place)
            self.failed[f"{file.picture.name}, seed {filled.job.seed}"] = picture_options.said(error)
            return None
        return place


def act(arguments: list[str]) -> int:
    args = parsed(arguments)
    picture_options.take_up_to(args.megapixels)
    work = Work(args)
    from isdiff.data.images import SUFFIXES, suffix_of
    from isdiff.pictures.jobs import Inpainter
    from isdiff.progress import Reporter

    inpainter = Inpainter(args.method, **picture_options.options(args))
    inpainter.load()  # before the clock of the bar begins
    made: list[Path] = []
    factors: dict[str, float] = {}
    unlike: list[str] = []
    with Reporter(f"{inpainter.label}, {inpainter.model}", len(work.targets)) as bar:
        jobs = work.jobs(bar.drop)
        for filled in inpainter.stream(jobs, progress=bar.work, expected=bar.expect):
            if (place := work.take(filled)) is not None:
                made.append(place)
                windows = [trace.window for trace in filled.trace if not trace.window.coarse]
                sides = [window.height / inpainter.sizes.shape(window)[0] for window in windows]
                factors[filled.job.name] = max(sides, key=lambda side: max(side, 1 / side))
                if filled.job.seed == args.seed:
                    unlike += [filled.job.name] * inpainter.unlike(filled.job)
            bar.finish(sum(trace.network_calls for trace in filled.trace))
    for place in made:
        print(place)
    for line in notes(factors, named(inpainter)):
        print(f"isdiff: {line}", file=sys.stderr)
    if work.first_of:
        print(f"isdiff: {first_frames(work.first_of)}", file=sys.stderr)
    if unlike:
        print(f"isdiff: {inpainter.unlike_said(sorted(unlike))}", file=sys.stderr)
    if made and SUFFIXES[suffix_of(made[0].name)] == "JPEG":
        print("isdiff: JPEG keeps no pixel exactly, known ones neither; -o NAME.png does", file=sys.stderr)
    for line in [*summed_up(work.lost), *summed_up(work.failed)]:
        print(f"isdiff: {line}", file=sys.stderr)
    return SomeFailed.exit_code if work.failed else 0


def named(inpainter: Inpainter) -> str:
    """The model with the side of its images, where it has one."""
    side = inpainter.sizes.model
    return f"{inpainter.model} ({side}x{side})" if side else inpainter.model


def notes(factors: dict[str, float], model: str) -> list[str]:
    """A sentence for crops that were made much smaller, and one for those that were made much larger, for the model."""
    lines = []
    for what, strong in (
        ("reduced", {name: f for name, f in factors.items() if f > SOFT}),
        ("enlarged", {name: 1 / f for name, f in factors.items() if f < 1 / SOFT}),
    ):
        if strong:
            name, most = max(strong.items(), key=lambda entry: entry[1])
            more = f" and {len(strong) - 1} more" if len(strong) > 1 else ""
            effect = "fills will be soft" if what == "reduced" else "the model sees little detail"
            lines.append(f"{name}{more}: the crop was {what} {most:.1f}-fold for {model}, so {effect}")
    return lines


def first_frames(frames: dict[str, int]) -> str:
    """A sentence for files of several frames."""
    name, count = next(iter(frames.items()))
    more = f" (and {len(frames) - 1} more have several)" if len(frames) > 1 else ""
    return f"{name} has {count} frames{more}; only the first is filled and written"


def main(arguments: list[str]) -> int:
    """The exit code."""
    return picture_options.guarded(act, arguments)
