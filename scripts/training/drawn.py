"""Drawn images that need no download: DiceBear styles on structured backgrounds, rendered from an id alone.

Every image is a pure function of its id, so splits are lists of ids and any of them can be rendered anywhere. The
background continues behind the figure and takes its colours from the figure's own, so that the known part of an
image says something about the hidden part.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from PIL import Image

from training.styles import COLLECTIONS, FULL_CANVAS, color_name, rgb

BACKGROUNDS = ("plain", "gradient", "glow", "two-tone", "stripes", "dots", "checks")
# Parts that DiceBear draws rarely by default, shown often enough here to be learnt.
OFTEN = {"accessoriesProbability": 35, "facialHairProbability": 25, "beardProbability": 30, "rearHairProbability": 50}


@dataclass(frozen=True)
class Drawing:
    """One drawn image: RGB ``pixels`` of shape (H, W, 3), uint8, its ``attributes`` and a ``caption`` made of them."""

    id: str
    pixels: np.ndarray
    attributes: dict[str, str]
    caption: str


def split_ids(dataset: str, split: str, count: int) -> list[str]:
    """The ids of a split, ``avatars-test-00000`` and so on; the split's name keeps splits disjoint."""
    return [f"{dataset}-{split}-{i:05d}" for i in range(count)]


def rng_for(text: str) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))


def design(image_id: str) -> tuple[str, dict[str, str]]:
    """The SVG text and the attributes of the drawing ``image_id``, the first part of which names the dataset."""
    from dicebear import Avatar

    collection = COLLECTIONS[image_id.split("-")[0]]
    rng = rng_for(image_id)
    style = collection.styles[rng.integers(len(collection.styles))]
    avatar = Avatar(load_style(style), {"seed": image_id, "size": 64, **OFTEN})
    options = avatar.to_json()["options"]
    palette = [c for key, cs in options.items() if key.endswith("Color") and key != "backgroundColor" for c in cs]
    palette = palette or options.get("backgroundColor") or ["#9aa5b1"]
    background, described = draw_background(rng, palette)
    # A figure stands on the lower edge: scaling is about the middle of that edge, so bodies never float.
    scale, shift, flip, pivot = rng.uniform(0.85, 1.1), rng.uniform(-5, 5), rng.choice([-1, 1]), 64
    if style in FULL_CANVAS:  # enlarged about the centre and moved as far as no edge comes into view
        scale, pivot = scale + 0.17, 32
        shift *= 32 * (scale - 1) / 5
        described = dict.fromkeys(described, "own")
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">'
        f'{background}<g transform="translate({32 + shift:.2f} {pivot}) scale({flip * scale:.3f} {scale:.3f}) '
        f'translate(-32 -{pivot})">{avatar.to_string()}</g></svg>'
    )
    return svg, collection.describe(style, options, [color_name(c) for c in palette]) | described


def caption_of(image_id: str) -> str:
    return COLLECTIONS[image_id.split("-")[0]].caption(design(image_id)[1])


def draw(image_id: str, size: int = 64) -> Drawing:
    """Render the drawing that belongs to ``image_id`` at ``size`` x ``size`` pixels.

    Needs ``dicebear-core``, ``dicebear-styles`` and ``resvg-py`` (the shipped test splits do not).
    """
    import resvg_py

    svg, attributes = design(image_id)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    pixels = np.asarray(Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGB"))
    return Drawing(image_id, pixels, attributes, COLLECTIONS[image_id.split("-")[0]].caption(attributes))


@lru_cache
def load_style(name: str):
    from dicebear import Style

    return Style(json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text("utf-8")))


def related_color(rng: np.random.Generator, color: str) -> str:
    """A background colour of the hue of ``color`` or of its neighbour, mid to light, never quite the same."""
    hue, _, saturation = colorsys.rgb_to_hls(*(c / 255 for c in rgb(color)))
    hue += rng.normal(0, 0.05)
    parts = colorsys.hls_to_rgb(hue % 1, rng.uniform(0.45, 0.85), np.clip(saturation * rng.uniform(0.5, 1), 0.15, 0.8))
    return "#" + "".join(f"{round(255 * c):02x}" for c in parts)


def draw_background(rng: np.random.Generator, palette: list[str]) -> tuple[str, dict[str, str]]:
    kind = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    a = related_color(rng, palette[rng.integers(len(palette))])
    b = related_color(rng, palette[rng.integers(len(palette))])
    angle, scale = rng.integers(12) * 15, rng.uniform(7, 16)
    rect = '<rect x="-64" y="-64" width="192" height="192" fill="{}"/>'
    turned = f'<g transform="rotate({angle} 32 32)">{{}}</g>'
    pattern = (
        f'<defs><pattern id="bg" width="{scale:.2f}" height="{scale:.2f}" patternUnits="userSpaceOnUse">{{}}'
        f"</pattern></defs>{rect.format(a)}{turned.format(rect.format('url(#bg)'))}"
    )
    half = f"{scale / 2:.2f}"
    if kind in ("gradient", "glow"):
        tag, place = ("linearGradient", 'x1="0" y1="0" x2="64" y2="64"') if kind == "gradient" else (
            "radialGradient", f'cx="{rng.uniform(12, 52):.1f}" cy="{rng.uniform(8, 40):.1f}" r="48"'
        )  # fmt: skip
        stops = f'<stop offset="0" stop-color="{a}"/><stop offset="1" stop-color="{b}"/>'
        gradient = f'<defs><{tag} id="bg" gradientUnits="userSpaceOnUse" {place}>{stops}</{tag}></defs>'
        svg = gradient + turned.format(rect.format("url(#bg)"))
    elif kind == "two-tone":
        edge = rng.uniform(20, 44)
        other = f'<rect x="-64" y="{edge:.1f}" width="192" height="192" fill="{b}"/>'
        svg = rect.format(a) + turned.format(other)
    elif kind == "stripes":
        svg = pattern.format(f'<rect width="{scale:.2f}" height="{half}" fill="{b}"/>')
    elif kind == "dots":
        svg = pattern.format(f'<circle cx="{half}" cy="{half}" r="{scale / 3.2:.2f}" fill="{b}"/>')
    elif kind == "checks":
        square = f'width="{half}" height="{half}" fill="{b}"'
        svg = pattern.format(f'<rect {square}/><rect x="{half}" y="{half}" {square}/>')
    else:
        svg, b = rect.format(a), a
    colors = {"background_color": color_name(a), "background_color2": color_name(b)}
    return svg, {"background": kind} | colors
