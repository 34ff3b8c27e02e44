"""Which DiceBear styles make up each drawn dataset, and what is said about their images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Styles that paint the whole canvas; the others are figures that stand on our backgrounds.
FULL_CANVAS = {
    "blobs", "clay", "constellation", "critters", "cutouts", "disco", "dylan", "fun-emoji", "glass", "glyphs",
    "icons", "landscape", "loops", "marbles", "moods", "patchwork", "pixelbot", "planets", "shape-grid",
    "shapes", "slice", "sprouts", "squircles", "stack", "stripes", "thumbs", "triangles", "voxel-art",
    "voxel-bot", "waves", "weave",
}  # fmt: skip
KINDS = {
    "face": "adventurer big-ears big-smile cameo croodles dylan lorelei micah miniavs notionists open-peeps pixel-art",
    "creature": "clay critters cutouts gaze marbles moods thumbs",
    "emoji": "fun-emoji",
    "robot": "bottts pixelbot voxel-bot",
    "figure": "voxel-art",
    "plant": "sprouts",
    "planet": "planets",
    "object": "slice stack",
    "symbol": "glyphs icons identicon rings shape-grid",
    "pattern": "blobs disco loops patchwork shapes squircles triangles weave",
    "landscape": "landscape waves constellation stripes",
}
KIND_OF = {style: kind for kind, styles in KINDS.items() for style in styles.split()}
COLOR_NAMES = {
    "black": (25, 25, 28), "dark gray": (85, 85, 88), "gray": (150, 150, 152), "white": (243, 243, 243),
    "dark brown": (70, 40, 25), "brown": (130, 85, 50), "tan": (208, 150, 105), "beige": (240, 210, 175),
    "blond": (214, 179, 112), "red": (205, 40, 40), "orange": (243, 125, 40), "yellow": (245, 215, 75),
    "green": (70, 150, 70), "light green": (165, 240, 190), "teal": (70, 200, 190), "dark blue": (30, 65, 135),
    "blue": (75, 125, 235), "light blue": (160, 215, 255), "purple": (125, 65, 200), "pink": (245, 135, 180),
    "magenta": (240, 70, 145),
}  # fmt: skip


def rgb(color: str) -> tuple[int, int, int]:
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))  # type: ignore[return-value]


def color_name(color: str) -> str:
    r, g, b = rgb(color)
    distance = lambda c: 2 * (r - c[0]) ** 2 + 4 * (g - c[1]) ** 2 + 3 * (b - c[2]) ** 2  # noqa: E731
    return min(COLOR_NAMES, key=lambda name: distance(COLOR_NAMES[name]))


@dataclass(frozen=True)
class Collection:
    """One drawn dataset.

    Attributes:
        styles: drawn with equal probability.
        describe: (style, DiceBear's options, colour names of the palette) to attributes.
        caption: attributes to one sentence in a small vocabulary.
    """

    styles: tuple[str, ...]
    describe: Callable[[str, dict, list[str]], dict[str, str]]
    caption: Callable[[dict[str, str]], str]


def describe_face(style: str, options: dict, colors: list[str]) -> dict[str, str]:
    """The attributes of an avatar, the same keys for every style."""

    def variant(*keys: str) -> str:
        return next((options[f"{k}Variant"] for k in keys if f"{k}Variant" in options), "none")

    def color(*keys: str) -> str:
        return next((color_name(options[f"{k}Color"][0]) for k in keys if options.get(f"{k}Color")), "none")

    eyewear = variant("accessories", "glasses")
    if style == "personas":
        eyewear = variant("eyes") if "glasses" in variant("eyes") else "none"
    return {
        "style": style,
        "hair": variant("top", "hair"),
        "hair_color": color("hair"),
        "skin": color("skin"),
        "clothes": variant("clothes"),
        "clothes_color": color("clothes", "clothing"),
        "glasses": "no" if eyewear in ("none", "eyepatch") else "yes",
        "facial_hair": "no" if variant("facialHair", "beard") == "none" else "yes",
        "mouth": variant("mouth"),
    }


def caption_face(a: dict[str, str]) -> str:
    covered = any(word in a["hair"].lower() for word in ("hat", "turban", "hijab", "beanie", "cap"))
    extras = ["a hat" if covered else "no hair" if a["hair_color"] == "none" else f"{a['hair_color']} hair"]
    extras += ["glasses"] * (a["glasses"] == "yes") + ["a beard"] * (a["facial_hair"] == "yes")
    colors = a["background_color"]
    if a["background"] != "plain" and a["background_color2"] != colors:
        colors += f" and {a['background_color2']}"
    article = "an" if a["style"][0] in "aeiou" else "a"
    who = f"{article} {a['style']} face with {a['skin']} skin"
    return f"{who}, {', '.join(extras)}, {a['clothes_color']} clothes, {colors} {a['background']} background"


def describe_drawing(style: str, options: dict, colors: list[str]) -> dict[str, str]:
    """Style, kind and up to two colours, the same keys for every style."""
    distinct = [*dict.fromkeys(colors), "none", "none"]
    return {"style": style, "kind": KIND_OF[style], "color": distinct[0], "color2": distinct[1]}


def caption_drawing(a: dict[str, str]) -> str:
    colors = " and ".join(c for c in (a["color"], a["color2"]) if c != "none")
    article = "an" if a["kind"][0] in "aeiou" else "a"
    return f"{article} {a['kind']} in the {a['style']} style, {colors or 'no colour'}, {a['background']} background"


COLLECTIONS = {
    "avatars": Collection(("avataaars", "toon-head", "personas"), describe_face, caption_face),
    "drawings": Collection(
        tuple(sorted(s for s, kind in KIND_OF.items() if kind != "landscape")), describe_drawing, caption_drawing
    ),
    "landscapes": Collection(tuple(KINDS["landscape"].split()), describe_drawing, caption_drawing),
}
