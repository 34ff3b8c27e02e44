"""From a composed configuration to objects, every value checked before any work begins."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from isdiff.config.build import build, data_of, filled, resolved, under
from isdiff.config.settings import Output, Runtime, check_settings
from isdiff.criteria.base import Criterion
from isdiff.data.base import Dataset
from isdiff.diffusion.walk import Walk
from isdiff.engine import Engine, calls_expected
from isdiff.errors import UserError
from isdiff.known.base import Known
from isdiff.loggers.base import Logger
from isdiff.masks.base import MaskSource
from isdiff.models.base import Model
from isdiff.models.none import NoModel
from isdiff.priors.base import Prior
from isdiff.priors.conditioning.base import Conditioning
from isdiff.refine import Refinement
from isdiff.samplers.base import Sampler
from isdiff.samplers.fill import Fill
from isdiff.seeds.base import FilledStart, NoiseStart, Seed, SeededStart, Start

PIXELS = 1 << 21  # in the loop with a model of any size, of whose work each takes about half a kilobyte


@dataclass(frozen=True)
class Setup:
    """Everything that a configuration names, built; what results depend on, and how they are made and reported.

    Attributes:
        method: its name.
        prompt: a text for all images, or ``caption``.
        conditioning: how a latent model is asked; None for methods that work on pixels.
        refinement: None lets first attempts run through.
        seed: of the run.
    """

    method: str
    dataset: Dataset
    masks: MaskSource
    model: Model
    conditioning: Conditioning | None
    prompt: str
    walk: Walk
    sampler: Sampler
    known: Known
    start: Start
    refinement: Refinement | None
    output: Output
    seed: int
    runtime: Runtime
    logger: Logger

    @classmethod
    def of(cls, cfg: DictConfig) -> Setup:
        """
        Raises:
            UserError: a key that nobody reads, or a value that cannot work: one sentence with the key, its value and
                what it must be.
        """
        check_settings(cfg)
        way = Way.without_network(cfg) if is_floor(cfg) else Way.of(cfg)
        if way.conditioning is None and (cfg.prompt or cfg.negative_prompt):
            raise UserError(f"prompt is given, but method {cfg.method.name} takes no text")
        dataset, masks = data_of(cfg)
        return cls(
            method=cfg.method.name,
            dataset=dataset,
            masks=masks,
            prompt=cfg.prompt,
            **vars(way),
            output=filled(Output, resolved(cfg.get("output"), "output"), "output"),
            seed=cfg.seed,
            runtime=filled(Runtime, resolved(cfg.get("runtime"), "runtime"), "runtime"),
            logger=build(cfg.get("logger"), Logger),
        )

    def fingerprint(self, precision: str, compiled: bool = False) -> dict[str, Any]:
        """What results depend on, ready for JSON: what each object says of itself, and the run's own numbers."""
        if not self.asks:
            return {
                "dataset": self.dataset.fingerprint(),
                "mask": self.masks.fingerprint(),
                "start": self.start.fingerprint(),
                "output": self.output.fingerprint(),
                "seed": self.seed,
            }
        asked = {} if self.conditioning is None else {"latent": self.conditioning.fingerprint(), "prompt": self.prompt}
        return {
            "dataset": self.dataset.fingerprint(),
            "mask": self.masks.fingerprint(),
            "model": self.model.fingerprint(),
            **asked,
            "steps": self.walk.fingerprint(),
            "sampler": self.sampler.fingerprint(),
            "known": self.known.fingerprint(),
            "start": self.start.fingerprint(),
            "refinement": self.refinement and self.refinement.fingerprint(),
            "output": self.output.fingerprint(),
            "seed": self.seed,
            "precision": precision,
            **({"compiled": True} if compiled else {}),
            "pad_to": self.pad_to(compiled),  # other batch shapes, other last bits
        }

    @property
    def asks(self) -> bool:
        """Whether a network is asked; without one the model, the steps and the precision play no part."""
        return self.sampler.calls_per_step > 0

    def pad_to(self, compiled: bool) -> int:
        """What batches are filled up to a multiple of: a compiled network always sees as many images."""
        return self.runtime.slots if compiled else self.runtime.pad_to

    def calls_expected(self) -> int:
        """Network calls of an image whose first attempt passes."""
        return calls_expected(self.walk.plan, self.start, self.walk.grid(self.model.schedule), self.sampler)

    def engine(self, prior: Prior, **options: Any) -> Engine:
        """The engine around ``prior``; further options are the engine's."""
        return Engine(
            prior,
            self.walk.grid(self.model.schedule),
            self.sampler,
            self.known,
            self.walk.plan,
            start=self.start,
            refinement=self.refinement,
            batch_size=self.runtime.slots,
            pixels=float("inf") if self.model.image_size else PIXELS,
            run_seed=self.seed,
            **options,
        )

    @property
    def label(self) -> str:
        """The method's name for folders and tables: ``ddnm``, ``ddnm+isdiff``, ``ddnm+seed_only``, ..."""
        if not self.asks:
            return self.method
        seeded = not isinstance(self.start, NoiseStart)
        suffix = {(False, False): "", (True, True): "+isdiff", (True, False): "+seed_only"}
        careful = "+careful" if self.refinement is not None and self.refinement.margin else ""
        return self.method + suffix.get((seeded, self.refinement is not None), "+refine_only") + careful

    @property
    def title(self) -> str:
        """The method with how far it goes: ``ddnm, 100 steps, resampling (10, 10)``."""
        return f"{self.label}, {self.steps}"

    @property
    def steps(self) -> str:
        """How far it goes, for people."""
        return str(self.walk) if self.asks else "no steps"


