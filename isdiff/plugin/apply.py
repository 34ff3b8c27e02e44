"""``apply`` adds IS-Diff to a diffusers inpainting pipeline, ``remove`` takes it away again."""

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from isdiff.checks import BadValue, check_choice, check_whole
from isdiff.paths import config_folders
from isdiff.plugin.call import Call, Plugin
from isdiff.plugin.pipelines import Kind, kind_of
from isdiff.plugin.tasks import named_arguments
from isdiff.refine import Criterion, CrossEntropy, Refinement
from isdiff.seeds.base import NoiseStart, Seed, SeededStart
from isdiff.seeds.distributions import GaussianSeed, MeanSeed, MixtureSeed, OracleSeed, PositionSeed

Pipeline = TypeVar("Pipeline")

SEEDS: dict[str, type[Seed]] = {
    "gmm": MixtureSeed, "gmm_position": PositionSeed, "gaussian": GaussianSeed, "mean": MeanSeed, "oracle": OracleSeed,
}  # fmt: skip
OFF = "off"


def apply(
    pipe: Pipeline,
    *,
    seed: str | Seed = "gmm",
    start: float | None = None,
    lambda_: float | None = None,
    attempts: int = 3,
    tau: float | None = None,
    checkpoint: float | None = None,
    criterion: Criterion | None = None,
    model: str | None = None,
    run_seed: int | None = None,
) -> Pipeline:
    """Let every call of a diffusers inpainting pipeline begin with IS-Diff's seed and refine it.

    The pipeline is called as before, and answers as before; only its class changes, to a subclass of the same name.
    Afterwards ``pipe.isdiff.images`` says of each image which attempts there were, what their checkpoints said and how
    many network calls it took. What differs from the stock call:

    - The masked image's latents are the posterior's mean, not a sample. A network that is not made for inpainting gets
      the whole image's, with the attempt's noise at every step.
    - ``strength`` stays at its default, as the start step takes its place.
    - With rectified flow (Stable Diffusion 3, Flux, Qwen-Image and others) start, lambda and checkpoint are values of
      sigma; their defaults have the signal-to-noise ratios of those of Stable Diffusion.
    - Generators give one whole number for each image, from which all of its noise follows. Given ``latents`` are the
      noise of the first attempt.
    - ``callback_on_step_end`` sees every step of every attempt, with only the images that take part in it. What it
      changes besides latents is forgotten where an attempt is resumed. After an interrupt nothing is tried again; what
      has passed its checkpoint stays as it was there, which costs one network call.

    Args:
        seed: ``gmm``, ``gaussian``, ``mean``, ``oracle`` (the given image is the truth), ``off`` (pure noise), or a
            seed of :mod:`isdiff.seeds.distributions` with arguments of its own.
        start: start step of the first attempt, as a fraction of the process (with rectified flow, sigma).
        lambda_: by how much lower each further attempt's start step is: less noise, stronger seed.
        attempts: the most for an image; 1 leaves refinement out, and nothing is judged.
        tau: an attempt of which the criterion says at most this passes.
        checkpoint: the step at which attempts are judged, as a fraction of the process.
        criterion: what is measured there, in decoded pictures; DCE by default.
        model: a name in ``configs/model``, whose own start, lambda, tau and checkpoint count where none is given.
        run_seed: in the place of generators. The keyword ``image_ids`` of the call (default: "0", "1", ...) then names
            each image's noise, which is that of ``method=si+isdiff`` for an image of that id and that seed: the same
            attempts, and pictures to float rounding, with a DDIM scheduler whose number of steps divides its process's.

    Returns:
        ``pipe`` itself. If it had the plug-in already, the new options take the place of the old ones.
    """
    kind = kind_of(pipe)
    given = {"start": start, "lambda": lambda_, "tau": tau, "checkpoint": checkpoint}
    values = {**kind.values, **suited_to(model), **{key: value for key, value in given.items() if value is not None}}
    if run_seed is not None:
        check_whole("run_seed", run_seed, low=None)
    if not isinstance(seed, Seed):
        check_choice("seed", seed, (*SEEDS, OFF))
    own = seed if isinstance(seed, Seed) else SEEDS.get(seed, MeanSeed)()
    begins = SeededStart(own, values["start"], values["lambda"])
    refinement = Refinement(criterion or CrossEntropy(), attempts, values["tau"], values["checkpoint"])
    if attempts > 1 and seed != OFF and begins.fraction(attempts - 1) <= refinement.checkpoint:
        raise BadValue(
            f"the last of {attempts} attempts would start at {begins.fraction(attempts - 1):.3g}, not above the "
            f"checkpoint at {refinement.checkpoint}: lower lambda_, attempts or checkpoint"
        )
    plugin = Plugin(NoiseStart() if seed == OFF else begins, refinement if attempts > 1 else None, run_seed)
    remove(pipe)
    pipe.__class__ = with_plugin(type(pipe), kind, plugin)
    return pipe


def remove(pipe: Pipeline) -> Pipeline:
    """Take IS-Diff away from ``pipe``, which is then what it was before; one that has none stays as it is."""
    if isinstance(vars(type(pipe)).get("isdiff"), Plugin):
        pipe.__class__ = type(pipe).__base__  # type: ignore[assignment]
    return pipe


def suited_to(model: str | None) -> dict[str, float]:
    if model is None:
        return {}
    import yaml

    files = {path.stem: path for folder in reversed(config_folders()) for path in (folder / "model").glob("*.yaml")}
    check_choice("model", model, sorted(files))
    return yaml.safe_load(files[model].read_text("utf-8")).get("isdiff") or {}


def restore(cls: Any, kind: type[Kind], plugin: Plugin) -> Any:
    return object.__new__(with_plugin(cls, kind, plugin))


def with_plugin(cls: Any, kind: type[Kind], plugin: Plugin) -> type:
    """A subclass of a pipeline's class, of the same name, so that it is saved and shown as before."""
    stock = cls.__call__

    @functools.wraps(stock)
    @torch.no_grad()
    def call(self: Any, *args: Any, image_ids: Sequence[str] | None = None, **kwargs: Any) -> Any:
        given = named_arguments(stock, self, args, kwargs)
        return Call(self, kind, stock, plugin, given, image_ids).run()

    def reduce(self: Any, protocol: Any) -> tuple:  # for pickle and copy, which find no class of this making
        return restore, (cls, kind, plugin), vars(self)

    def num_timesteps(self: Any) -> int:  # of the attempt, for callbacks that wait for a share of it
        return plugin.behind + cls.num_timesteps.fget(self)

    body = {"__call__": call, "num_timesteps": property(num_timesteps), "isdiff": plugin, "__reduce_ex__": reduce}
    names = {key: getattr(cls, key) for key in ("__module__", "__qualname__", "__doc__")}
    return type(cls.__name__, (cls,), body | names | kind.methods(cls))
