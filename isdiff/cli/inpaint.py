"""Fill holes in your own pictures.

  isdiff inpaint photo.jpg mask.png -o out.png
  isdiff inpaint photos/ --mask masks/ -o out/
  isdiff inpaint photo.jpg --extend left=200,top=10% -o wider.png
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

from isdiff.cli.picture_options import Masks, check_folder, files_of, for_inpainter, parser, read_options
from isdiff.data.images import SUFFIXES, suffix_of
from isdiff.errors import SomeFailed, UserError, explained, summed_up

if TYPE_CHECKING:
    from isdiff.pictures.files import PictureFile
    from isdiff.pictures.jobs import Filled, Job

MOST_VARIANTS = 1000


def main(arguments: list[str]) -> int:
    """Fill the pictures, print where they are, and say what is worth knowing about them."""
    args = parse(arguments)
    work = Work(args)
    from isdiff.pictures.auto import AUTO, inpainter_of
    from isdiff.pictures.finished import Finished
    from isdiff.progress import Reporter

    inpainter = inpainter_of(args.method, **for_inpainter(args))
    inpainter.load()  # before the clock of the bar begins
    work.finished = Finished(None if work.is_file else work.out, inpainter)
    unlike: set[str] = set()
    with Reporter(f"{inpainter.label}, {inpainter.model}", len(work.files) * args.variants) as bar:
        bar.detail = lambda: inpainter.squares
        for filled in inpainter.stream(work.jobs(bar.drop), progress=bar.work, expected=bar.expect):
            if work.take(filled) and inpainter.unlike(filled.job):
                unlike.add(filled.job.name)
            bar.finish(sum(trace.network_calls for trace in filled.trace))
    print("".join(f"{place}\n" for place in work.made), end="")
    advice = [f"{work.kept} results were there already"] if work.kept else []
    advice += [inpainter.unlike_said(sorted(unlike))] if unlike else []
    advice += [inpainter.said()] if args.method == AUTO and (work.made or work.failed) else []
    for line in [*advice, *summed_up(work.lost), *summed_up(work.failed)]:
        print(f"isdiff: {line}", file=sys.stderr)
    return SomeFailed.exit_code if work.failed else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of the command, with a mask among them."""
    options = parser("inpaint", __doc__)
    options.add_argument("--method", default="ddnm+isdiff", help="isdiff methods: a list; auto chooses (ddnm+isdiff)")
    options.add_argument("--variants", type=int, default=1, help="so many results each, with seeds from --seed on")
    options.add_argument("--grow", type=int, default=0, help="pixels by which holes grow, or shrink if negative (0)")
    options.add_argument("--soft", action="store_true", help="gray in the mask is strength, see the docs")
    options.add_argument("--feather", type=int, default=0, help="pixels of a soft rim around holes (0)")
    options.add_argument("--edge", default="paste", help="paste, feather (blend over --band), or poisson (even out)")
    options.add_argument("--band", type=int, default=8, help="known pixels beside the hole that --edge feather blends")
    options.add_argument("--match-color", action="store_true", help="correct colours that the model shifts")
    options.add_argument("--extend", default="", help="borders to add and fill: left=200,top=10%% (also right, bottom)")
    args = read_options(options, arguments)
    if not 1 <= args.variants <= MOST_VARIANTS:
        what = f"--variants is {args.variants}; it must be a whole number from 1 to {MOST_VARIANTS}"
        raise UserError(f"{what} (another --seed goes on from there)")
    return args


