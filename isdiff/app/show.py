"""What the page says of states and results: sentences, small pictures, rows of a table, files to download."""

from __future__ import annotations

import base64
import html
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from isdiff.app.line import Cancelled, Done, Failed, State, Waiting, Working
from isdiff.app.photo import to_screen
from isdiff.app.studio import Order, Sight, Sketch, Variant
from isdiff.progress import clock

TRACE = ["seed", "crop", "attempt", "starts at", "DCE", "kept", "calls"]
SMALL = 320  # most pixels on a side of what is shown while it samples


def note(text: str, trouble: bool = False) -> str:
    """A sentence for the page; ``text`` may hold anything."""
    return f'<p class="note{" trouble" if trouble else ""}" role="status">{html.escape(text)}</p>'


def said(state: State) -> str:
    """A sentence about where a request stands."""
    if isinstance(state, Waiting):
        ahead = f"{state.place} ahead of yours" if state.place > 1 else "one ahead of yours"
        return note(f"In the line, place {state.place}: {ahead}.")
    if isinstance(state, Working):
        if not isinstance(state.sight, Sight):
            return note("It begins: the model is loaded and the seed is fitted.")
        left = "" if state.sight.seconds_left is None else f", about {clock(state.sight.seconds_left)} left"
        return note(f"It samples: {state.sight.share:.0%}{left}.")
    if isinstance(state, Failed):
        return note(state.why, trouble=True)
    if isinstance(state, Cancelled):
        return note("Cancelled.")
    assert isinstance(state, Done)
    variants: list[Variant] = state.made
    calls = sum(trace.network_calls for variant in variants for trace in variant.trace)
    seconds = sum(trace.seconds for variant in variants for trace in variant.trace)
    done = f"Done: {calls} network calls, {seconds:.1f} s. What is outside of the hole is the photo's, bit for bit."
    return "".join(map(note, [done, *sorted({variant.advice for variant in variants if variant.advice})]))


def live(sight: Sight) -> str:
    """The variants while they are sampled, as a strip."""
    return f'<div class="strip">{"".join(map(figure, sight.sketches))}</div>'


def figure(sketch: Sketch) -> str:
    dce = ", ".join(f"{value:.2f}" for value in sketch.dce)
    words = [f"seed {sketch.seed}", *(["finished"] if sketch.finished else []), *([f"DCE {dce}"] if dce else [])]
    image = Image.fromarray(to_screen(sketch.pixels))
    image.thumbnail((SMALL, SMALL))
    data = io.BytesIO()
    image.save(data, "png")
    source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    text = ", ".join(words)
    return f'<figure><img src="{source}" alt="prediction, {text}"><figcaption>{text}</figcaption></figure>'


def trace_rows(variants: list[Variant]) -> list[list[str]]:
    """A row for every attempt at every crop, under :data:`TRACE`."""
    rows = []
    for variant in variants:
        for number, trace in enumerate(variant.trace, 1):
            for attempt, (start, dce) in enumerate(zip(trace.start_timesteps, trace.dce, strict=True)):
                judged = "–" if dce is None else f"{dce:.3f}"
                kept, calls = "✓" if attempt == trace.chosen else "", "" if attempt else f"{trace.network_calls}"
                rows.append([f"{variant.seed}", f"{number}", f"{attempt + 1}", f"{start:.0f}", judged, kept, calls])
    return rows


class Results:
    """What came of an order, and its files; they go when this goes."""

    def __init__(self, order: Order, variants: list[Variant]) -> None:
        self.order, self.variants = order, variants
        self.folder = tempfile.TemporaryDirectory(prefix="isdiff-app-")

    def file(self, number: int) -> Path:
        """The PNG of a variant."""
        variant = self.variants[number]
        letters = (letter if letter.isalnum() or letter in "-_" else "_" for letter in self.order.photo.name[:80])
        path = Path(self.folder.name) / f"{''.join(letters) or 'photo'}-{self.order.method}-seed{variant.seed}.png"
        if not path.exists():
            self.order.photo.write(path, variant.image)
        return path

    def pair(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Before and after, as the page shows them."""
        return to_screen(self.order.photo.picture.rgb()), to_screen(self.variants[number].pixels)

    def seed(self, number: int) -> np.ndarray | None:
        """The seed picture as the page shows it."""
        pixels = self.variants[number].seed_pixels
        return None if pixels is None else to_screen(pixels)
