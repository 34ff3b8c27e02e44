"""From a composed configuration to objects, with every value checked before any work begins."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.process import named_betas
from isdiff.diffusion.timesteps import (
    leading_timesteps,
    resampling_plan,
    spaced_timesteps,
    trailing_timesteps,
)
from isdiff.engine import Engine
from isdiff.errors import UserError
from isdiff.io.fingerprint import weights_fingerprint
from isdiff.known.base import Known
from isdiff.priors.base import Prior
from isdiff.priors.conditioning.base import Conditioning
from isdiff.priors.text import TextEncoder
from isdiff.refine import CrossEntropy, Refinement
from isdiff.samplers.base import Sampler
from isdiff.seeds.base import NoiseStart, SeededStart, Start
from isdiff.seeds.distributions import build_seed

T = TypeVar("T")


def named_class(target: Any, base: type[T]) -> type[T]:
    """The class that a ``_target_`` names.

    Raises:
        UserError: it is not a class of this package, or not of the kind that belongs there. Nothing else is ever
            called, so a configuration from somewhere cannot start what it likes.
    """
    module, _, name = str(target).rpartition(".")
    refusal = UserError(f"_target_ is {target!r}; only a {base.__name__} of isdiff can be named there")
    if module.split(".")[0] != "isdiff" or not all(part.isidentifier() for part in (*module.split("."), name)):
        raise refusal
    try:
        cls = getattr(import_module(module), name, None)
    except ImportError:
        raise refusal from None
    if not (isinstance(cls, type) and issubclass(cls, base) and cls.__module__.split(".")[0] == "isdiff"):
        raise refusal
    return cls


def build(node: DictConfig, base: type[T], labels: Sequence[str] = ("name", "features"), **given: Any) -> T:
    """The object that a node with a ``_target_`` describes, a ``base`` of this package; other keys are its arguments.

    Args:
        labels: keys that may label the node; they are handed to classes that take them.
        given: arguments that come from elsewhere, in the place of the node's.
    Raises:
        UserError: a key that the class does not take, or a value that it refuses.
    """
    try:
        values = as_dict(node, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value; give {error.full_key}=...") from None
    cls = named_class(values.pop("_target_", None), base)
    takes = inspect.signature(cls).parameters
    if unknown := [key for key in values if key not in takes and key not in labels]:
        raise UserError(f"{unknown[0]} is no argument of {cls.__name__}, which takes {', '.join(takes) or 'none'}")
    try:
        return cls(**({key: value for key, value in values.items() if key in takes} | given))
    except (ValueError, TypeError) as error:
        raise UserError(f"{cls.__name__}: {error}" if isinstance(error, TypeError) else str(error)) from None


def as_dict(cfg: DictConfig, **options: Any) -> dict[str, Any]:
    """``OmegaConf.to_container`` of a node with keys."""
    found = OmegaConf.to_container(cfg, **options)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check(cfg: DictConfig) -> None:
    """Refuse values that cannot work.

    Raises:
        UserError: one sentence with the key, its value and what it must be.
    """
    choices: list[tuple[str, Sequence[Any]]] = [
        ("output.composite", ("paste", "blend", "raw")),
        ("sampler.spacing", ("leading", "trailing", "linspace")),
        ("isdiff.seed.kind", ("gmm", "gaussian", "mean", "oracle")),
        ("isdiff.refine.direction", ("hole", "known")),
        ("runtime.precision", ("fp32", "bf16", "fp16", "auto")),
        ("logger.kind", ("none", "wandb")),
        ("model.noise_schedule", ("linear", "scaled_linear", "cosine")),
    ]
    counts = [
        "sampler.steps", "sampler.jump", "sampler.repeat", "isdiff.seed.components", "isdiff.seed.scale",
        "isdiff.seed.max_pixels", "isdiff.refine.attempts", "isdiff.refine.bins", "runtime.batch_size",
        "runtime.workers", "runtime.pad_to", "model.num_timesteps", "model.image_size",
    ]  # fmt: skip
    for group in ("dataset", "mask", "method", "model"):
        name = OmegaConf.select(cfg, f"{group}.name")
        plain = isinstance(name, str) and re.fullmatch(r"[\w][\w.+-]{0,99}", name)
        require(bool(plain), f"{group}.name is {name!r}; it names folders: letters, digits, '_', '-', '+' and '.' only")
    for key in ("isdiff.seed.enabled", "isdiff.refine.enabled", "runtime.compile", "metrics.download"):
        value = OmegaConf.select(cfg, key, default=False)
        require(isinstance(value, bool), f"{key} is {value!r}; it must be true or false")
    for key, allowed in choices:
        value = OmegaConf.select(cfg, key)
        require(value in allowed, f"{key} is {value!r}; it must be one of {', '.join(map(str, allowed))}")
    for key in counts:
        value = OmegaConf.select(cfg, key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        require(whole and value >= 1, f"{key} is {value!r}; it must be a whole number of at least 1")
    for key in ("isdiff.seed.start", "isdiff.refine.checkpoint"):
        value = OmegaConf.select(cfg, key)
        require(is_number(value) and 0 <= value <= 1, f"{key} is {value!r}; it must be between 0 and 1")
    refine = [f"isdiff.refine.{key}" for key in ("lambda", "tau", "texture", "smoothing")]
    for key in (*refine, "output.seam"):
        value = OmegaConf.select(cfg, key)
        require(is_number(value) and value >= 0, f"{key} is {value!r}; it must be a number of at least 0")
    check_latent(cfg)
    scale = cfg.model.get("guidance_scale", 0)
    require(is_number(scale) and scale >= 0, f"model.guidance_scale is {scale!r}; it must be a number of at least 0")
    require(cfg.isdiff.refine.smoothing > 0, "isdiff.refine.smoothing is 0; it must be above 0, or DCE can be infinite")
    whole = isinstance(cfg.seed, int) and not isinstance(cfg.seed, bool)
    require(whole, f"seed is {cfg.seed!r}; it must be a whole number")
    limited = cfg.limit is None or (isinstance(cfg.limit, int) and cfg.limit >= 1)
    require(limited, f"limit is {cfg.limit!r}; it must be a whole number of at least 1, or null for all images")
    if cfg.isdiff.refine.enabled:
        last = last_start(cfg)
        require(
            last > cfg.isdiff.refine.checkpoint,
            f"the last of {cfg.isdiff.refine.attempts} attempts would start at {last:.3g} of T, not above the "
            f"checkpoint at {cfg.isdiff.refine.checkpoint}: lower isdiff.refine.lambda, attempts or checkpoint",
        )


def check_latent(cfg: DictConfig) -> None:
    kind = cfg.model.get("kind", "pixel")
    name = cfg.method.name
    if cfg.get("latent") is None:
        require(kind == "pixel", f"method {name} works on pixels; model {cfg.model.name} is a latent model")
        require(not cfg.prompt and not cfg.negative_prompt, f"prompt is given, but method {name} takes no text")
        return
    latent_models = "avatars64_latent, sd2_inpainting, sd15_inpainting or powerpaint"
    require(kind == "latent", f"method {name} needs a latent model: model={latent_models}, not {cfg.model.name}")
    build_conditioning(cfg, None)


GUIDED = 7.5  # guidance_scale that "auto" means where there is text, unless model.text_guidance says otherwise


def build_conditioning(cfg: DictConfig, text: TextEncoder | None) -> Conditioning:
    """How a latent method asks its model, of whose pipeline ``text`` is the encoder."""
    scale = cfg.latent.guidance_scale
    if scale == "auto":
        asked = cfg.prompt or cfg.negative_prompt or cfg.latent.get("task")
        scale = cfg.model.get("text_guidance", GUIDED) if asked else 1.0
    given = {"guidance_scale": scale, "negative_prompt": cfg.negative_prompt, "text": text}
    return build(cfg.latent, Conditioning, **given)


def text_of(value: Any) -> str:
    """A prompt: ``@path`` is the text in a file (``@@...`` a text that begins with @), null none.

    In a file a text may hold what shells and Hydra's grammar have other uses for: quotes, commas, braces, ``=``.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    text = "" if value is None else str(value)
    if text.startswith("@@"):
        return text[1:]
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):
        raise UserError(f"prompt={text}: there is no text file {path}") from None


