"""What the page offers: methods with the models that they work with and that are here, and pictures to try."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from isdiff.config.build import build
from isdiff.config.composing import compose_run, runs_of
from isdiff.config.setup import build_conditioning, build_isdiff, is_floor
from isdiff.data.base import Dataset
from isdiff.errors import Missing, UserError
from isdiff.models.base import NO_MODEL, Model
from isdiff.pictures.choices import check_named, own_model
from isdiff.seeds.base import SeededStart

EXAMPLES = {  # a dataset's overrides and images
    ("dataset=photos", "dataset.size=256", "model=patches"): ("0040", "0033", "0046", "0115"),
    ("dataset=avatars",): ("00000", "00015", "00034"),
    ("dataset=landscapes",): ("00006", "00012", "00031"),
}


CLOSE, NORMAL, FREE = STRENGTHS = ("keep close", "normal", "free")


class Method(NamedTuple):
    """A method with the models that it works with and that are here."""

    name: str
    models: tuple[str, ...]  # its own first; ``no network`` where it needs none
    latent: bool  # whether it takes a prompt


class Example(NamedTuple):
    """A shipped picture, (H, W, 3) uint8, and the model that was made for its kind."""

    name: str
    pixels: np.ndarray
    model: str


@lru_cache
def starts(method: str, model: str) -> dict[str, float | None]:
    """Where IS-Diff's first attempt starts for each strength, as a fraction of the process; None for the usual place.

    Empty for methods without IS-Diff's seed.
    """
    if model == NO_MODEL:
        return {}
    start, refinement = build_isdiff(compose_run([f"method={method}", f"model={model}"]))
    if not isinstance(start, SeededStart):
        return {}
    low = 0.05
    if refinement is not None:  # the last attempt must start above the checkpoint
        low = refinement.checkpoint + (refinement.attempts - 1) * start.lambda_
        low = math.floor(low * 100 + 1) / 100 + 0.01
    return {CLOSE: min(low, start.step), NORMAL: None, FREE: 1.0}


@lru_cache
def methods() -> dict[str, Method]:
    """Those for which a model is here, by their names."""
    models = {name: model for name, cfg in runs_of("model").items() if not (model := build(cfg.model, Model)).missing()}
    found = {}
    for name, cfg in runs_of("method").items():
        own = own_model(cfg)
        usable = [each for each in sorted(models, key=lambda each: each != own) if goes_with(cfg, models[each])]
        if is_floor(cfg):
            usable = [NO_MODEL]
        if usable:
            found[name] = Method(name, tuple(usable), cfg.get("latent") is not None)
    if not found:
        raise Missing(["no model is here: isdiff models lists them, with the commands that get them"])
    return found


def goes_with(cfg: Any, model: Model) -> bool:
    """Whether a run's method works with a model."""
    try:
        model.check_method(cfg.method.name, build_conditioning(cfg, model))
    except UserError:
        return False
    return True


def method_of(name: object) -> Method:
    """The method of a name."""
    check_named("method", name)
    if name not in methods():
        raise UserError(f"no model for method {name} is here; isdiff models lists what there is and how to get it")
    return methods()[str(name)]


@lru_cache
def examples() -> list[Example]:
    """Pictures of datasets that are here."""
    found = []
    for overrides, ends in EXAMPLES.items():
        cfg = compose_run([*overrides])
        with suppress(UserError):  # data of somebody's own in the place of what ships
            dataset = build(cfg.dataset, Dataset)
            ids = [image_id for image_id in dataset.ids() if image_id.endswith(ends)]
            found += [Example(image_id, np.array(dataset.image(image_id)), cfg.model.name) for image_id in ids]
    return found
