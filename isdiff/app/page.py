"""What the page does: each button's handler, and the server.

Handlers return the new state of some parts; all others stay as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from isdiff.app import show
from isdiff.app.catalog import NORMAL, examples, method_of, starts
from isdiff.app.desk import EDGES, READY, Desk, Desks, borders_for
from isdiff.app.guard import LOCAL, Guard
from isdiff.app.line import Line, Ticket
from isdiff.app.parts import GO, Parts, beside
from isdiff.app.photo import Photo, close_up, paint_of, to_screen, uploaded
from isdiff.app.studio import Limits, Order, Sight, Studio
from isdiff.errors import UserError, explained
from isdiff.pictures.picture import picture_of

LARGEST_UPLOAD = "64mb"
FONTS: dict[str, Any] = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
LOOK = """() => setTimeout(
    () => document.querySelector('#%s').scrollIntoView({block: innerWidth < 768 ? 'start' : 'nearest'}), 200)"""
SOFTEN = "edge => document.querySelector('#canvas').style.setProperty('--feather', parseInt(edge.slice(8)) || 0)"
OPEN = "file => { if (file?.url) window.open(file.url) }"
Changes = dict[Any, Any]


def telling(handler: Callable[..., Changes]) -> Callable[..., Changes]:
    """What a visitor can mend becomes a sentence on the page."""

    @wraps(handler)
    def told(self: Page, *given: Any) -> Changes:
        try:
            return handler(self, *given)
        except UserError as error:
            return {self.status: show.note(str(error), trouble=True)}

    return told


class Page(Parts):
    """The page of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.studio, self.line, self.desks = limits, Studio(limits), Line(limits.waiting), Desks()
        self.tickets: dict[str, Ticket] = {}  # by the visitor's session
        self.keys = itertools.count(1)  # of photos on the canvas
        with gr.Blocks(title="isdiff", analytics_enabled=False, delete_cache=(600, 3600)) as self.blocks:
            super().__init__(limits)
            self.connect()

    def connect(self) -> None:
        """Say what each part does."""
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        asked: Any = {self.name, self.canvas, *self.choices}
        parts = [*self.blocks.blocks.values()]
        for event, handler, given in (
            (self.blocks.load, self.restore, [self.name]),
            (self.upload.upload, self.load_photo, [self.name, self.upload]),
            (self.mask.upload, self.load_mask, [self.name, self.mask]),
            (self.examples.select, self.take_example, [self.name, self.method]),
            (self.ready.input, self.change, [self.name, self.canvas, self.ready]),
            *((button.click, self.change, [self.name, self.canvas, button]) for button in self.changes),
            (self.method.input, self.fit_method, [self.method, self.model]),
            (self.gallery.select, self.choose, [self.name]),
            (self.take.click, self.take_over, [self.name]),
            (self.history.select, self.go_back, [self.name]),
            (self.shape.input, self.fit_borders, [self.name, self.shape]),
            (self.add.click, self.add_borders, [self.name, self.canvas, *self.borders]),
        ):
            event(handler, given, parts, **quiet)
        self.go.click(self.run, asked, parts, **quiet).then(None, js=LOOK % "outcome")
        self.go.click(None, js=LOOK % "outcome")
        self.take.click(None, js=LOOK % "canvas")
        matters = [self.canvas.input, *(part.change for part in self.choices)]
        gr.on(matters, self.estimate, asked, self.go, trigger_mode="always_last", **quiet)
        self.edge.change(None, self.edge, js=SOFTEN)
        self.cancel.click(self.give_up, None, None, queue=False, **quiet)
        self.full.click(None, self.png, js=OPEN)
        self.blocks.unload(self.give_up)

    # a photo and its hole

    def restore(self, name: object, request: gr.Request) -> Changes:
        """Show what the visitor had before a reload."""
        name = self.desks.open(name, request.client.host)
        desk = self.desks.of(name)
        changes: Changes = {self.name: name}
        if desk.choices:
            changes |= dict(zip(self.choices, desk.choices, strict=True)) | self.fit_method(*desk.choices[:4])
        return changes | self.on_canvas(desk, "Here is what you had.") if desk.steps else changes

    @telling
    def load_photo(self, name: str, upload: str) -> Changes:
        """Begin with a photo that was uploaded."""
        return self.begin(name, uploaded(upload, Path(upload).name, self.limits.megapixels))

    @telling
    def take_example(self, name: str, method: str, chosen: gr.SelectData) -> Changes:
        """Begin with an example, and choose its model."""
        example = examples()[int(chosen.index)]
        changes = self.begin(name, Photo(example.name, picture_of(example.pixels, example.name)))
        return changes | self.fit_method(method, example.model)

    def begin(self, name: str, photo: Photo) -> Changes:
        """Put a photo on an empty desk."""
        desk = self.desks.of(name)
        desk.put(photo, anew=True)
        height, width = photo.shape
        return self.on_canvas(desk, f"{photo.name}, {width}x{height}: now paint over what you want to remove.")

    def painted(self, name: object, sent: str | None) -> Desk:
        """The desk of a name, with the paint that the canvas sent; None as long as it shows no photo."""
        desk = self.desks.of(name)
        if sent is not None:
            desk.step.hole = desk.step.photo.painted(sent)
        return desk

    @telling
    def load_mask(self, name: str, upload: str) -> Changes:
        """Take a mask that was uploaded as the hole."""
        step = self.desks.of(name).step
        step.hole = step.photo.masked(upload, Path(upload).name, self.limits.megapixels)
        return {self.canvas: paint_of(step.hole)}

    @telling
    def change(self, name: str, painted: str, how: str) -> Changes:
        """Change the hole, see :meth:`isdiff.app.desk.Desk.change`."""
        desk = self.painted(name, painted)
        desk.change(how)
        return {self.canvas: paint_of(desk.step.hole), self.ready: READY[0]}

    @telling
    def fit_borders(self, name: str, shape: str) -> Changes:
        """Count the pixels that a shape takes."""
        return dict(zip(self.borders, borders_for(shape, *self.desks.of(name).step.photo.shape), strict=True))

    @telling
    def add_borders(self, name: str, painted: str, *added: float | None) -> Changes:
        """Add borders to the photo."""
        desk = self.painted(name, painted)
        desk.extend([int(pixels or 0) for pixels in added], self.limits.megapixels)
        said = "The new borders are hole; fill them, or paint more first."
        return self.on_canvas(desk, said) | dict.fromkeys(self.borders, 0)

    @telling
    def take_over(self, name: str) -> Changes:
        """Make the result the next photo."""
        desk = self.desks.of(name)
        desk.put(desk.shown)
        return self.on_canvas(desk, "This is the photo now; paint over what else is to go. The history leads back.")

    @telling
    def go_back(self, name: str, chosen: gr.SelectData) -> Changes:
        """Put an earlier photo on the canvas, with its hole."""
        desk = self.desks.of(name)
        desk.go_to(int(chosen.index))
        return self.on_canvas(desk, "Back at this photo; the later ones stay in the history.")

    def on_canvas(self, desk: Desk, said: str) -> Changes:
        """What is on the canvas, with all that belongs to it."""
        step, (data, suffix) = desk.step, desk.step.photo.shown()
        path = Path(mkdtemp(dir=get_upload_folder())) / f"photo{suffix}"
        path.write_bytes(data)
        self.canvas.temp_files.add(str(path))  # so that it goes some time
        height, width = step.photo.shape
        photo = {"url": f"gradio_api/file={path}", "key": next(self.keys), "width": width, "height": height}
        steps = [(each.small, f"{number}") for number, each in enumerate(desk.steps, 1)]
        return {
            self.canvas: gr.HTML(paint_of(step.hole), photo=photo), self.status: show.note(said),
            self.history: gr.Gallery(steps, visible=len(steps) > 1, selected_index=desk.at),
            **self.outcome(desk),
        }  # fmt: skip

    # filling it

    def fit_method(self, name: str, model: str, prompt: str = "", strength: str = NORMAL) -> Changes:
        """Offer what goes with a method."""
        method = method_of(name)
        model = model if model in method.models else method.models[0]
        return {
            self.model: gr.Dropdown(list(method.models), value=model),
            self.prompt: gr.Textbox(prompt if method.latent else "", visible=method.latent),
            self.strength: gr.Radio(value=strength, visible=bool(starts(name, model))),
        }

    def order(self, given: Changes) -> tuple[Desk, Order]:
        """What is asked for, checked; the desk keeps it."""
        desk = self.painted(given[self.name], given[self.canvas])
        method, model, prompt, strength, edge, *numbers = choices = [given[part] for part in self.choices]
        steps, variants, seed = (int(number or 0) for number in numbers)
        method_of(method)
        start = starts(method, model).get(strength)
        photo, hole = desk.step.photo, desk.step.hole
        order = Order(photo, hole, method, model, prompt or "", start, EDGES[edge], steps, seed, variants)
        if given[self.canvas] is not None:
            desk.choices = choices
        order.check()
        return desk, order

    def estimate(self, given: Changes) -> str:
        """Say how long filling will take; what was never measured is measured now, if nobody has to wait for it."""
        try:
            _, order = self.order(given)
            if self.studio.seconds(order) is None and not self.line.tickets:
                work = lambda _: self.studio.measure(order.method, order.model)  # noqa: E731
                self.line.enter(work, "the page itself").result()
            seconds = self.studio.seconds(order)
        except UserError:
            seconds = None
        return GO if seconds is None else f"{GO} ({show.about(seconds)})"

    def run(self, given: Changes, request: gr.Request) -> Iterator[Changes]:
        """What the page shows from a click on the button to the end."""
        self.give_up(request)
        try:
            desk, order = self.order(given)
            work = lambda ticket: self.studio.make(order, lambda: ticket.given_up, ticket.tell)  # noqa: E731
            ticket = self.line.enter(work, request.client.host)
        except UserError as error:
            yield {self.status: show.note(str(error), trouble=True)}
            return
        session = str(request.session_hash)
        self.tickets[session] = ticket
        idle = {self.go: gr.Button(interactive=True), self.cancel: gr.Button(interactive=False)}
        desk.variants = []
        try:
            busy = {self.go: gr.Button(interactive=False), self.cancel: gr.Button(interactive=True)}
            yield busy | self.outcome(desk) | {self.taking: gr.Row(visible=False)}
            for seen in ticket.follow():
                live = {self.live: gr.HTML(show.live(seen), visible=True)} if isinstance(seen, Sight) else {}
                yield {self.status: show.progress(seen), **live}
            made = ticket.result()
            if made is not None:
                desk.filled, desk.variants, desk.chosen = order, made, 0
            said = show.note("Cancelled.") if made is None else show.done(made, order.edge)
            yield idle | {self.status: said, self.live: gr.HTML("", visible=False)} | self.outcome(desk)
        except Exception as error:  # of the work; the line has logged what is no mistake of the visitor's
            yield idle | {self.status: show.note(explained(error), trouble=True)} | self.outcome(desk)
        finally:  # also where the visitor has gone
            self.line.cancel(ticket)
            if self.tickets.get(session) is ticket:
                del self.tickets[session]

    def outcome(self, desk: Desk) -> Changes:
        """Results, and what can be downloaded."""
        pictures = [
            (to_screen(close_up(variant.pixels, desk.filled.hole)), f"seed {variant.seed}")
            for variant in desk.variants
            if desk.filled
        ]
        gallery = gr.Gallery(pictures, visible=len(pictures) > 1, selected_index=desk.chosen)
        return {self.gallery: gallery, **self.looked_at(desk)}

    def looked_at(self, desk: Desk) -> Changes:
        """The result that is looked at, or the photo on the canvas where there is none."""
        png, jpg = (str(desk.shown.write(Path(desk.folder.name), suffix)) for suffix in (".png", ".jpg"))
        changes: Changes = {
            self.png: png, self.jpg: jpg, self.taking: gr.Row(visible=True),
            self.slider: gr.ImageSlider(visible=False), self.take: gr.Button(visible=False),
        }  # fmt: skip
        if not desk.variants or desk.filled is None:
            return changes
        variant = desk.variants[desk.chosen]
        pair = to_screen(desk.filled.photo.picture.rgb()), to_screen(variant.pixels)
        return changes | {
            self.slider: gr.ImageSlider(pair, visible=True),
            self.take: gr.Button(f"Go on with this (seed {variant.seed})", visible=True),
        }

    @telling
    def choose(self, name: str, chosen: gr.SelectData) -> Changes:
        """Look at another variant."""
        desk = self.desks.of(name)
        desk.chosen = min(int(chosen.index), len(desk.variants) - 1)
        return self.looked_at(desk)

    def give_up(self, request: gr.Request) -> None:
        """Cancel what the visitor asked for."""
        if (ticket := self.tickets.get(str(request.session_hash))) is not None:
            self.line.cancel(ticket)

    # the server

    def launch(self, host: str = "127.0.0.1", port: int | None = None, share: bool = False) -> tuple[str, str | None]:
        """Serve in the background; returns the address here and, if it is shared, the public one."""
        self.blocks.queue(default_concurrency_limit=None, max_size=4 * self.limits.waiting + 16)
        self.line.enter(lambda _: self.studio.measure(self.method.value, self.model.value), "the page itself")
        hosts = ["*"] if share or host not in LOCAL else [*LOCAL, "[::1]"]
        trusted = Middleware(TrustedHostMiddleware, allowed_hosts=hosts)
        guards = [trusted, Middleware(Guard, folder=str(get_upload_folder()))]
        _, local, public = self.blocks.launch(
            server_name=host, server_port=port, share=share, prevent_thread_lock=True, quiet=True, inbrowser=False,
            allowed_paths=[], max_file_size=LARGEST_UPLOAD, ssr_mode=False, mcp_server=False, enable_monitoring=False,
            pwa=False, footer_links=[], app_kwargs={"middleware": guards},
            theme=gr.themes.Soft(**FONTS), css=beside("page.css"),
        )  # fmt: skip
        return local, public

    def close(self) -> None:
        """End the work and the server."""
        self.line.close()
        self.blocks.close(verbose=False)