def with_texts(cfg: DictConfig) -> DictConfig:
    """The configuration with its prompts read from their files."""
    cfg = cfg.copy()
    for key in ("prompt", "negative_prompt"):
        cfg[key] = text_of(as_dict(cfg, resolve=False)[key]).replace("${", "\\${")
    return cfg


def last_start(cfg: DictConfig) -> float:
    first = cfg.isdiff.seed.start if cfg.isdiff.seed.enabled else 1.0
    return first - (cfg.isdiff.refine.attempts - 1) * cfg.isdiff.refine["lambda"] * cfg.isdiff.seed.enabled


def build_grid(cfg: DictConfig) -> Grid:
    """The grid of timesteps of ``sampler`` on the process of ``model``."""
    total, steps = cfg.model.num_timesteps, cfg.sampler.steps
    require(steps <= total, f"sampler.steps is {steps}; the model has only {total} timesteps")
    spaced = {
        "leading": lambda: leading_timesteps(total, steps),
        "trailing": lambda: trailing_timesteps(total, steps),
        "linspace": lambda: spaced_timesteps(total, str(steps)),
    }[cfg.sampler.spacing]()
    try:
        return Grid.of(named_betas(cfg.model.noise_schedule, total), spaced)
    except ValueError as error:
        raise UserError(f"model.num_timesteps is {total}: {error}") from None


