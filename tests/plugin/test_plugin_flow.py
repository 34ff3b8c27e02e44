"""``isdiff.apply`` on pipelines of rectified flow: Stable Diffusion 3, Flux and Flux Fill, tiny and random."""

import copy

import pytest
import torch
from conftest import images_of
from flow_parts import FLOWS, PROMPT, SHIFTING, grid_of, picture_of, prior_of, stock
from flow_parts import half as hole_of
from plugin_parts import MAKERS, STEPS, call, seeded

import isdiff
from isdiff.diffusion.schedule import resampling_plan
from isdiff.engine import Engine
from isdiff.errors import UserError
from isdiff.known import Blended, KnownRegion
from isdiff.plugin.pipelines import Kind, StableDiffusion3
from isdiff.refine import CrossEntropy, Refinement
from isdiff.samplers.solvers import DDIM
from isdiff.seeds.base import SeededStart
from isdiff.seeds.distributions import MeanSeed
from isdiff.trajectory import Task


@pytest.fixture(scope="module", params=["sd3", "flux", "fill"])
def made(request):
    """A pipeline of each kind, of random weights; tests take copies."""
    pipe = MAKERS[request.param]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe(made):
    return copy.deepcopy(made)


@pytest.fixture(scope="module")
def faces():
    return images_of("avatars", 3)


def noise_of(pipe, seed: int = 1) -> torch.Tensor:
    """Noise for one picture, as the pipeline takes its ``latents``."""
    noise = torch.randn(1, 16, 16, 16, generator=seeded(seed)[0])
    return pipe._pack_latents(noise, *noise.shape) if filling(pipe) else noise


def filling(pipe) -> bool:
    return type(pipe).__name__ == "FluxFillPipeline"


def test_defaults_have_the_signal_to_noise_ratio_of_stable_diffusion():
    alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)

    def matched(fraction: float) -> float:
        alpha = alphas[round(fraction * 1000) - 1]
        ratio = ((1 - alpha) / alpha) ** 0.5
        return float(ratio / (1 + ratio))

    theirs, ours = Kind.values, StableDiffusion3.values
    assert ours["checkpoint"] == pytest.approx(matched(theirs["checkpoint"]), abs=1e-3)
    for attempt in range(3):
        begins, expected = (v["start"] - attempt * v["lambda"] for v in (ours, theirs))
        assert begins == pytest.approx(matched(expected), abs=2e-3)


def test_without_a_seed_it_is_the_stock_pipeline_to_the_bit(pipe, faces, posteriors_mean):
    """From the same noise; the masked image's latents are the posterior's mean, so the stock call gets it too."""
    options = {"latents": noise_of(pipe), "strength": 1.0, "output_type": "latent"}
    expected = call(pipe, faces[:1], **options)
    assert torch.equal(call(isdiff.apply(pipe, seed="off", attempts=1), faces[:1], **options), expected)
    assert torch.equal(call(isdiff.remove(pipe), faces[:1], **options), expected)
    other = call(isdiff.apply(pipe, attempts=1), faces[:1], **options)
    assert not torch.allclose(other[..., -8:], expected[..., -8:], atol=1e-2)


@pytest.mark.parametrize("name", FLOWS)
def test_it_is_the_engines_result(name, faces, posteriors_mean):
    """Both attempts, the one that is kept and the picture, where the given picture's hole is blank."""
    pipe = FLOWS[name]()
    pipe.set_progress_bar_config(disable=True)
    isdiff.apply(pipe, seed="mean", attempts=2, tau=0.0, run_seed=1)
    found = stock(name, pipe, faces[0], hole_of(), STEPS, image_ids=["im"])
    prior, values = prior_of(name, pipe), StableDiffusion3.values
    start = SeededStart(MeanSeed(), values["start"], values["lambda"])
    prior.enough = start.enough
    engine = Engine(
        prior, grid_of(prior, name, STEPS), DDIM(), KnownRegion() if name == "flux_fill" else Blended(),
        resampling_plan, start=start, refinement=Refinement(CrossEntropy(), 2, 0.0, values["checkpoint"]), run_seed=1,
    )  # fmt: skip
    result = next(engine.run([prior.prepare(Task("im", faces[0], hole_of()), PROMPT)]))
    made = pipe.isdiff.images[0]
    assert [a.dce for a in made.attempts] == pytest.approx([a.dce for a in result.attempts], abs=1e-3)
    assert made.chosen == result.chosen and made.calls == result.calls
    assert torch.allclose(picture_of(name, result), found, atol=5e-4)


def test_embedded_prompts_and_several_pictures_of_one_image(pipe, faces):
    isdiff.apply(pipe, attempts=2, tau=0.0)
    texts, how = ["a dog", "a cat"], {"device": "cpu", "max_sequence_length": 16}
    if "Flux" in type(pipe).__name__:
        given = dict(zip(["prompt_embeds", "pooled_prompt_embeds"], pipe.encode_prompt(texts, **how), strict=False))
    else:
        names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
        given = dict(zip(names, pipe.encode_prompt(texts, None, None, **how), strict=True))
    expected, found = (
        call(pipe, faces[:2], prompt, num_images_per_prompt=2, generator=seeded(1, 2, 3, 4), **embedded)
        for prompt, embedded in ((texts, {}), (None, given))
    )
    assert torch.allclose(found, expected, atol=1e-5)


def test_levels_are_those_that_the_pipeline_sets(pipe, faces):
    """With a shift by the size of the picture, one given, and sigmas of one's own."""
    if type(pipe).__name__.startswith("StableDiffusion3"):
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **SHIFTING)
    cases = [{"sigmas": [1.0, 0.9, 0.8, 0.5, 0.2]}, {"height": 64, "width": 32}]
    for case in [*cases, *([{"mu": 0.3}] if hasattr(pipe, "text_encoder_3") else [])]:
        found = []
        for start in (isdiff.remove(pipe), isdiff.apply(pipe, seed="off", tau=9.0)):
            steps: list[float] = []
            found.append(steps)

            def note(pipe, step, t, tensors, steps=steps):
                steps.append(float(t))
                return {}

            call(start, faces[:1], strength=1.0, **case, callback_on_step_end=note)
        assert found[0] == found[1] and len(found[0]) == len(case.get("sigmas", range(STEPS)))


def test_refusals(pipe, faces):
    from diffusers import FlowMatchHeunDiscreteScheduler

    isdiff.apply(pipe)
    if filling(pipe):
        with pytest.raises(UserError, match="takes no masked_image_latents"):
            call(pipe, faces[:1], masked_image_latents=torch.zeros(1, 64, 192))
    own = pipe.scheduler
    for scheduler, message in (
        (type(own).from_config(own.config, stochastic_sampling=True), "stochastic_sampling=True"),
        (FlowMatchHeunDiscreteScheduler(), "FlowMatchHeunDiscreteScheduler"),
    ):
        pipe.scheduler = scheduler
        with pytest.raises(UserError, match=message):
            call(pipe, faces[:1])
    isdiff.remove(pipe)
    pipe.transformer.register_to_config(in_channels=33)
    with pytest.raises(UserError, match="takes 33 channels"):
        isdiff.apply(pipe)
