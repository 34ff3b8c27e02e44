"""From a composed configuration to objects, every value checked before any work begins."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from isdiff.component import plain
from isdiff.config.build import as_dict, build, fill, resolved, under
from isdiff.config.metrics import configured_metrics
from isdiff.config.settings import KEYS, TEXTS, VALUES, Output, Runtime, check_settings, text_of
from isdiff.data.base import Dataset
from isdiff.diffusion.schedule import TimestepPlan
from isdiff.engine import Engine, calls_expected
from isdiff.errors import UserError
from isdiff.known import KnownRegion
from isdiff.loggers.base import Logger
from isdiff.masks.base import MaskSource
from isdiff.method import Method
from isdiff.metrics.base import Metric
from isdiff.models.base import Model, NoModel
from isdiff.paths import placed
from isdiff.priors.base import Prior
from isdiff.priors.conditioning import Conditioning
from isdiff.refine import Criterion, Refinement
from isdiff.samplers.base import Fill, Sampler
from isdiff.seeds.base import FilledStart, NoiseStart, Seed, SeededStart, Start

PLAIN = {"_target_": "isdiff.priors.conditioning.Conditioning", "guidance_scale": "auto"}
PIXELS = 1 << 21  # in the loop with a model of any size, of whose work each takes about half a kilobyte


@dataclass(frozen=True, kw_only=True)
class Setup(Method):
    """A method with all else that a configuration names: data, model, and how results are made and reported."""

    config: Mapping[str, Any]  # every value, looked up
    seed: int
    prompt: str  # a text for all images, or ``caption``
    limit: int | None  # how many images of the dataset, its first; None for all
    dataset: Dataset
    masks: MaskSource
    model: Model
    output: Output
    runtime: Runtime
    logger: Logger

    @classmethod
    def of(cls, cfg: DictConfig, method: Method | None = None, model: Model | None = None, **texts: str) -> "Setup":
        """Build what ``cfg`` describes, checked; a value that cannot work is one sentence with its key.

        Args:
            method, model: objects in the place of the configuration's; it has their names.
            texts: ``prompt`` and ``negative_prompt`` as they are, in the place of the configuration's, which may name
                files: see :func:`isdiff.config.settings.text_of`.
        """
        if spare := [key for key in map(str, cfg) if key not in KEYS]:
            raise UserError(f"{spare[0]} is no key of a run; there are {', '.join(KEYS)}")
        if absent := [key for key in VALUES if key not in cfg]:
            raise UserError(f"{absent[0]} is missing; give {absent[0]}=...")
        typed = as_dict(cfg, resolve=False)  # prompts are taken literally
        texts = {key: texts[key] if key in texts else text_of(typed[key]) for key in TEXTS}
        values = resolved(OmegaConf.merge(cfg, dict.fromkeys(TEXTS, ""))) | texts
        check_settings(values)
        model, method = without_network(values) if is_floor(values) else with_network(values, method, model)
        if method.conditioning is None and any(texts.values()):
            raise UserError(f"prompt is given, but method {values['method']['name']} takes no text")
        dataset, masks = build(values.get("dataset"), Dataset, "dataset"), build(values.get("mask"), MaskSource, "mask")
        root, drawn = placed(values["output_root"]), getattr(masks, "path", None)
        dataset.pass_over([root, root / dataset.name, *([drawn] if drawn else [])])  # they are none of its images
        return cls(
            **vars(method), **{key: values[key] for key in ("seed", "prompt", "limit")},
            config=values, dataset=dataset, masks=masks, model=model,
            output=fill(Output, resolved(values.get("output"), "output"), "output"),
            runtime=fill(Runtime, resolved(values.get("runtime"), "runtime"), "runtime"),
            logger=build(values.get("logger"), Logger, "logger"),
        )  # fmt: skip

    @classmethod
    def again(cls, config: Mapping[str, Any]) -> "Setup":
        """Build the setup whose ``config`` this is, in another process."""
        cfg = OmegaConf.create({**config, **dict.fromkeys(TEXTS, "")})
        return cls.of(cfg, **{key: config[key] for key in TEXTS})

    @property
    def names(self) -> tuple[str, str]:
        return self.config["dataset"]["name"], self.config["mask"]["name"]

    @property
    def folder(self) -> Path:
        return placed(self.config["output_root"]) / self.names[0]

    @cached_property
    def metrics(self) -> list[Metric]:
        return configured_metrics(self.config)

    def fingerprint(self, precision: str, compiled: bool = False) -> dict[str, Any]:
        """What results depend on, ready for JSON: what each object says of itself, and the run's own numbers."""
        parts: dict[str, Any] = {"dataset": self.dataset, "mask": self.masks, "start": self.start}
        parts |= {"output": self.output, "seed": self.seed}
        if self.asks:
            parts |= {"model": self.model, "steps": self.steps, "sampler": self.sampler, "known": self.known}
            parts |= {"refinement": self.refinement, "precision": precision}
            parts["pad_to"] = self.pad_to(compiled)  # other batch shapes, other last bits
            if self.conditioning is not None:
                parts |= {"latent": self.conditioning, "prompt": self.prompt}
            if compiled:
                parts["compiled"] = True
        return plain(parts)

    @property
    def asks(self) -> bool:
        """Whether a network is asked; without one the model, the steps and the precision play no part."""
        return self.sampler.calls_per_step > 0

    def pad_to(self, compiled: bool) -> int:
        """What batches are filled up to a multiple of: a compiled network always sees as many images."""
        return self.runtime.slots if compiled else self.runtime.pad_to

    def calls_expected(self) -> int:
        """Network calls of an image whose first attempt passes."""
        return calls_expected(self.steps.plan, self.start, self.steps.grid(self.model.schedule), self.sampler)

    def engine(self, prior: Prior, **options: Any) -> Engine:
        return Engine(
            prior, self.steps.grid(self.model.schedule), self.sampler, self.known, self.steps.plan,
            start=self.start, refinement=self.refinement, batch_size=self.runtime.slots, run_seed=self.seed,
            pixels=float("inf") if self.model.image_size else PIXELS, **options,
        )  # fmt: skip

    @property
    def label(self) -> str:
        """The method's name for folders and tables: ``ddnm``, ``ddnm+isdiff``, ``ddnm+seed_only``, ..."""
        name: str = self.config["method"]["name"]
        seeded, judged = not isinstance(self.start, NoiseStart), self.refinement is not None
        if self.asks:
            name += ("+isdiff" if judged else "+seed_only") if seeded else "+refine_only" * judged
        return name + "+careful" * bool(self.refinement and self.refinement.margin)

    @property
    def length(self) -> str:
        return str(self.steps) if self.asks else "no steps"

    @property
    def title(self) -> str:
        return f"{self.label}, {self.length}"


