"""Seven photographs as people have them: something is to go, scratches are to go, or a border is to be added.

    python scripts/seven_photos.py
    python scripts/seven_photos.py --photos grass blur --ways telea patches

It writes every fill and a page of pictures for each photograph into outputs/seven.

The photographs are test photographs of data/photos; the holes are drawn here.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import installed  # noqa: F401
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

import isdiff
from isdiff.data.images import load_rgb
from isdiff.io.contact_sheet import with_hole
from isdiff.io.files import atomic_save
from isdiff.paths import located, placed

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Photo:
    """A photograph, and what is to be filled: polygons, discs (x, y, radius), lines, or columns from one on."""

    file: str
    what: str
    polygons: tuple[Points, ...] = ()
    discs: tuple[tuple[float, float, float], ...] = ()
    ellipse: tuple[float, float, float, float] | None = None
    lines: tuple[Points, ...] = ()
    border: int | None = None

    def pixels(self) -> np.ndarray:
        return np.array(load_rgb(located(Path("data/photos/test") / f"{self.file}.webp")))

    def hole(self) -> np.ndarray:
        height, width = self.pixels().shape[:2]
        mask = Image.new("L", (width, height))
        draw = ImageDraw.Draw(mask)
        for polygon in self.polygons:
            draw.polygon(polygon, fill=255)
        for x, y, radius in self.discs:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        if self.ellipse:
            draw.ellipse(self.ellipse, fill=255)
        for line in self.lines:
            draw.line(line, fill=255, width=5)
        if self.border is not None:
            draw.rectangle((self.border, 0, width, height), fill=255)
        return np.asarray(mask) > 0


SHEEP = [(152, 180), (160, 125), (190, 98), (285, 88), (300, 60), (345, 42), (405, 42), (468, 50), (472, 85),
         (460, 110), (482, 130), (512, 220), (505, 290), (460, 345), (450, 440), (450, 470), (330, 475), (320, 400),
         (300, 400),
         (295, 470), (280, 485), (165, 485), (170, 370), (150, 290)]  # fmt: skip
PIKA = [(394, 345), (405, 250), (430, 185), (465, 80), (500, 50), (620, 50), (770, 105), (745, 190), (655, 205),
        (665, 300), (645, 340), (500, 335)]  # fmt: skip
SCRATCHES = ([(60, 20), (300, 480)], [(200, 10), (640, 300)], [(20, 400), (660, 470)], [(420, 500), (600, 30)],
             [(0, 150), (330, 240)], [(500, 200), (520, 505)], [(100, 505), (350, 300)])  # fmt: skip

PHOTOS = {
    "sky": Photo(
        "categorization-images-renewable-windmill5", "sails off the sky",
        polygons=([(110, 0), (142, 0), (100, 134), (66, 122)], [(24, 80), (42, 62), (88, 118), (66, 140)]),
    ),
    "grass": Photo("explore-farm-animals-animals-sheep", "a sheep off the grass", polygons=(SHEEP,)),
    "facade": Photo("explore-monuments-india-hawamahal", "windows off a facade", ellipse=(245, 195, 400, 300)),
    "scratches": Photo("explore-monuments-india-goldentemple", "seven scratches", lines=SCRATCHES),
    "several": Photo(
        "explore-monuments-germany-trierimperialbaths", "five holes",
        discs=((730, 200, 40), (310, 455, 35), (620, 62, 45), (228, 269, 38), (520, 400, 30)),
    ),
    "border": Photo("explore-monuments-usa-canyondechelly", "a border to add", border=606),
    "blur": Photo("erase-pika", "an animal before a blurred ground", polygons=(PIKA,)),
}  # fmt: skip

WAYS = {  # what each is called, with the arguments of isdiff.inpaint
    "telea": ("OpenCV's Telea", {"method": "telea"}),
    "photos64": ("photos64 (a network)", {"method": "ddnm+isdiff", "model": "photos64", "steps": 50}),
    "patchmatch": ("PatchMatch", {"method": "patchmatch"}),
    "patches": ("patches (ours)", {}),
}


def save(path: Path, image: Image.Image) -> None:
    atomic_save(path, lambda stream: image.save(stream, "PNG"))


def page(path: Path, titles: list[str], pictures: list[np.ndarray]) -> None:
    """Pictures at full size, two in a row, each with its title above."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // 2)
    canvas = Image.new("RGB", (2 * width + 6, rows * (height + 24)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for n, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
        left, top = (n % 2) * (width + 6), n // 2 * (height + 24)
        draw.text((left + 4, top + 3), title, "black", font)
        canvas.paste(Image.fromarray(picture), (left, top + 24))
    save(path, canvas)


def teaser(path: Path, names: list[str], folder: Path) -> None:
    """Some of the photographs with their fills, reduced, side by side: what README opens with."""
    titles, size, gap, head = ("input", "Telea", "PatchMatch", "isdiff, model=patches"), (292, 196), 5, 22
    canvas = Image.new("RGB", (len(titles) * (size[0] + gap) - gap, head + len(names) * (size[1] + gap) - gap), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for column, title in enumerate(titles):
        draw.text((column * (size[0] + gap) + size[0] // 2, 2), title, "black", font, anchor="ma")
    for row, name in enumerate(names):
        pixels, hole = PHOTOS[name].pixels(), PHOTOS[name].hole()
        files = [folder / f"{name}_{way}.png" for way in ("telea", "patchmatch", "patches")]
        for column, picture in enumerate([Image.fromarray(with_hole(pixels, hole)), *map(Image.open, files)]):
            place = column * (size[0] + gap), head + row * (size[1] + gap)
            canvas.paste(ImageOps.fit(picture, size, Image.Resampling.LANCZOS), place)
    save(path, canvas)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", nargs="+", choices=PHOTOS, default=list(PHOTOS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", default="outputs/seven")
    parser.add_argument("--teaser", nargs="+", choices=PHOTOS, help="also write teaser.png of these, once filled")
    args = parser.parse_args()
    folder = placed(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in args.photos:
        photo = PHOTOS[name]
        pixels, hole = photo.pixels(), photo.hole()
        titles, pictures = [f"{photo.what}: {hole.mean():.0%} hidden"], [with_hole(pixels, hole)]
        for way in args.ways:
            title, arguments = WAYS[way]
            begun = time.perf_counter()
            pictures.append(isdiff.inpaint(pixels, hole, **arguments).image)
            titles.append(f"{title}, {time.perf_counter() - begun:.1f} s")
            save(folder / f"{name}_{way}.png", Image.fromarray(pictures[-1]))
            print(f"{name}: {titles[-1]}", flush=True)
        page(folder / f"{name}.png", [*titles, "the photograph"], [*pictures, pixels])
    if args.teaser:
        teaser(folder / "teaser.png", args.teaser, folder)


if __name__ == "__main__":
    main()
