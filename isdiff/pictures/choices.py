"""What people choose for their own pictures, as the configuration of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from isdiff.checks import check_side, check_text, check_whole
from isdiff.config.build import named_class
from isdiff.config.composing import compose_run
from isdiff.config.nodes import Config
from isdiff.config.search_path import config_names
from isdiff.errors import UserError
from isdiff.method import Method
from isdiff.models.base import Model
from isdiff.samplers.base import Sampler

OWN_MODEL, WITH_GRADIENTS = "patches", "photos64"  # of pixel methods, where none is named
STEPS = 50  # of models of any size, where nobody says how many
SIZE_UNIT = 32  # sides that every network here can work at are multiples of it
ARGUMENTS = ("seed", "prompt", "negative_prompt", "method", "model", "limit")
CALLERS = ("dataset", "mask", "output", "output_root")  # images, masks and results are
METHODS = ("sampler", "isdiff", "latent")  # are parts of a method that is an object


def compose_pictures(
    method: str | Method, model: str | Model | None, steps: int | None, size: int | None, overrides: Sequence[str]
) -> Config:
    """Compose the run that fills pictures; of objects it has the names and what other values follow from.

    Arguments are those of :class:`isdiff.pictures.jobs.Inpainter`.
    """
    listed = isinstance(overrides, Sequence) and not isinstance(overrides, str)
    if not listed or not all(isinstance(override, str) for override in overrides):
        raise UserError(f'overrides is {overrides!r}; it must be a list such as ["sampler.steps=25"]')
    taken = CALLERS + METHODS * isinstance(method, Method) + ("model",) * isinstance(model, Model)
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in ARGUMENTS or re.split("[./]", key)[0] in taken:
            raise UserError(f"{override} is no override here: {key} has an argument of its own, or is for runs")
    names = [] if isinstance(method, Method) else [f"method={check_named('method', method)}"]
    if model is None:
        model = own_model(method if isinstance(method, Method) else compose_run(names))
    if hasattr(model, "predict"):
        raise UserError("a prior does not say its images' size; make a model of it: isdiff.LoadedModel(prior, 64)")
    if not isinstance(model, Model):
        names.append(f"model={check_named('model', model)}")
    cfg = compose_run([*names, *overrides])
    if isinstance(method, Method):
        cfg.method = {"name": method.name}
    if isinstance(model, Model):
        suited = dict(model.arguments.get("isdiff") or {})
        cfg.model = {"name": model.name, "image_size": model.image_size, "isdiff": suited}
    of_any_size = cfg.model.get("image_size") is None
    if steps is None and of_any_size and not any(given.startswith("sampler.steps=") for given in overrides):
        steps = STEPS
    if steps is not None:
        check_whole("steps", steps)
        cfg.sampler.steps = steps
    if size is not None:
        check_side("size", size)
        if size % SIZE_UNIT or of_any_size or isinstance(model, Model):
            what = f"it must be a multiple of {SIZE_UNIT}, for the name of a network"
            raise UserError(f"size is {size}; {what}, and model {cfg.model.name} may have a size of its own")
        cfg.model.image_size = size
    if cfg.runtime.workers != 1 or "auto" in (cfg.runtime.batch_size, cfg.runtime.compile):
        raise UserError("runtime.workers, and auto for runtime.batch_size or compile, are for runs over a dataset")
    return cfg


def own_model(method: Config | Method) -> str:
    """The model of a method, or of a run's configuration, for people's own pictures, where none is named."""
    if isinstance(method, Method):
        if method.conditioning is not None:
            raise UserError(f"method {method.name} works on latents; give its model")
        return WITH_GRADIENTS if method.sampler.pulls else OWN_MODEL
    if method.get("latent") is not None:
        return str(method.model.name)
    return WITH_GRADIENTS if named_class(method.sampler.get("_target_"), Sampler).pulls else OWN_MODEL


def check_named(group: str, name: object) -> str:
    """Return a name that a configuration in the group has; refuse others."""
    check_text(group, name)
    names = config_names(group)
    if name not in names:
        raise UserError(f"there is no {group} {name!r}; there are {', '.join(names)}")
    return str(name)