def with_network(cfg: Mapping[str, Any], method: Method | None, model: Model | None) -> tuple[Model, Method]:
    """Build the model and the method; objects go in the place of the configuration's."""
    model, name = model or build(cfg.get("model"), Model, "model"), cfg["method"]["name"]
    if method is None:
        steps, sampler = build_steps(cfg)
        known = build(cfg["method"].get("known"), KnownRegion, "method.known")
        method = Method(sampler, known, steps, *build_isdiff(cfg), build_conditioning(cfg, model), name)
    start = method.start
    with under("sampler"):
        method.sampler.check(method.steps.grid(model.schedule))
    model.check_method(name, method.conditioning)
    if method.sampler.pulls and not model.differentiable:
        raise UserError(f"method {name} needs gradients, which model {model.name} has not; give another model")
    if method.conditioning is not None and isinstance(start, SeededStart) and start.seed.pictures_only:
        raise UserError(f"this seed fills pictures, and method {name} works on latents; isdiff/seed=gmm")
    return model, method


def without_network(cfg: Mapping[str, Any]) -> tuple[Model, Method]:
    """Build a method that is a seed alone. Model and steps are checked and left out."""
    build_steps(cfg)
    build(cfg.get("model"), Model, "model")
    start, refinement = build_isdiff(cfg)
    if not isinstance(start, NoiseStart) or refinement is not None:
        raise UserError(f"method {cfg['method']['name']} asks no network, which IS-Diff needs; leave isdiff=off")
    start = FilledStart(build(cfg["method"]["fill"], Seed, "method.fill"))
    return NoModel(), Method(Fill(), KnownRegion(), TimestepPlan(steps=1), start)


def is_floor(cfg: Mapping[str, Any]) -> bool:
    """Tell whether the method fills holes by itself and needs no model."""
    return cfg["method"].get("fill") is not None


def build_steps(cfg: Mapping[str, Any]) -> tuple[TimestepPlan, Sampler]:
    """Build the two halves of ``sampler``: which levels are visited, and how one gets from each to the next."""
    sampler = build(cfg.get("sampler"), Sampler, "sampler")
    values = resolved(cfg["sampler"])
    return fill(TimestepPlan, {key: values[key] for key in Sampler.labels if key in values}, "sampler"), sampler


def build_conditioning(cfg: Mapping[str, Any], model: Model) -> Conditioning | None:
    """Build how the method asks ``model``: as ``latent`` says, or one that draws from texts with a plain prompt.

    None for methods that work on pixels.
    """
    if cfg.get("latent") is None and not model.takes_text:
        return None
    node = resolved(PLAIN if cfg.get("latent") is None else cfg["latent"], "latent")
    if cfg.get("latent") is not None and model.takes_text and not model.sees_hole:
        raise UserError(
            f"method {cfg['method']['name']} leaves the known region to the network, but that of model {model.name} "
            "receives no mask; give method=blended or another that keeps it"
        )
    if node.get("guidance_scale") == "auto":
        asked = any(cfg[key] for key in TEXTS) or node.get("task")
        node["guidance_scale"] = model.text_guidance if asked else 1.0
    return build(node, Conditioning, "latent", negative_prompt=cfg["negative_prompt"])


def build_isdiff(cfg: Mapping[str, Any]) -> tuple[Start, Refinement | None]:
    """Build where attempts begin and how they are judged. What is switched off is built, to check it, and left out."""
    node = cfg["isdiff"]
    seed = build(node.get("seed"), Seed, "isdiff.seed")
    seeded = build(node.get("start"), Start, "isdiff.start", seed=seed)
    start: Start = seeded if node["seed"].get("enabled", True) else NoiseStart()
    criterion = build(node.get("criterion"), Criterion, "isdiff.criterion")
    refinement = build(node.get("refine"), Refinement, "isdiff.refine", criterion=criterion)
    if not node["refine"].get("enabled", True):
        return start, None
    last = start.fraction(refinement.attempts - 1)
    if last <= refinement.checkpoint:
        raise UserError(
            f"the last of {refinement.attempts} attempts would start at {last:.3g} of T, not above the checkpoint at "
            f"{refinement.checkpoint}: lower isdiff.start.lambda, isdiff.refine.attempts or isdiff.refine.checkpoint"
        )
    return start, refinement


def config_hash(kept: dict[str, Any]) -> str:
    """Return eight hex digits that name what results depend on."""
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]
