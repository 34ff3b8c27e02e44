"""The page itself, with gradio: what is on it, and what its buttons do."""

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
from isdiff.app.catalog import examples, method_of, methods
from isdiff.app.guard import LOCAL, Guard
from isdiff.app.line import Done, Line, Ticket, Working
from isdiff.app.photo import Photo, to_screen, uploaded
from isdiff.app.studio import MOST_STEPS, TOP_SEED, Limits, Order, Studio, Variant
from isdiff.errors import UserError
from isdiff.pictures.inpaint import NAMED
from isdiff.pictures.picture import picture_of

METHOD = "ddnm+isdiff"
PAINTED = "paint only"
LARGEST_UPLOAD = "64mb"
PAINT = "#ff3c78"
STRENGTH = (
    "Where sampling starts. At 1 it starts from pure noise, and anything may come; lower values keep more of the seed, "
    "a guess from the colours around the hole, and take fewer steps."
)
INTRO = (
    "## isdiff: fill a hole in a photo\n"
    "Load a photo, paint over what is to go, and let a diffusion model fill it in. What is outside of the hole stays, "
    "bit for bit. `patches` works at the photo's own size; networks of 64 pixels make large holes soft."
)
# Gradio's editor decodes every layer, the background and the whole, of any format and size. This one passes on where
# layers lie. Gradio's maker of classes is left out, as it writes a file beside the code.
LAYERS = {"preprocess": lambda self, sent: [layer.path for layer in sent.layers] if sent else []}
Editor: Any = ABCMeta.__new__(
    type(gr.ImageEditor), "Editor", (gr.ImageEditor,), {"__module__": __name__, "is_template": True, **LAYERS}
)
FONTS: dict[str, Any] = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


