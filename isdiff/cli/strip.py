"""One picture, several methods side by side, with network calls and seconds.

  isdiff strip photo.png mask.png --methods ddnm,ddnm+isdiff,repaint -o strip.png

Options are those of isdiff inpaint; methods that work on pixels ignore a prompt. Exit codes: 0; 1: it
does not work as asked; 2: weights or files are missing.
"""

from pathlib import Path

import numpy as np

from isdiff.cli.picture_options import Masks, check_folder, files_of, for_inpainter, parser, read_options
from isdiff.errors import UserError

TILE = 256


def main(arguments: list[str]) -> None:
    options = parser("strip", __doc__)
    options.add_argument("--methods", default="ddnm,ddnm+isdiff,repaint", help="names with commas between")
    args = read_options(options, arguments)
    out, files = Path(args.out), files_of(args.inputs, [])
    if len(files) > 1 or out.suffix.lower() != ".png" or out.is_dir():
        raise UserError("isdiff strip takes one image and one mask, and -o the name of a .png file")
    check_folder(out.parent)
    ((name, path),) = files.items()
    masks = Masks(args, files)

    from isdiff.io.contact_sheet import contact_sheet, with_hole
    from isdiff.pictures.files import read_picture
    from isdiff.pictures.inpaint import job_of
    from isdiff.pictures.jobs import Inpainter
    from isdiff.progress import Reporter

    file = read_picture(path)
    hole = masks.hole(name, file)
    assert hole is not None, "this command needs a mask"
    job = job_of(file.picture, hole, args.seed)
    methods = [method.strip() for method in args.methods.split(",")]
    prompts = prompts_for(methods, args.prompt)
    inpainters = [Inpainter(each, **for_inpainter(args) | {"prompt": prompts[each]}) for each in methods]
    view = around(job.hole)
    size, shape = "{1}x{0}".format(*job.hole.shape), job.hole[view].shape
    caption = size if shape == job.hole.shape else f"{shape[1]}x{shape[0]} of {size}"
    tiles = [(with_hole(job.pixels, job.hole)[view], caption)]
    with Reporter("strip", len(inpainters), unit="method") as bar:
        for method, inpainter in zip(methods, inpainters, strict=True):
            (filled,) = inpainter.stream([job], progress=bar.work, expected=bar.expect)
            if filled.failure:
                raise UserError(f"{method}: {filled.failure}")
            calls = sum(trace.network_calls for trace in filled.trace)
            seconds = sum(trace.seconds for trace in filled.trace)
            tiles.append((filled.paste(filled.values)[view], f"{calls} calls, {seconds:.1f} s"))
            bar.finish(calls)
    print(contact_sheet(out, ["input", *methods], [tiles], TILE))


def prompts_for(methods: list[str], prompt: str) -> dict[str, str]:
    """Return the prompt of each method: none for those that take none. If no method takes one, all get it."""
    from isdiff.config.composing import compose_run
    from isdiff.pictures.choices import check_named

    takes = [m for m in methods if compose_run([f"method={check_named('method', m)}"]).get("latent") is not None]
    return {method: prompt if method in takes or not takes else "" for method in methods}


def around(hole: np.ndarray) -> tuple[slice, ...]:
    """What a tile shows: a square around ``hole`` (H, W), three times as large and at least a tile, or all of it."""
    spans = [np.flatnonzero(hole.any(axis)) for axis in (1, 0)]
    side = max(TILE, *(3 * (span[-1] - span[0] + 1) for span in spans))
    firsts = [
        np.clip((span[0] + span[-1] + 1 - side) // 2, 0, max(0, whole - side))
        for span, whole in zip(spans, hole.shape, strict=True)
    ]
    return tuple(slice(first, first + side) for first in firsts)