@dataclass(frozen=True)
class Way:
    """The parts of a :class:`Setup` that make a picture."""

    model: Model
    conditioning: Conditioning | None
    walk: Walk
    sampler: Sampler
    known: Known
    start: Start
    refinement: Refinement | None

    @classmethod
    def of(cls, cfg: DictConfig) -> Way:
        """
        Raises:
            UserError: a value that cannot work, alone or with the others.
        """
        walk, sampler = build_steps(cfg)
        model = build(cfg.get("model"), Model)
        with under("sampler"):
            sampler.check(walk.grid(model.schedule))
        conditioning = build_conditioning(cfg, model)
        model.check_method(cfg.method.name, conditioning)
        if sampler.pulls and not model.differentiable:
            raise UserError(
                f"method {cfg.method.name} needs gradients, which model {model.name} has not; give another model"
            )
        start, refinement = build_isdiff(cfg)
        if conditioning is not None and isinstance(start, SeededStart) and start.seed.pictures_only:
            raise UserError(f"this seed fills pictures, and method {cfg.method.name} works on latents; isdiff/seed=gmm")
        return cls(model, conditioning, walk, sampler, build(cfg.method.get("known"), Known), start, refinement)

    @classmethod
    def without_network(cls, cfg: DictConfig) -> Way:
        """For a method that is a seed alone. Model and steps are checked and left out.

        Raises:
            UserError: a value that cannot work, or IS-Diff, which needs a network.
        """
        build_steps(cfg)
        build(cfg.get("model"), Model)
        start, refinement = build_isdiff(cfg)
        if not isinstance(start, NoiseStart) or refinement is not None:
            raise UserError(f"method {cfg.method.name} asks no network, which IS-Diff needs; leave isdiff=off")
        filled = FilledStart(build(cfg.method.fill, Seed))
        return cls(NoModel(), None, Walk(steps=1), Fill(), Known(), filled, None)


def is_floor(cfg: DictConfig) -> bool:
    """Whether the method fills holes by itself and needs no model."""
    return cfg.method.get("fill") is not None


def build_steps(cfg: DictConfig) -> tuple[Walk, Sampler]:
    """The two halves of ``sampler``: which levels are visited, and how one gets from each to the next."""
    sampler = build(cfg.get("sampler"), Sampler)
    values = resolved(cfg.sampler, "sampler")
    return filled(Walk, {key: values[key] for key in Sampler.labels if key in values}, "sampler"), sampler


def build_conditioning(cfg: DictConfig, model: Model) -> Conditioning | None:
    """How the method asks ``model``, which must be a latent one; None for methods that work on pixels."""
    if cfg.get("latent") is None:
        return None
    if resolved(cfg.latent, "latent").get("guidance_scale") != "auto":
        return build(cfg.latent, Conditioning, negative_prompt=cfg.negative_prompt)
    node = cfg.latent.copy()
    asked = cfg.prompt or cfg.negative_prompt or node.get("task")
    node.guidance_scale = model.text_guidance if asked else 1.0
    return build(node, Conditioning, negative_prompt=cfg.negative_prompt)


def build_isdiff(cfg: DictConfig) -> tuple[Start, Refinement | None]:
    """Where attempts begin and how they are judged. What is switched off is built, to check it, and left out.

    Raises:
        UserError: a value that cannot work, alone or with the others.
    """
    node = cfg.isdiff
    seeded = build(node.get("start"), Start, seed=build(node.get("seed"), Seed))
    start: Start = seeded if node.seed.get("enabled", True) else NoiseStart()
    refinement = build(node.get("refine"), Refinement, criterion=build(node.get("criterion"), Criterion))
    if not node.refine.get("enabled", True):
        return start, None
    last = start.fraction(refinement.attempts - 1)
    if last <= refinement.checkpoint:
        raise UserError(
            f"the last of {refinement.attempts} attempts would start at {last:.3g} of T, not above the checkpoint at "
            f"{refinement.checkpoint}: lower isdiff.start.lambda, isdiff.refine.attempts or isdiff.refine.checkpoint"
        )
    return start, refinement


def config_hash(kept: dict[str, Any]) -> str:
    """Eight hex digits that name what results depend on."""
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]
