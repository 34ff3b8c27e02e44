"""Names of colours, for attributes and captions."""

from __future__ import annotations

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
