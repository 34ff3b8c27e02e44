"""What is on the page: its parts, made with gradio."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr

from isdiff.app import show
from isdiff.app.catalog import NORMAL, STRENGTHS, examples, method_of, methods, starts
from isdiff.app.desk import CHANGES, EDGES, READY, SHAPES
from isdiff.app.photo import to_screen
from isdiff.app.studio import Limits

METHOD, MOST_STEPS, TOP_SEED, GO = "ddnm+isdiff", 250, 2**31 - 1, "Fill the hole"
STRENGTH = "How far the fill may go from what is around the hole. Normal is what the method uses."
BROAD: dict[str, Any] = {"min_width": 120}
SMALL: dict[str, Any] = {"min_width": 60, "size": "sm"}
WHOLE: dict[str, Any] = {"precision": 0, "minimum": 0, "min_width": 60}
PICTURE: dict[str, Any] = {"format": "png", "interactive": False}
GALLERY: dict[str, Any] = {
    "show_label": False, "height": "auto", "allow_preview": False, "object_fit": "cover", "buttons": [], **PICTURE
}  # fmt: skip


class Parts:
    """The parts of the page, from above left to below right."""

    def __init__(self, limits: Limits) -> None:
        self.name = gr.BrowserState()  # of the visitor's desk
        with gr.Row():
            with gr.Column(min_width=340, scale=6):
                self.put_photo()
            with gr.Column(min_width=340, scale=5):
                self.put_outcome()
                self.put_borders()
                self.put_choices(limits)
        self.choices: list[Any] = [
            self.method,
            self.model,
            self.prompt,
            self.strength,
            self.edge,
            self.steps,
            self.variants,
            self.seed,
        ]

    def put_photo(self) -> None:
        """The left side: a photo and its hole."""
        with gr.Row(elem_id="load"):
            self.upload = gr.UploadButton("Load a photo", elem_id="upload", variant="primary", **SMALL)
            self.mask = gr.UploadButton("Load a mask", elem_id="load-mask", **SMALL)
            self.changes = [gr.Button(how, elem_id=how.lower(), **SMALL) for how in CHANGES]
            edges: dict[str, Any] = {"label": "Edge of the fill", "show_label": False, "container": False}
            self.edge = gr.Dropdown(list(EDGES), elem_id="edge", **edges)
            self.ready = gr.Dropdown(list(READY), label=READY[0], show_label=False, container=False, elem_id="ready")
        self.canvas = gr.HTML(
            html_template=beside("canvas.html"), js_on_load=beside("canvas.js"), photo=None, elem_id="canvas",
            apply_default_css=False,
        )  # fmt: skip
        self.history = gr.Gallery(elem_id="history", visible=False, **GALLERY)
        pictures = [(to_screen(example.pixels, 160), None) for example in examples()]
        self.examples = gr.Gallery(pictures, elem_id="examples", **GALLERY)

    def put_outcome(self) -> None:
        """The right side, above: the button, and what comes of it."""
        with gr.Column(elem_id="bar"):
            self.status = gr.HTML(show.note("Load a photo, and paint over what you want to remove."), elem_id="status")
            with gr.Row():
                self.go = gr.Button(GO, variant="primary", elem_id="go", min_width=180, scale=3)
                self.cancel = gr.Button("Cancel", interactive=False, elem_id="cancel", min_width=80)
        with gr.Column(elem_id="outcome"):
            self.live = gr.HTML(visible=False, elem_id="live")
            self.gallery = gr.Gallery(columns=4, elem_id="gallery", visible=False, **GALLERY)
            look: dict[str, Any] = {"max_height": 360, "buttons": ["fullscreen"], "visible": False, **PICTURE}
            self.slider = gr.ImageSlider(label="Before and after", elem_id="slider", **look)
            with gr.Row(visible=False, elem_id="take") as self.taking:
                self.take = gr.Button("Go on with this", variant="primary", elem_id="go-on", **SMALL, scale=2)
                self.png = gr.DownloadButton("PNG", elem_id="png", **SMALL)
                self.jpg = gr.DownloadButton("JPEG", elem_id="jpg", **SMALL)
                self.full = gr.Button("100 %", elem_id="full", **SMALL)

    def put_borders(self) -> None:
        """Borders that the photo is to get."""
        with gr.Accordion("Extend the picture", open=False, elem_id="extend"):
            with gr.Row():
                self.shape = gr.Dropdown(list(SHAPES), value=None, label="Shape", elem_id="shape", min_width=80)
                sides = "Left", "Top", "Right", "Bottom"
                self.borders = [gr.Number(0, label=side, elem_id=side.lower(), **WHOLE) for side in sides]
            self.add = gr.Button("Add these pixels", elem_id="add", **SMALL)

    def put_choices(self, limits: Limits) -> None:
        """The right side, below: how to fill it."""
        method = method_of(METHOD if METHOD in methods() else next(iter(methods())))
        model = method.models[0]
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            with gr.Row():
                many: dict[str, Any] = {"maximum": limits.variants, "visible": limits.variants > 1, **BROAD}
                usual = min(2, limits.variants)
                self.variants = gr.Slider(1, value=usual, step=1, label="Variants", elem_id="variants", **many)
                self.strength = gr.Radio(
                    list(STRENGTHS), value=NORMAL, label="Strength", info=STRENGTH, elem_id="strength",
                    visible=bool(starts(method.name, model)),
                )  # fmt: skip
            self.prompt = gr.Textbox(
                label="Prompt", info="What the hole is to show, in words.", visible=method.latent, elem_id="prompt"
            )
            with gr.Row():
                self.method = gr.Dropdown(list(methods()), value=method.name, label="Method", elem_id="method", **BROAD)
                self.model = gr.Dropdown(list(method.models), value=model, label="Model", elem_id="model", **BROAD)
            with gr.Row():
                self.steps = gr.Slider(2, MOST_STEPS, 50, step=1, label="Steps", elem_id="steps", **BROAD)
                self.seed = gr.Number(0, label="Seed", elem_id="seed", maximum=TOP_SEED, **WHOLE)


def beside(name: str) -> str:
    """The text of a file beside this one."""
    return files("isdiff.app").joinpath(name).read_text("utf-8")
