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
from isdiff.errors import SomeFailed, UserError, explained, summed_up

if TYPE_CHECKING:
    from isdiff.pictures.files import PictureFile
    from isdiff.pictures.jobs import Filled, Job

MOST_VARIANTS = 1000
SOFT = 2  # a crop that is resized by more than this is said to be


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of the command, with a mask among them."""
    parser = picture_options.parser("inpaint", __doc__)
    parser.add_argument("inputs", nargs="+", metavar="FILE|FOLDER|PATTERN")
    parser.add_argument("-o", "--out", required=True, help="a file's name, or a folder")
    parser.add_argument("--method", default="ddnm+isdiff", help="isdiff methods lists them (default: ddnm+isdiff)")
    parser.add_argument("--variants", type=int, default=1, help="so many results each, with seeds from --seed on")
    args = parser.parse_args(arguments)
    if not 1 <= args.variants <= MOST_VARIANTS:
        what = f"--variants is {args.variants}; it must be a whole number from 1 to {MOST_VARIANTS}"
        raise UserError(f"{what} (another --seed goes on from there)")
    if args.mask is None:
        if len(args.inputs) < 2:
            raise UserError("no mask is given; give one after the image, or --mask half, for example")
        *args.inputs, args.mask = args.inputs
    return args


def is_image_name(out: str) -> bool:
    from isdiff.data.images import SUFFIXES, suffix_of

    return suffix_of(Path(out).name) in SUFFIXES


def targets(out: str, files: dict[str, Path], seeds: list[int]) -> dict[tuple[str, int], Path]:
    """Where each result goes; names in folders get their suffix once the file has been read."""
    place = Path(out)
    if is_image_name(out):
        if place.is_dir():
            raise UserError(f"-o {out} is a folder; give a file's name, or a folder's without {place.suffix}")
        if len(files) > 1:
            raise UserError(f"-o {out} is one file for {len(files)} images; give a folder")
        bases, suffix = dict.fromkeys(files, place.with_suffix("")), place.suffix
    else:
        if place.exists() and not place.is_dir():
            raise UserError(f"-o {out} is a file, and its name has no suffix of an image; give a folder, or a .png")
        if place.suffix and not place.exists() and not out.endswith(("/", os.sep)):
            raise UserError(f"-o {out}: {place.suffix} is no image format here; give a .png, or {out}/ for a folder")
        bases, suffix = {name: place / name for name in files}, ""
    endings = {seed: f"_seed{seed}{suffix}" if len(seeds) > 1 else suffix for seed in seeds}
    return {
        (name, seed): base.with_name(base.name + ending)
        for name, base in bases.items()
        for seed, ending in endings.items()
    }


class Work:
    """The pictures of one command: read when their turn comes, written as soon as they are made."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.seeds = [args.seed + n for n in range(args.variants)]
        self.is_file = is_image_name(args.out)
        out, mask = Path(args.out), Path(args.mask)
        before = out.parent.glob(f"{glob.escape(out.stem)}_seed*{glob.escape(out.suffix)}") if self.is_file else ()
        for word in args.inputs:
            if os.path.isdir(word) and os.path.exists(out) and os.path.samefile(word, out):
                what = "is the folder of the images, where results would be images too"
                raise UserError(f"-o {out} {what}; give another")
        self.files = picture_options.files_of(args.inputs, [out, *before, mask])
        self.masks = picture_options.Masks(args.mask, args.invert, self.files)
        self.targets = targets(args.out, self.files, self.seeds)
        picture_options.check_folder(next(iter(self.targets.values())).parent)
        self.read: dict[Job, tuple[str, PictureFile]] = {}
        self.failed: dict[str, str] = {}
        self.lost: dict[str, str] = {}  # what files have and results have not, in words

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
                self.failed[str(path)] = explained(error)
                skip(len(self.seeds))
                continue
            missing = [f"the result has not its {', '.join(lost)}"] if lost else []
            missing += [f"of its {file.frames} frames only the first is filled and written"] if file.frames > 1 else []
            self.lost |= {file.picture.name: "; ".join(missing)} if missing else {}
            for seed in self.seeds:
                one = replace(job, seed=seed)
                self.read[one] = name, file
                yield one

    def target(self, name: str, seed: int, file: PictureFile) -> Path:
        """Where a result goes, which is no input and no mask."""
        place, mask = self.targets[name, seed], self.masks.file_of(file)
        if not self.is_file:
            place = place.with_name(place.name + file.lossless_suffix)
        given = [*self.files.values(), *([mask] if mask else [])]
        if place.exists() and any(place.samefile(other) for other in given if other.exists()):
            what = "the input itself" if place.samefile(file.path) else "one of the inputs or masks"
            raise UserError(f"{place} is {what}; give another place with -o")
        return place

    def take(self, filled: Filled) -> Path | None:
        """Write a result; None where there is none."""
        from isdiff.pictures.files import write_picture

        name, file = self.read.pop(filled.job)
        place, failure = self.target(name, filled.job.seed, file), filled.failure
        if not failure:
            try:
                write_picture(place, file.picture.filled(filled.values, filled.job.hole), file.info)
                return place
            except (UserError, OSError) as error:
                if isinstance(error, OSError):  # of a temporary file beside it
                    error.filename = str(place)
                failure = explained(error)
        self.failed[f"{file.picture.name}, seed {filled.job.seed}"] = failure
        return None


def main(arguments: list[str]) -> int:
    """Fill the pictures; 3 where some could not be."""
    args = parse(arguments)
    with picture_options.take_up_to(args.megapixels):
        return fill(args, Work(args))


def fill(args: argparse.Namespace, work: Work) -> int:
    """Fill the pictures, print where they are, and say what is worth knowing about them."""
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
    side = inpainter.sizes.model
    lines = notes(factors, f"{inpainter.model} ({side}x{side})" if side else inpainter.model)
    lines += [inpainter.unlike_said(sorted(unlike))] if unlike else []
    if made and SUFFIXES[suffix_of(made[0].name)] == "JPEG":
        lines.append("JPEG keeps no pixel exactly, known ones neither; -o NAME.png does")
    for line in [*lines, *summed_up(work.lost), *summed_up(work.failed)]:
        print(f"isdiff: {line}", file=sys.stderr)
    return SomeFailed.exit_code if work.failed else 0


def notes(factors: dict[str, float], model: str) -> list[str]:
    """A sentence for crops that were made much smaller, and one for those that were made much larger, for the model."""
    lines = []
    for what, effect, strong in (
        ("reduced", "fills will be soft", {name: f for name, f in factors.items() if f > SOFT}),
        ("enlarged", "the model sees little detail", {name: 1 / f for name, f in factors.items() if f < 1 / SOFT}),
    ):
        if strong:
            name = max(strong, key=strong.__getitem__)
            more = f" and {len(strong) - 1} more" if len(strong) > 1 else ""
            lines.append(f"{name}{more}: the crop was {what} {strong[name]:.1f}-fold for {model}, so {effect}")
    return lines
