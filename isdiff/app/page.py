"""The page itself, with gradio: what is on it, and what its buttons do.

Handlers return the new state of some components; all others stay as they are.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Collection, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from isdiff.app import show
from isdiff.app.catalog import examples, method_of, methods, strength
from isdiff.app.guard import LOCAL, Guard
from isdiff.app.line import Line, Ticket
from isdiff.app.photo import PAINTED, Photo, to_screen, uploaded
from isdiff.app.studio import MOST_STEPS, TOP_SEED, Limits, Order, Sight, Studio, Variant
from isdiff.errors import UserError, explained
from isdiff.pictures.inpaint import DRAWN
from isdiff.pictures.picture import picture_of

METHOD = "ddnm+isdiff"
LARGEST_UPLOAD = "64mb"
PAINT = "#ff3c78"
STRENGTH = (
    "Where sampling starts. At 1 it starts from pure noise, and anything may come; lower values keep more of the seed, "
    "a guess from the colours around the hole, and take fewer steps."
)
INTRO = (
    "## isdiff: fill a hole in a photo\n"
    "Load a photo, paint over what you want to remove, and let a diffusion model fill it in. What is outside of the "
    "hole stays, bit for bit. `patches` works at the photo's own size; networks of 64 pixels make large holes soft."
)
# Gradio's editor decodes every layer, the background and the whole, of any format and size. This one passes on where
# layers lie. Gradio's maker of classes is left out, as it writes a file beside the code.
LAYERS = {"preprocess": lambda self, sent: [layer.path for layer in sent.layers] if sent else []}
Editor: Any = ABCMeta.__new__(
    type(gr.ImageEditor), "Editor", (gr.ImageEditor,), {"__module__": __name__, "is_template": True, **LAYERS}
)
BROAD: dict[str, Any] = {"min_width": 150}
FONTS: dict[str, Any] = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
PICTURE: dict[str, Any] = {"format": "png", "buttons": [], "interactive": False}
GALLERY: dict[str, Any] = {"show_label": False, "height": "auto", "allow_preview": False, **PICTURE}
Changes = dict[Any, Any]


class Page:
    """The page of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.studio, self.line = limits, Studio(limits), Line(limits.waiting)
        self.tickets: dict[str, Ticket] = {}  # by the visitor's session
        with gr.Blocks(title="isdiff", analytics_enabled=False, delete_cache=(600, 3600)) as self.blocks:
            self.photo, self.results = gr.State(), gr.State()
            gr.Markdown(INTRO)
            with gr.Row():
                with gr.Column(min_width=340):
                    self.put_photo()
                with gr.Column(min_width=340):
                    self.put_choices()
                    self.put_results()
            self.connect()

    # what is on it

    def put_photo(self) -> None:
        """The left side: a photo and its hole."""
        self.upload = gr.File(label="Your photo", height=140, elem_id="upload")
        gr.Markdown("or an example:")
        pictures = [(to_screen(example.pixels), None) for example in examples()]
        self.examples = gr.Gallery(pictures, columns=5, elem_id="examples", object_fit="cover", **GALLERY)
        gr.Markdown("Then the hole: paint over what you want to remove, or pick a mask below.")
        self.editor = Editor(
            show_label=False, type="pil", format="png", sources=(), transforms=None,
            layers=False, buttons=[], height=500, canvas_size=(512, 512), elem_id="editor",
            brush=gr.Brush(default_size=16, colors=[PAINT], default_color=PAINT, color_mode="fixed"),
            eraser=gr.Eraser(default_size=16), placeholder="Load a photo or an example first",
        )  # fmt: skip
        self.mask = gr.Radio(
            [PAINTED, *DRAWN], value=PAINTED, label="Mask", elem_id="mask",
            info="A mask starts anew; what you paint afterwards is added to it.",
        )  # fmt: skip

    def put_choices(self) -> None:
        """The right side, above: how to fill it."""
        method = method_of(METHOD if METHOD in methods() else next(iter(methods())))
        model = method.models[0]
        with gr.Row():
            self.method = gr.Dropdown(list(methods()), value=method.name, label="Method", elem_id="method", **BROAD)
            self.model = gr.Dropdown(list(method.models), value=model, label="Model", elem_id="model", **BROAD)
        self.prompt = gr.Textbox(
            label="Prompt", info="What the hole is to show, in words.", visible=method.latent, elem_id="prompt"
        )
        self.strength = gr.Slider(
            step=0.01, label="Strength: start step", info=STRENGTH, elem_id="strength", **slider(method.name, model)
        )
        with gr.Row():
            self.steps = gr.Slider(2, MOST_STEPS, 50, step=1, label="Steps", elem_id="steps", **BROAD)
            many: dict[str, Any] = {"maximum": self.limits.variants, "visible": self.limits.variants > 1, **BROAD}
            usual = min(2, self.limits.variants)
            self.variants = gr.Slider(1, value=usual, step=1, label="Variants", elem_id="variants", **many)
            whole: dict[str, Any] = {"precision": 0, "minimum": 0, "maximum": TOP_SEED}
            self.seed = gr.Number(0, label="Seed", elem_id="seed", min_width=90, **whole)
        with gr.Row():
            self.go = gr.Button("Fill the hole", variant="primary", elem_id="go", **BROAD)
            self.cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", min_width=90)

    def put_results(self) -> None:
        """The right side, below: what comes of it."""
        self.status = gr.HTML(show.note("Load a photo or pick an example to begin."), elem_id="status")
        self.live = gr.HTML(visible=False, elem_id="live")
        self.gallery = gr.Gallery(visible=False, columns=4, elem_id="gallery", object_fit="contain", **GALLERY)
        self.slider = gr.ImageSlider(label="Before and after", visible=False, elem_id="slider", **PICTURE)
        self.download = gr.DownloadButton("Download as PNG", visible=False, elem_id="download")
        with gr.Accordion("How it came about", visible=False, elem_id="details") as self.details:
            label = "The seed that it started from"
            self.seed_picture = gr.Image(label=label, height=260, elem_id="seed-picture", **PICTURE)
            self.trace = gr.Dataframe(
                headers=show.TRACE, label="Attempts: DCE says how well hole and surroundings go together (low is good)",
                interactive=False, elem_id="trace", buttons=[],
            )  # fmt: skip

    # what happens

    def connect(self) -> None:
        """Say what each of them does."""
        loaded = [self.photo, self.editor, self.mask, self.status]
        shown = [self.gallery, self.slider, self.download, self.details, self.seed_picture, self.trace]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.upload.upload(self.take_upload, self.upload, loaded, **quiet)
        self.examples.select(self.take_example, self.method, [*loaded, self.model, self.strength], **quiet)
        self.mask.input(self.show_mask, [self.photo, self.mask], self.editor, **quiet)
        chosen = [self.method, self.model]
        self.method.input(self.fit_method, chosen, [self.model, self.prompt, self.strength], **quiet)
        self.model.input(lambda *names: gr.Slider(**slider(*names)), chosen, self.strength, **quiet)
        asked = {self.photo, self.editor, self.mask, self.method, self.model, self.prompt, self.strength, self.steps,
                 self.seed, self.variants}  # fmt: skip
        self.go.click(self.run, asked, [self.go, self.cancel, self.status, self.live, self.results, *shown], **quiet)
        self.cancel.click(self.give_up, None, None, queue=False, **quiet)
        self.gallery.select(self.choose, self.results, [self.slider, self.download, self.seed_picture], **quiet)
        self.blocks.unload(self.give_up)

    def take_upload(self, upload: Any) -> Changes:
        """Show a photo that was uploaded."""
        if upload is None:
            return gr.skip()
        try:
            return self.load(uploaded(str(upload), Path(upload).name, self.limits.megapixels))
        except UserError as error:
            return {self.status: show.note(str(error), trouble=True)}

    def load(self, photo: Photo) -> Changes:
        """Show a photo with nothing painted on it."""
        height, width = photo.shape
        text = f"{photo.name}, {width}x{height}: now paint over what you want to remove, or pick a mask."
        changes = {self.photo: photo, self.editor: on_canvas(photo), self.mask: PAINTED}
        return {**changes, self.status: show.note(text)}

    def take_example(self, method: str, chosen: gr.SelectData) -> Changes:
        """Show an example, and choose its model."""
        example = examples()[int(chosen.index)]
        changes = self.load(Photo(example.name, picture_of(example.pixels, example.name)))
        if example.model in method_of(method).models:
            changes |= {self.model: example.model, self.strength: gr.Slider(**slider(method, example.model))}
        return changes

    def show_mask(self, photo: Photo | None, mask: str) -> Any:
        """Show a mask on the photo."""
        return gr.skip() if photo is None else on_canvas(photo, mask)

    def fit_method(self, name: str, model: str) -> Changes:
        """Offer what goes with a method."""
        method = method_of(name)
        model = model if model in method.models else method.models[0]
        return {
            self.model: gr.Dropdown(list(method.models), value=model),
            self.prompt: gr.Textbox(visible=True) if method.latent else gr.Textbox("", visible=False),
            self.strength: gr.Slider(**slider(name, model)),
        }

    def order(self, given: Changes) -> Order:
        """What is asked for, checked."""
        photo, method, model = given[self.photo], given[self.method], given[self.model]
        if photo is None:
            raise UserError("there is no photo yet: load one, or pick an example")
        hole = photo.hole(given[self.mask], given[self.editor])
        start = given[self.strength] if strength(method_of(method).name, model) else None
        steps, seed, variants = (int(given[part] or 0) for part in (self.steps, self.seed, self.variants))
        order = Order(photo, hole, method, model, given[self.prompt] or "", start, steps, seed, variants)
        order.check(self.limits)
        return order

    def run(self, given: Changes, request: gr.Request) -> Iterator[Changes]:
        """What the page shows from a click on the button to the end."""
        self.give_up(request)
        try:
            order = self.order(given)
            work = lambda ticket: self.studio.make(order, lambda: ticket.given_up, ticket.tell)  # noqa: E731
            ticket = self.line.enter(work, request.client.host)
        except UserError as error:
            yield {self.status: show.note(str(error), trouble=True)}
            return
        session = str(request.session_hash)
        self.tickets[session] = ticket
        idle = {self.go: gr.Button(interactive=True), self.cancel: gr.Button(interactive=False)}
        hidden = (self.live, self.gallery, self.slider, self.download, self.details)
        try:
            yield {
                self.go: gr.Button(interactive=False), self.cancel: gr.Button(interactive=True),
                self.results: None, **dict.fromkeys(hidden, gr.update(visible=False)),
            }  # fmt: skip
            for seen in ticket.follow():
                live = {self.live: gr.HTML(show.live(seen), visible=True)} if isinstance(seen, Sight) else {}
                yield {self.status: show.progress(seen), **live}
            made = ticket.result()
            yield idle | ({self.status: show.note("Cancelled.")} if made is None else self.all_of(order, made))
        except Exception as error:  # of the work; the line has logged what is no mistake of the visitor's
            yield idle | {self.status: show.note(explained(error), trouble=True)}
        finally:  # also where the visitor has gone
            self.line.cancel(ticket)
            if self.tickets.get(session) is ticket:
                del self.tickets[session]

    def all_of(self, order: Order, made: list[Variant]) -> Changes:
        """All that variants bring, with the first one chosen."""
        results = show.Results(order, made)
        pictures = [(to_screen(variant.pixels), f"seed {variant.seed}") for variant in made]
        return self.one_variant(results, 0) | {
            self.status: show.done(made), self.live: gr.HTML("", visible=False), self.results: results,
            self.gallery: gr.Gallery(pictures, visible=len(made) > 1, selected_index=0),
            self.details: gr.Accordion(visible=True), self.trace: show.trace_rows(made),
        }  # fmt: skip

    def give_up(self, request: gr.Request) -> None:
        """Cancel what the visitor asked for."""
        if (ticket := self.tickets.get(str(request.session_hash))) is not None:
            self.line.cancel(ticket)

    def choose(self, results: show.Results | None, chosen: gr.SelectData) -> Changes:
        """Show another variant."""
        return gr.skip() if results is None else self.one_variant(results, int(chosen.index))

    def one_variant(self, results: show.Results, number: int) -> Changes:
        """Slider, download and seed picture of a variant."""
        variant, photo = results.variants[number], results.order.photo
        seed = None if variant.seed_pixels is None else to_screen(variant.seed_pixels)
        label = f"Download as PNG (seed {variant.seed})"
        return {
            self.slider: gr.ImageSlider((photo.seen(), to_screen(variant.pixels)), visible=True),
            self.download: gr.DownloadButton(label, value=str(results.file(variant)), visible=True),
            self.seed_picture: gr.Image(seed, visible=seed is not None),
        }

    # the server

    def launch(self, host: str = "127.0.0.1", port: int | None = None, share: bool = False) -> tuple[str, str | None]:
        """Serve in the background; returns the address here and, if it is shared, the public one."""
        self.blocks.queue(default_concurrency_limit=None, max_size=4 * self.limits.waiting + 16)
        hosts = ["*"] if share or host not in LOCAL else [*LOCAL, "[::1]"]
        guards = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts),
                  Middleware(Guard, folder=str(get_upload_folder()), keep=self.keep)]  # fmt: skip
        _, local, public = self.blocks.launch(
            server_name=host, server_port=port, share=share, prevent_thread_lock=True, quiet=True, inbrowser=False,
            allowed_paths=[], max_file_size=LARGEST_UPLOAD, ssr_mode=False, mcp_server=False, enable_monitoring=False,
            pwa=False, footer_links=[], app_kwargs={"middleware": guards},
            theme=gr.themes.Soft(**FONTS), css=beside("page.css"), js=beside("page.js"),
        )  # fmt: skip
        return local, public

    def keep(self, sessions: Collection[str]) -> None:
        """Let go of what visitors of other sessions have."""
        held = self.blocks.state_holder.session_data
        for session in [session for session in list(held) if session not in sessions]:
            held.pop(session, None)

    def close(self) -> None:
        """End the work and the server."""
        self.line.close()
        self.blocks.close(verbose=False)


def slider(method: str, model: str) -> dict[str, Any]:
    """The options of the slider of the start step, for a method with a model."""
    found = strength(method, model)
    if found is None:
        return {"visible": False}
    return {"minimum": found.low, "maximum": 1, "value": found.usual, "visible": True}


def beside(name: str) -> str:
    """The text of a file beside this one."""
    return files("isdiff.app").joinpath(name).read_text("utf-8")


def on_canvas(photo: Photo, mask: str = PAINTED) -> dict[str, Any]:
    """A photo with nothing painted on it."""
    return {"background": photo.seen(mask), "layers": [], "composite": None}