class Page:
    """The page of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.studio = Studio(limits)
        self.line: Line[Order, list[Variant]] = Line(self.work, limits.waiting)
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

    def work(self, order: Order, ticket: Ticket) -> list[Variant]:
        return self.studio.make(order, stop=lambda: ticket.given_up, tell=ticket.tell)

    # what is on it

    def put_photo(self) -> None:
        self.upload = gr.File(label="Your photo", height=140, elem_id="upload")
        gr.Markdown("or an example:")
        self.examples = gr.Gallery(
            [(to_screen(example.pixels), None) for example in examples()], show_label=False, columns=5, height="auto",
            allow_preview=False, format="png", interactive=False, buttons=[], elem_id="examples", object_fit="cover",
        )  # fmt: skip
        gr.Markdown("Then the hole: paint over what is to go, or pick a mask below.")
        self.editor = Editor(
            show_label=False, type="pil", format="png", sources=(), transforms=None,
            layers=False, buttons=[], height=500, canvas_size=(512, 512), elem_id="editor",
            brush=gr.Brush(default_size=16, colors=[PAINT], default_color=PAINT, color_mode="fixed"),
            eraser=gr.Eraser(default_size=16), placeholder="Load a photo or an example first",
        )  # fmt: skip
        self.mask = gr.Radio(
            [PAINTED, *NAMED], value=PAINTED, label="Mask", elem_id="mask",
            info="A mask starts anew; what you paint afterwards is added to it.",
        )  # fmt: skip

    def put_choices(self) -> None:
        first = METHOD if METHOD in methods() else next(iter(methods()))
        method = method_of(first)
        with gr.Row():
            self.method = gr.Dropdown(list(methods()), value=first, label="Method", elem_id="method", min_width=150)
            self.model = gr.Dropdown(
                list(method.models), value=method.models[0], label="Model", elem_id="model", min_width=150
            )
        self.prompt = gr.Textbox(
            label="Prompt", info="What the hole is to show, in words.", visible=method.latent, elem_id="prompt"
        )
        self.strength = self.strength_slider(first, method.models[0])(elem_id="strength")
        with gr.Row():
            self.steps = gr.Slider(2, MOST_STEPS, 50, step=1, label="Steps", elem_id="steps", min_width=150)
            self.variants = gr.Slider(
                1, self.limits.variants, min(2, self.limits.variants), step=1, label="Variants", elem_id="variants",
                min_width=150, visible=self.limits.variants > 1,
            )  # fmt: skip
            self.seed = gr.Number(
                0, label="Seed", precision=0, minimum=0, maximum=TOP_SEED, elem_id="seed", min_width=90
            )
        with gr.Row():
            self.go = gr.Button("Fill the hole", variant="primary", elem_id="go", min_width=150)
            self.cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", min_width=90)

    def put_results(self) -> None:
        self.status = gr.HTML(show.note("Load a photo or pick an example to begin."), elem_id="status")
        self.live = gr.HTML(visible=False, elem_id="live")
        self.gallery = gr.Gallery(
            show_label=False, columns=4, height="auto", allow_preview=False, format="png", interactive=False,
            buttons=[], visible=False, elem_id="gallery", object_fit="contain",
        )  # fmt: skip
        self.slider = gr.ImageSlider(
            label="Before and after", format="png", buttons=[], interactive=False, visible=False, elem_id="slider"
        )
        self.download = gr.DownloadButton("Download as PNG", visible=False, elem_id="download")
        with gr.Accordion("How it came about", visible=False, elem_id="details") as self.details:
            self.seed_picture = gr.Image(
                label="The seed that it started from", format="png", height=260, buttons=[], interactive=False,
                elem_id="seed-picture",
            )  # fmt: skip
            self.trace = gr.Dataframe(
                headers=show.TRACE, label="Attempts: DCE says how well hole and surroundings go together (low is good)",
                interactive=False, elem_id="trace", buttons=[],
            )  # fmt: skip

    def strength_slider(self, method: str, model: str) -> Any:
        """A maker of the slider for a method with a model; further arguments are gradio's."""
        found = method_of(method).strength(model)

        def made(**options: Any) -> gr.Slider:
            if found is None:
                return gr.Slider(visible=False, **options)
            return gr.Slider(
                found.low,
                1,
                found.usual,
                step=0.01,
                label="Strength: start step",
                info=STRENGTH,
                visible=True,
                **options,
            )

        return made

    # what happens

    def connect(self) -> None:
        loaded = [self.photo, self.editor, self.mask, self.status]
        models = [self.model, self.prompt, self.strength]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.upload.upload(self.take_upload, self.upload, loaded, **quiet)
        self.examples.select(self.take_example, self.method, [*loaded, self.model, self.strength], **quiet)
        self.mask.input(self.show_mask, [self.photo, self.mask], self.editor, **quiet)
        self.method.input(self.fit_method, [self.method, self.model], models, **quiet)
        self.model.input(lambda method, model: self.strength_slider(method, model)(),
                         [self.method, self.model], self.strength, **quiet)  # fmt: skip
        shown = [self.gallery, self.slider, self.download, self.details, self.seed_picture, self.trace]
        self.go.click(
            self.run,
            [self.photo, self.editor, self.mask, self.method, self.model, self.prompt, self.strength, self.steps,
             self.seed, self.variants],
            [self.go, self.cancel, self.status, self.live, self.results, *shown], **quiet,
        )  # fmt: skip
        self.cancel.click(self.give_up, None, None, queue=False, **quiet)
        self.gallery.select(self.choose, self.results, [self.slider, self.download, self.seed_picture], **quiet)
        self.blocks.unload(self.give_up)

    def take_upload(self, upload: Any) -> tuple[Any, ...]:
        if upload is None:
            return (gr.skip(),) * 4
        try:
            photo = uploaded(str(upload), Path(upload).name, self.limits.megapixels)
        except UserError as error:
            return gr.skip(), gr.skip(), gr.skip(), show.note(str(error), trouble=True)
        return self.loaded(photo)

    def loaded(self, photo: Photo) -> tuple[Any, ...]:
        height, width = photo.shape
        text = f"{photo.name}, {width}x{height}: now paint over what is to go, or pick a mask."
        return photo, on_canvas(photo, None), PAINTED, show.note(text)

    def take_example(self, method: str, chosen: gr.SelectData) -> tuple[Any, ...]:
        example = examples()[int(chosen.index)]
        photo = Photo(example.name, picture_of(example.pixels, example.name))
        if example.model not in method_of(method).models:
            return *self.loaded(photo), gr.skip(), gr.skip()
        return *self.loaded(photo), example.model, self.strength_slider(method, example.model)()

    def show_mask(self, photo: Photo | None, mask: str) -> Any:
        return gr.skip() if photo is None else on_canvas(photo, named(mask))

    def fit_method(self, name: str, model: str) -> tuple[Any, ...]:
        method = method_of(name)
        model = model if model in method.models else method.models[0]
        return (
            gr.Dropdown(list(method.models), value=model),
            gr.Textbox(visible=True) if method.latent else gr.Textbox("", visible=False),
            self.strength_slider(name, model)(),
        )

    def order(
        self, photo: Photo | None, layers: list[str], mask: str, method: str, model: str, prompt: str,
        strength: float | None, steps: float, seed: float | None, variants: float,
    ) -> Order:  # fmt: skip
        """
        Raises:
            UserError: there is no photo, or it cannot be done.
        """
        if photo is None:
            raise UserError("there is no photo yet: load one, or pick an example")
        hole = photo.hole(named(mask), layers)
        seeded = method_of(method).strength(model) is not None
        order = Order(
            photo,
            hole,
            method,
            model,
            prompt or "",
            strength if seeded else None,
            int(steps),
            int(seed or 0),
            int(variants),
        )
        order.check(self.limits)
        return order

    def run(
        self, photo: Any, editor: Any, mask: Any, method: Any, model: Any, prompt: Any, strength: Any, steps: Any,
        seed: Any, variants: Any, request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        """What the page shows from a click on the button to the end."""
        rest = (gr.skip(),) * 7
        session = str(request.session_hash)
        self.give_up(request)
        try:
            order = self.order(photo, editor, mask, method, model, prompt, strength, steps, seed, variants)
            ticket = self.tickets[session] = self.line.enter(order, request.client.host)
        except UserError as error:
            yield gr.skip(), gr.skip(), show.note(str(error), trouble=True), gr.skip(), *rest
            return
        busy = gr.Button(interactive=False), gr.Button(interactive=True)
        idle = gr.Button(interactive=True), gr.Button(interactive=False)
        try:
            yield *busy, gr.skip(), gr.HTML(visible=False), None, *(gr.update(visible=False),) * 4, gr.skip(), gr.skip()
            for state in ticket.follow():
                buttons = idle if ticket.ended else busy
                if isinstance(state, Working) and state.sight is not None:
                    yield *buttons, show.said(state), gr.HTML(show.live(state.sight), visible=True), *rest
                elif isinstance(state, Done):
                    results = show.Results(order, state.made)
                    yield *idle, show.said(state), gr.HTML("", visible=False), results, *shown(results)
                else:
                    yield *buttons, show.said(state), gr.skip(), *rest
        finally:  # also where the visitor has gone
            self.line.cancel(ticket)
            if self.tickets.get(session) is ticket:
                del self.tickets[session]

    def give_up(self, request: gr.Request) -> None:
        """Cancel what the visitor asked for."""
        if (ticket := self.tickets.get(str(request.session_hash))) is not None:
            self.line.cancel(ticket)

    def choose(self, results: show.Results | None, chosen: gr.SelectData) -> tuple[Any, ...]:
        if results is None:
            return (gr.skip(),) * 3
        return one_variant(results, int(chosen.index))

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
        self.line.close()
        self.blocks.close(verbose=False)


def beside(name: str) -> str:
    return files("isdiff.app").joinpath(name).read_text("utf-8")


def named(mask: str) -> str | None:
    return None if mask == PAINTED else mask


def on_canvas(photo: Photo, mask: str | None) -> dict[str, Any]:
    """A photo with nothing painted on it."""
    return {"background": photo.seen(mask), "layers": [], "composite": None}


def one_variant(results: show.Results, number: int) -> tuple[Any, ...]:
    """Slider, download and seed picture."""
    seed, label = results.seed(number), f"Download as PNG (seed {results.variants[number].seed})"
    return (
        gr.ImageSlider(results.pair(number), visible=True),
        gr.DownloadButton(label, value=str(results.file(number)), visible=True),
        gr.Image(seed, visible=seed is not None),
    )


def shown(results: show.Results) -> tuple[Any, ...]:
    """Everything that results bring, with the first variant chosen."""
    slider, download, seed = one_variant(results, 0)
    pictures = [(to_screen(variant.pixels), f"seed {variant.seed}") for variant in results.variants]
    gallery = gr.Gallery(pictures, visible=len(pictures) > 1, selected_index=0)
    return gallery, slider, download, gr.Accordion(visible=True), seed, show.trace_rows(results.variants)