class Work:
    """The pictures of one command: read when their turn comes, written as soon as they are made."""

    def __init__(self, args: argparse.Namespace) -> None:
        from isdiff.pictures.edges import Edge
        from isdiff.pictures.finished import Finished

        self.out, self.seeds = Path(args.out), range(args.seed, args.seed + args.variants)
        self.is_file = suffix_of(self.out.name) in SUFFIXES
        before = self.out.parent.glob(f"{glob.escape(self.out.stem)}_seed*{self.out.suffix}") if self.is_file else ()
        self.files = files_of(args.inputs, [self.out, *([Path(args.mask)] if args.mask else []), *before])
        self.shape = {"grow": args.grow, "extend": args.extend}
        self.blend = {"feather": args.feather, "edge": Edge(args.edge, args.band, args.match_color)}
        self.masks = Masks(args, self.files)
        if self.is_file and (self.out.is_dir() or len(self.files) > 1):
            what = "is a folder" if self.out.is_dir() else f"is one file for {len(self.files)} images"
            raise UserError(f"-o {args.out} {what}; give a file's name for one image, or a folder's without a suffix")
        new = self.out.suffix and not self.out.exists() and not args.out.endswith(("/", os.sep))
        if not self.is_file and (new or self.out.is_file()):
            raise UserError(f"-o {args.out} has no suffix of an image; give a .png, or {args.out}/ for a folder")
        check_folder(self.out.parent if self.is_file else self.out)
        self.finished = Finished(None, None)
        self.made: list[Path] = []
        self.kept = 0
        self.read: dict[Job, tuple[str, PictureFile]] = {}
        self.failed: dict[str, str] = {}
        self.lost: dict[str, str] = {}  # what files have and results have not, in words

    def jobs(self, skip: Any) -> Iterator[Job]:
        """One for every picture and seed; what cannot be used is noted, and ``skip`` hears of it."""
        from isdiff.pictures.files import check_writable, read_picture
        from isdiff.pictures.inpaint import job_of
        from isdiff.pictures.shapes import reshape

        for name, path in self.files.items():
            try:
                file = read_picture(path)
                picture, hole = reshape(file.picture, self.masks.hole(name, file), **self.shape)
                file, job = replace(file, picture=picture), job_of(picture, hole, **self.blend)
                places = [self.place(name, seed, file) for seed in self.seeds]
                missing = check_writable(places[0], file)  # all are of one format
            except (UserError, OSError) as error:
                self.failed[str(path)] = explained(error)
                skip(len(self.seeds))
                continue
            said = [f"the result has not its {', '.join(missing)}"] if missing else []
            said += [f"of its {file.frames} frames only the first is filled and written"] if file.frames > 1 else []
            if said:
                self.lost[file.picture.name] = "; ".join(said)
            for seed, place in zip(self.seeds, places, strict=True):
                one = replace(job, seed=seed)
                if self.finished.has(place, one, path):
                    self.made.append(place)
                    self.kept += 1
                    skip(1)
                    continue
                self.read[one] = name, file
                yield one

    def place(self, name: str, seed: int, file: PictureFile) -> Path:
        """Where a result goes, which is no input and no mask."""
        ending = f"_seed{seed}" if len(self.seeds) > 1 else ""
        if self.is_file:
            place = self.out.with_name(self.out.stem + ending + self.out.suffix)
        else:
            place = self.out / f"{name}{ending}{file.lossless_suffix}"
        given = [*self.files.values(), Path(self.masks.source(name, file.path))]
        if place.exists() and any(place.samefile(other) for other in given if other.exists()):
            raise UserError(f"{place} is one of the inputs or masks; give another place with -o")
        return place

    def take(self, filled: Filled) -> bool:
        """Write a result; False where there is none."""
        from isdiff.pictures.files import write_picture

        name, file = self.read.pop(filled.job)
        place, failure = self.place(name, filled.job.seed, file), filled.failure
        if not failure:
            try:
                write_picture(place, filled.into(file.picture), file.info)
                self.finished.add(place, filled, file.path)
                self.made.append(place)
                return True
            except (UserError, OSError) as error:
                if isinstance(error, OSError):  # of a temporary file beside it
                    error.filename = str(place)
                failure = explained(error)
        self.failed[f"{file.picture.name}, seed {filled.job.seed}"] = failure
        return False