SCHEDULE = ("steps", "spacing", "jump", "repeat")  # keys of a sampler's node that say which levels it visits


def build_sampler(cfg: DictConfig) -> Sampler:
    return build(cfg.sampler, Sampler, labels=SCHEDULE)


def build_known(cfg: DictConfig) -> Known:
    """
    Raises:
        UserError: the method has keys that nobody reads.
    """
    if spare := sorted(set(cfg.method) - {"name", "known"}):
        raise UserError(
            f"method.{spare[0]} is no key of a method; settings of its steps are sampler's, such as sampler.eta"
        )
    return build(cfg.method.known, Known)


def build_start(cfg: DictConfig) -> Start:
    s = cfg.isdiff.seed
    if not s.enabled:
        return NoiseStart()
    return SeededStart(build_seed(s.kind, s.components, s.scale, s.max_pixels), s.start, cfg.isdiff.refine["lambda"])


def build_refinement(cfg: DictConfig) -> Refinement | None:
    r = cfg.isdiff.refine
    if not r.enabled:
        return None
    measure = CrossEntropy(r.bins, r.smoothing, r.texture, r.direction)
    return Refinement(measure, r.attempts, r.tau, r.checkpoint)


def build_engine(cfg: DictConfig, prior: Prior, **options: Any) -> Engine:
    """The engine that ``cfg`` describes, around ``prior``; further options are the engine's."""
    loop = (cfg.sampler.jump, cfg.sampler.repeat)
    return Engine(
        prior,
        build_grid(cfg),
        build_sampler(cfg),
        build_known(cfg),
        lambda steps: resampling_plan(steps, loop),
        start=build_start(cfg),
        refinement=build_refinement(cfg),
        batch_size=cfg.runtime.batch_size,
        run_seed=cfg.seed,
        **options,
    )


def method_label(cfg: DictConfig) -> str:
    """The method's name for folders and tables: ``ddnm``, ``ddnm+isdiff``, ``ddnm+seed_only``, ..."""
    toggles = (bool(cfg.isdiff.seed.enabled), bool(cfg.isdiff.refine.enabled))
    suffix = {(False, False): "", (True, True): "+isdiff", (True, False): "+seed_only", (False, True): "+refine_only"}
    return cfg.method.name + suffix[toggles]


def result_config(cfg: DictConfig, precision: str) -> dict[str, Any]:
    """The part of the configuration that results depend on; keys that are switched off count as absent."""
    names = ("dataset", "mask", "model", "method", "sampler", "isdiff", "output")
    try:
        full = as_dict(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key} has no value; give {error.full_key}=...") from None
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration does not resolve: {error}") from None
    kept: dict[str, Any] = {name: full[name] for name in names}
    kept |= {"seed": full["seed"], "precision": precision, "pad_to": full["runtime"]["pad_to"]}
    kept["model"]["fingerprint"] = fingerprint(full["model"])
    if full.get("latent") is not None:
        kept |= {key: full[key] for key in ("latent", "prompt", "negative_prompt")}
    seed, refine = kept["isdiff"]["seed"], kept["isdiff"]["refine"]
    step = refine["lambda"]
    kept["isdiff"] = {
        "seed": seed if seed["enabled"] else None,
        "refine": {**refine, "lambda": step if seed["enabled"] else None} if refine["enabled"] else None,
    }
    if kept["sampler"]["repeat"] == 1:
        del kept["sampler"]["jump"]
    if kept["output"]["composite"] != "blend":
        del kept["output"]["seam"]
    # Where files lie does not change what is in them.
    for group, key in (
        *(("dataset", key) for key in ("root", "features")),
        *(("model", key) for key in ("weights", "how", "isdiff", "revision", "variant")),
    ):
        kept[group].pop(key, None)
    if kept["model"].get("classifier"):
        guide = kept["model"]["classifier"]
        kept["model"]["classifier"] = fingerprint(guide) if kept["model"]["guidance_scale"] else None
    return kept


def fingerprint(model: dict[str, Any]) -> str:
    """What identifies the content of a model's weights: other weights, other results."""
    return weights_fingerprint(
        str(model["weights"]), name=model["name"], revision=model.get("revision"), variant=model.get("variant")
    )


def config_hash(kept: dict[str, Any]) -> str:
    """Eight hex digits that name a result configuration."""
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]
