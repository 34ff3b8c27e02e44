"""What the page says of states and results: sentences, small pictures, rows of a table, files to download."""

from __future__ import annotations

import base64
import html
import tempfile
from pathlib import Path

from PIL import Image

from isdiff.app.photo import to_screen
from isdiff.app.studio import Order, Sight, Variant
from isdiff.pictures.files import encode_flat, write_picture
from isdiff.progress import clock

TRACE = ["seed", "crop", "attempt", "starts at", "DCE", "kept", "calls"]
SMALL = 320  # most pixels on a side of what is shown while it samples


def note(text: str, trouble: bool = False) -> str:
    """A sentence for the page; ``text`` may hold anything."""
    return f'<p class="note{" trouble" if trouble else ""}" role="status">{html.escape(text)}</p>'


def progress(seen: int | Sight) -> str:
    """A sentence about a request that waits behind so many others, or is worked on."""
    if isinstance(seen, Sight):
        left = "" if seen.seconds_left is None else f", about {clock(seen.seconds_left)} left"
        return note(f"Sampling: {seen.share:.0%}{left}.")
    if seen:
        return note(f"Waiting: {'one job' if seen == 1 else f'{seen} jobs'} ahead of yours.")
    return note("Starting: the model is loaded and the seed is fitted.")


def done(variants: list[Variant]) -> str:
    """Sentences about variants that are finished."""
    traces = [trace for variant in variants if variant.filled for trace in variant.filled.trace]
    calls, seconds = sum(trace.network_calls for trace in traces), sum(trace.seconds for trace in traces)
    what = f"Done: {calls} network calls, {seconds:.1f} s. What is outside of the hole is the photo's, bit for bit."
    return "".join(map(note, [what, *sorted({variant.advice for variant in variants if variant.advice})]))


def live(sight: Sight) -> str:
    """The variants while they are sampled, as a strip."""
    return f'<div class="strip">{"".join(map(figure, sight.variants))}</div>'


def figure(variant: Variant) -> str:
    """One variant of the strip."""
    dce = ", ".join(f"{value:.2f}" for value in variant.dce)
    words = [f"seed {variant.seed}", *(["finished"] if variant.filled else []), *([f"DCE {dce}"] if dce else [])]
    image = Image.fromarray(to_screen(variant.pixels))
    image.thumbnail((SMALL, SMALL))
    source = f"data:image/png;base64,{base64.b64encode(encode_flat(image, 'PNG', {})).decode()}"
    text = ", ".join(words)
    return f'<figure><img src="{source}" alt="prediction, {text}"><figcaption>{text}</figcaption></figure>'


def trace_rows(variants: list[Variant]) -> list[list[str]]:
    """A row for every attempt at every crop, under :data:`TRACE`."""
    rows = []
    for variant in variants:
        for number, trace in enumerate(variant.filled.trace if variant.filled else (), 1):
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

    def file(self, variant: Variant) -> Path:
        """The PNG of a variant."""
        letters = (letter if letter.isalnum() or letter in "-_" else "_" for letter in self.order.photo.name[:80])
        path = Path(self.folder.name) / f"{''.join(letters) or 'photo'}-{self.order.method}-seed{variant.seed}.png"
        if not path.exists():
            write_picture(path, variant.image, self.order.photo.info)
        return path
