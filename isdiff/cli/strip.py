"""One picture, several methods side by side, with network calls and seconds.

  isdiff strip photo.png mask.png --methods ddnm,ddnm+isdiff,repaint -o strip.png

Options are those of isdiff inpaint; methods that work on pixels ignore a prompt. Exit codes: 0; 1: it
does not work as asked; 2: weights or files are missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from isdiff.cli import picture_options
from isdiff.errors import Missing, UserError

TILE = 256


def main(arguments: list[str]) -> None:
    """Write the strip."""
    parser = picture_options.parser("strip", __doc__)
    parser.add_argument("image", metavar="FILE")
    parser.add_argument("hole", nargs="?", metavar="MASK", help="or --mask")
    parser.add_argument("-o", "--out", required=True, help="a .png")
    parser.add_argument("--methods", default="ddnm,ddnm+isdiff,repaint", help="names with commas between")
    args = parser.parse_args(arguments)
    if (args.hole is None) == (args.mask is None):
        raise UserError("give one mask, after the image or as --mask")
    if Path(args.out).suffix.lower() != ".png" or Path(args.out).is_dir():
        raise UserError(f"-o is {args.out}; a strip is a .png file")
    picture_options.check_folder(Path(args.out).parent)
    if not Path(args.image).is_file():
        raise Missing([f"image {args.image} is missing"])
    masks = picture_options.Masks(args.mask or args.hole, args.invert, {"": Path(args.image)})

    from isdiff.io.contact_sheet import contact_sheet, with_hole
    from isdiff.pictures.files import read_picture
    from isdiff.pictures.inpaint import job_of
    from isdiff.pictures.jobs import Inpainter
    from isdiff.progress import Reporter

    with picture_options.take_up_to(args.megapixels):
        file = read_picture(Path(args.image))
        job = job_of(file.picture, masks.hole(file), file.picture.name, args.seed)
    methods = [name.strip() for name in args.methods.split(",")]
    prompts = prompts_for(methods, args.prompt)
    inpainters = [Inpainter(name, **picture_options.options(args) | {"prompt": prompts[name]}) for name in methods]
    view = around(job.hole)
    size, shape = "{1}x{0}".format(*job.hole.shape), job.hole[view].shape
    caption = size if shape == job.hole.shape else f"{shape[1]}x{shape[0]} of {size}"
    header, tiles = ["input"], [(squared(with_hole(job.pixels, job.hole)[view]), caption)]
    with Reporter("strip", len(inpainters), unit="method") as bar:
        for name, inpainter in zip(methods, inpainters, strict=True):
            (filled,) = inpainter.stream([job], progress=bar.work, expected=bar.expect)
            if filled.failure:
                raise UserError(f"{name}: {filled.failure}")
            calls = sum(trace.network_calls for trace in filled.trace)
            seconds = sum(trace.seconds for trace in filled.trace)
            header.append(name)
            tiles.append((squared(filled.paste(filled.values)[view]), f"{calls} calls, {seconds:.1f} s"))
            bar.finish(calls)
    print(contact_sheet(Path(args.out), header, [tiles], TILE))


def prompts_for(methods: list[str], prompt: str) -> dict[str, str]:
    """The prompt of each method: none for those that take none, and a line on stderr names them.

    If no method takes one, all get it, and refuse it.
    """
    from isdiff.config.composing import compose_run
    from isdiff.pictures.jobs import check_named

    for name in methods:
        check_named("method", name)
    deaf = [name for name in dict.fromkeys(methods) if compose_run([f"method={name}"]).get("latent") is None]
    if not prompt or len(deaf) == len(set(methods)):
        return dict.fromkeys(methods, prompt)
    if deaf:
        takes = "take no prompt and ignore it" if len(deaf) > 1 else "takes no prompt and ignores it"
        print(f"isdiff: {', '.join(deaf)} {takes}", file=sys.stderr)
    return {name: "" if name in deaf else prompt for name in methods}


def around(hole):
    """What a tile shows: a square around ``hole`` (H, W), three times as large and at least a tile, or all of it."""
    import numpy as np

    spans = [np.flatnonzero(hole.any(axis)) for axis in (1, 0)]
    side = max(TILE, *(3 * (span[-1] - span[0] + 1) for span in spans))
    firsts = [
        np.clip((span[0] + span[-1] + 1 - side) // 2, 0, max(0, whole - side))
        for span, whole in zip(spans, hole.shape, strict=True)
    ]
    return tuple(slice(first, first + side) for first in firsts)


def squared(pixels):
    """Pixels (H, W, 3) uint8 in the middle of a white square."""
    import numpy as np
    from PIL import Image, ImageOps

    side = max(pixels.shape[:2])
    image = Image.fromarray(pixels)
    return np.asarray(image if image.width == image.height else ImageOps.pad(image, (side, side), color="white"))
