"""What the page says of states and results: sentences and small pictures."""

from __future__ import annotations

import html

from isdiff.app.photo import in_page, to_screen
from isdiff.app.studio import Sight, Variant
from isdiff.pictures.edges import FEATHER, Edge

SMALL = 320  # most pixels on a side of what is shown while it samples


def note(text: str, trouble: bool = False) -> str:
    """A sentence for the page; ``text`` may hold anything."""
    return f'<p class="note{" trouble" if trouble else ""}" role="status">{html.escape(text)}</p>'


def progress(seen: int | Sight) -> str:
    """A sentence about a request that waits behind so many others, or is worked on."""
    if isinstance(seen, Sight):
        left = "" if seen.seconds_left is None else f", {about(seen.seconds_left)} left"
        return note(f"Filling: {seen.share:.0%}{left}.")
    if seen:
        return note(f"Waiting: {'one job' if seen == 1 else f'{seen} jobs'} ahead of yours.")
    return note("Starting: photo and model are prepared.")


def about(seconds: float) -> str:
    """A time in words: ``about 12 s``, ``about 3 min``."""
    if seconds >= 100:
        return f"about {seconds / 60:.0f} min"
    return f"about {max(1, round(seconds, -1 if seconds > 20 else 0)):.0f} s"


def done(variants: list[Variant], edge: Edge) -> str:
    """Sentences about variants that are finished."""
    more = f" Pick one of {len(variants)}." if len(variants) > 1 else ""
    soft = f" and the {edge.band} pixels around it" if edge.kind == FEATHER else ""
    what = f"Done.{more} Outside of the hole{soft} no bit has changed."
    return "".join(map(note, [what, *sorted({variant.advice for variant in variants if variant.advice})]))


def live(sight: Sight) -> str:
    """The variants while they are sampled, as a strip."""
    return f'<div class="strip">{"".join(map(figure, sight.variants))}</div>'


def figure(variant: Variant) -> str:
    """One variant of the strip."""
    dce = ", ".join(f"{value:.2f}" for value in variant.dce)
    words = [f"seed {variant.seed}", *(["finished"] if variant.photo else []), *([f"DCE {dce}"] if dce else [])]
    text, source = ", ".join(words), in_page(to_screen(variant.pixels, SMALL))
    return f'<figure><img src="{source}" alt="prediction, {text}"><figcaption>{text}</figcaption></figure>'
