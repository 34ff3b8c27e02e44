"""``isdiff.apply``: IS-Diff inside diffusers' own pipelines, and nothing left of it after ``isdiff.remove``."""

import copy
import pickle

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, images_of
from latent_parts import build_parts, build_pipeline, set_weights
from PIL import Image
from plugin_parts import MAKERS, STEPS, asked, broken, call, half, middling, seeded, state, xl_pipeline

import isdiff
from isdiff.errors import UserError
from isdiff.plugin.scheduler import DIFFUSION
from isdiff.seeds.distributions import MeanSeed


@pytest.fixture(scope="module")
def tiny():
    """A pipeline of random weights; tests take copies."""
    pipe = build_pipeline(*build_parts(100))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe(tiny):
    return copy.deepcopy(tiny)


@pytest.fixture(scope="module")
def faces():
    return images_of("avatars", 3)


@pytest.mark.slow
def test_it_equals_the_engine(eta=0.5):
    """The same decisions at every checkpoint, the same network calls, pictures to 1e-4, from the run's own noise.

    DCE has steps: a pixel that float rounding moves to another bin changes it by about 1e-4.
    """
    from isdiff.config.composing import compose_run
    from isdiff.runs.experiment import Experiment

    experiment = Experiment.of(
        compose_run(
            ["method=si+isdiff", "dataset=avatars", "mask=half", "prompt=red hair", f"sampler.steps={STEPS}",
             f"sampler.eta={eta}", "runtime.precision=fp32", "runtime.device=cpu", "seed=3", "limit=3"]
        )
    )  # fmt: skip
    ids = experiment.ids()
    results = {r.task.id: r for r in experiment.engine().run(experiment.ready(i).task for i in ids)}
    inputs = [experiment.read(image_id) for image_id in ids]
    pipe = experiment.setup.model.pipeline()
    pipe.set_progress_bar_config(disable=True)
    isdiff.apply(pipe, model="avatars64_latent", run_seed=3)
    pictures = call(
        pipe, [Image.fromarray(given.pixels) for given in inputs], ["red hair"] * 3, eta=eta, image_ids=ids,
        mask_image=[Image.fromarray(given.hole) for given in inputs], guidance_scale=3.0,
    )  # fmt: skip
    for image_id, picture, made in zip(ids, pictures, pipe.isdiff.images, strict=True):
        result = results[image_id]
        assert (made.chosen, made.calls) == (result.chosen, result.calls)
        assert [a.start_timestep for a in made.attempts] == [a.start_timestep for a in result.attempts]
        assert [a.dce for a in made.attempts] == pytest.approx([a.dce for a in result.attempts], abs=1e-3)
        assert (2 * picture - 1 - result.picture).abs().max() < 1e-4
    assert {len(made.attempts) for made in pipe.isdiff.images} == {1, 2, 3}, "some pass, some are tried again"


def test_defaults_are_those_of_the_configurations():
    from isdiff.config.build import named_class
    from isdiff.config.composing import compose_run
    from isdiff.config.setup import build_isdiff
    from isdiff.plugin.apply import SEEDS
    from isdiff.seeds.base import Seed

    pipe = build_pipeline(*build_parts(100))
    for model in ("sd2_inpainting", "avatars64_latent"):
        start, refinement = build_isdiff(compose_run(["method=si+isdiff", "dataset=places2", f"model={model}"]))
        isdiff.apply(pipe, model=model)
        assert pipe.isdiff.start.fingerprint() == start.fingerprint()
        assert pipe.isdiff.refinement.fingerprint() == refinement.fingerprint()
    for path in (ROOT / "configs" / "isdiff" / "seed").glob("*.yaml"):
        target = yaml.safe_load(path.read_text())["_target_"]
        if named_class(target, Seed).pictures_only:
            continue  # not for latents
        assert target == f"{SEEDS[path.stem].__module__}.{SEEDS[path.stem].__name__}"


@pytest.fixture(scope="module", params=["sd", pytest.param("xl", marks=pytest.mark.slow), "sd3", "flux", "fill"])
def each(request):
    """A pipeline of every kind; tests take copies."""
    pipe = MAKERS[request.param]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_it_leaves_nothing_behind(each, faces):
    """No other precision either, nor does a call that fails, and afterwards the pipeline answers as before."""
    pipe = copy.deepcopy(each)
    if hasattr(pipe, "transformer"):
        pipe.to(torch.bfloat16).transformer.train()
    next(iter(pipe.vae.parameters())).requires_grad_(False)
    expected = call(pipe, faces[:1], generator=seeded(1)[0])
    before, stock = state(pipe), type(pipe)
    assert isdiff.apply(pipe, tau=0.0) is pipe and isinstance(pipe, stock) and type(pipe).__name__ == stock.__name__
    assert not torch.allclose(call(pipe, faces[:1], generator=seeded(1)[0]), expected, atol=1e-3)
    while_applied = state(pipe)
    assert {k: v for k, v in while_applied.items() if k != "class"} == {k: v for k, v in before.items() if k != "class"}
    isdiff.apply(pipe, tau=9.0)
    with pytest.raises(ZeroDivisionError):
        call(pipe, faces[:1], callback_on_step_end=broken)
    assert isdiff.remove(pipe) is pipe and state(pipe) == before
    assert isdiff.remove(pipe) is pipe and type(pipe) is stock, "twice is no more than once"
    assert torch.equal(call(pipe, faces[:1], generator=seeded(1)[0]), expected)


def test_it_is_saved_as_the_stock_pipeline_and_copied_with_isdiff(pipe, faces, tmp_path):
    from diffusers import DiffusionPipeline

    stock = type(pipe)
    isdiff.apply(pipe, tau=0.0, attempts=2).save_pretrained(tmp_path)
    assert type(DiffusionPipeline.from_pretrained(tmp_path, local_files_only=True)) is stock
    expected = call(pipe, faces[:1], generator=seeded(1))
    for other in (pickle.loads(pickle.dumps(pipe)), copy.deepcopy(pipe)):
        assert torch.equal(call(other, faces[:1], generator=seeded(1)), expected)
        assert other.isdiff is not pipe.isdiff and type(isdiff.remove(other)) is stock


def test_only_failing_images_are_tried_again_and_depend_on_no_neighbour(each, faces):
    """A paused attempt goes on as if it had not stopped: alone nothing pauses, and the picture is the same.

    Prompts and images of a batch go together as in diffusers: those of a prompt lie together, images take turns.
    """
    pipe, texts = copy.deepcopy(each), ["a dog", "a cat"]
    options = {"prompt": texts, "mask_image": half(2), "num_images_per_prompt": 2}
    tau = middling(pipe, faces[:2], generator=seeded(1, 2, 3, 4), **options)
    isdiff.apply(pipe, attempts=3, tau=tau)
    counts = asked(pipe)
    together = call(pipe, faces[:2], generator=seeded(1, 2, 3, 4), **options)
    made = pipe.isdiff.images
    assert sum(counts) == sum(m.calls for m in made) < 4 * max(m.calls for m in made)
    assert {len(m.attempts) > 1 for m in made} == {True, False}
    for row, m in enumerate(made):
        values = [a.dce for a in m.attempts]
        passed = [value <= tau for value in values]
        assert passed[:-1] == [False] * (len(values) - 1) and (passed[-1] or len(values) == 3)
        assert m.chosen == (len(values) - 1 if passed[-1] else values.index(min(values)))
        alone = call(pipe, faces[row % 2][None], texts[row // 2], generator=seeded(row + 1))
        assert torch.allclose(alone[0], together[row], atol=1e-4) and pipe.isdiff.images[0].chosen == m.chosen


def test_embedded_prompts_are_as_good_as_texts(faces):
    pipe = isdiff.apply(xl_pipeline(), attempts=2, tau=0.0)
    texts, negative = ["a dog", "a cat"], ["bad", "worse"]
    expected = call(pipe, faces[:2], texts, negative_prompt=negative, generator=seeded(1, 2))
    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    how = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    embedded = dict(zip(names, pipe.encode_prompt(texts, negative_prompt=negative, **how), strict=False))
    assert torch.allclose(call(pipe, faces[:2], None, **embedded, generator=seeded(1, 2)), expected, atol=1e-5)


def test_one_generator_and_none(pipe, faces):
    isdiff.apply(pipe, attempts=1)
    first, second, other = (
        call(pipe, faces[:1], num_images_per_prompt=2, generator=seeded(seed)[0]) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.allclose(first[0], first[1], atol=1e-3)
    assert not torch.allclose(first, other, atol=1e-3)
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(call(pipe, faces[:1]))
    assert torch.equal(*drawn)


def test_given_latents_are_the_first_attempts_noise(pipe, faces):
    noise = torch.randn(1, 4, 16, 16, generator=seeded(1)[0])
    masked = pipe.vae.encode(faces[:1].masked_fill(half().bool(), 0)).latent_dist.mean * pipe.vae.config.scaling_factor
    expected = call(pipe, faces[:1], latents=noise, masked_image_latents=masked.detach())
    assert torch.equal(call(isdiff.apply(pipe, seed="off", attempts=1), faces[:1], latents=noise), expected)
    seeded_ones = call(isdiff.apply(pipe, attempts=1), faces[:1], latents=noise)
    assert not torch.allclose(seeded_ones, expected, atol=1e-3)


def test_outputs_have_the_stock_form(pipe, faces):
    given = {"image": faces[:2] / 2 + 0.5, "mask_image": half(), "num_inference_steps": 5}
    for form, return_dict in (("pil", True), ("np", False), ("pt", True), ("latent", False)):
        form = {"output_type": form, "return_dict": return_dict}
        stock = isdiff.remove(pipe)(["a dog"] * 2, **given, **form)
        ours = isdiff.apply(pipe, attempts=2, tau=0.0)(["a dog"] * 2, **given, **form)
        assert type(stock) is type(ours) and len(stock) == len(ours)
        a, b = (output.images if return_dict else output[0] for output in (stock, ours))
        assert type(a) is type(b) and len(a) == len(b) and getattr(a, "shape", 0) == getattr(b, "shape", 0)


def test_pil_pictures_arrays_and_crops(pipe):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (80, 100, 3), np.uint8))
    hole = np.zeros((80, 100), np.uint8)
    hole[20:60, 30:80] = 255
    isdiff.apply(pipe, tau=0.0)
    common = {"mask_image": Image.fromarray(hole), "num_inference_steps": STEPS}
    whole = pipe("a dog", picture, **common, generator=seeded(1)).images[0]
    array = pipe("a dog", np.asarray(picture)[None] / 255.0, height=64, width=64, **common, generator=seeded(1))
    assert whole.size == array.images[0].size == (64, 64)
    cropped = pipe("a dog", picture, **common, padding_mask_crop=4, num_images_per_prompt=2).images
    assert [c.size for c in cropped] == [(100, 80)] * 2
    before, after = (np.asarray(x) for x in (picture, cropped[0]))
    assert np.array_equal(before[hole == 0], after[hole == 0]) and not np.array_equal(before, after)
    pair = pipe(["a dog"] * 2, [picture, picture], mask_image=[common["mask_image"]] * 2, num_inference_steps=STEPS)
    assert len(pair.images) == 2


def whole_image_pipeline(kind):
    from diffusers import UNet2DConditionModel

    pipe = xl_pipeline() if kind == "xl" else build_pipeline(*build_parts(100))
    pipe.set_progress_bar_config(disable=True)
    pipe.register_modules(unet=set_weights(UNet2DConditionModel.from_config(pipe.unet.config, in_channels=4), 5))
    return pipe


@pytest.mark.parametrize("kind", ["xl", pytest.param("sd with PNDM", marks=pytest.mark.slow)])
def test_a_unet_of_four_channels_keeps_the_known_region(kind, faces):
    pipe = whole_image_pipeline(kind.split()[0])
    if kind.endswith("PNDM"):
        from diffusers import PNDMScheduler

        pipe.scheduler = PNDMScheduler.from_config(pipe.scheduler.config, skip_prk_steps=True)
    known = pipe.vae.encode(faces[:1]).latent_dist.mean.detach() * pipe.vae.config.scaling_factor
    options = {"masked_image_latents": known, "output_type": "latent"}
    # From noise alone it does what the stock pipeline does, every step's noise in the known region included.
    noise = torch.randn(1, 4, 16, 16, generator=seeded(1)[0])
    expected = call(pipe, known, latents=noise, strength=1.0, **options)
    isdiff.apply(pipe, seed="off", attempts=1)
    assert torch.allclose(call(pipe, faces[:1], latents=noise, output_type="latent"), expected, atol=1e-4)
    assert torch.allclose(call(pipe, known, latents=noise, output_type="latent"), expected, atol=1e-4)
    # Seeds start in the middle, with known cells noised to just that level; retries and pauses change nothing in it.
    prompt = ["a dog"] * 3
    tau = middling(pipe, faces, prompt=prompt, generator=seeded(1, 2, 3))
    isdiff.apply(pipe, attempts=2, tau=tau, start=0.9)
    together = call(pipe, faces, prompt, generator=seeded(1, 2, 3), output_type="latent")
    made = pipe.isdiff.images
    for row in range(3):
        alone = call(pipe, faces[row][None], generator=seeded(row + 1), output_type="latent")[0]
        latents = pipe.vae.encode(faces[row][None]).latent_dist.mean[0] * pipe.vae.config.scaling_factor
        assert torch.allclose(together[row][..., :8], latents[..., :8], atol=1e-5)
        assert torch.allclose(together[row], alone, atol=1e-3) and pipe.isdiff.images[0].chosen == made[row].chosen


DAILY = ("UniPCMultistepScheduler", "EulerAncestralDiscreteScheduler", "PNDMScheduler")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in DAILY else pytest.mark.slow) for name in DIFFUSION]
)
def test_a_paused_attempt_goes_on_as_if_it_had_not_stopped(pipe, faces, name):
    """With every kind of scheduler, histories of multistep solvers and fresh noise included."""
    import diffusers

    extra = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **extra)
    given = {"prompt": ["a dog"] * 3, "mask_image": half(3), "num_inference_steps": 6}
    tau = middling(pipe, faces, generator=seeded(1, 2, 3), **given)
    isdiff.apply(pipe, attempts=2, tau=tau)
    together = call(pipe, faces, generator=seeded(1, 2, 3), **given)
    passed = [row for row, made in enumerate(pipe.isdiff.images) if len(made.attempts) == 1]
    assert 0 < len(passed) < 3
    for row in passed:
        counts: list[int] = []
        alone = call(
            pipe, faces[row][None], generator=seeded(row + 1), num_inference_steps=6,
            callback_on_step_end=lambda pipe, step, t, tensors, seen=counts: seen.append(step) or {},
        )  # fmt: skip
        assert counts == list(range(len(counts))) and len(pipe.isdiff.images[0].attempts) == 1, "it runs through"
        assert torch.allclose(alone[0], together[row], atol=1e-4)


def test_euler_is_ddim_in_another_scale(pipe, faces):
    """Seeds and checkpoints are in the scheduler's own scale: both give the same, as they must at eta 0."""
    from diffusers import EulerDiscreteScheduler

    found = []
    for cls in (type(pipe.scheduler), EulerDiscreteScheduler):
        pipe.scheduler = cls.from_config(pipe.scheduler.config, prediction_type="v_prediction")
        isdiff.apply(pipe, tau=0.0, run_seed=0)
        found.append((call(pipe, faces[:1]), [a.dce for a in pipe.isdiff.images[0].attempts]))
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-3)
    assert torch.allclose(found[0][0], found[1][0], atol=2e-3)


def test_the_callers_callback_sees_every_step_and_changes_latents(pipe, faces):
    seen = []

    def watch(pipe, step, t, tensors):
        seen.append((step, int(t), pipe.num_timesteps, sorted(tensors)))
        return {"latents": tensors["latents"] * 0}

    isdiff.apply(pipe, attempts=2, tau=0.0, lambda_=0.1)
    black = call(pipe, faces[:1], generator=seeded(1), callback_on_step_end=watch,
                 callback_on_step_end_tensor_inputs=["latents", "mask"])  # fmt: skip
    decoded = pipe.vae.decode(torch.zeros(1, 4, 16, 16)).sample
    assert torch.allclose(black, (decoded / 2 + 0.5).clamp(0, 1), atol=1e-5)
    # Both attempts up to the checkpoint at 599, then the one that is kept from there on: each counts from its start.
    ups = [(step, t) for step, t, _, _ in seen]
    assert ups[:7] == [(0, 999), (1, 899), (2, 799), (3, 699), (0, 899), (1, 799), (2, 699)]
    kept = pipe.isdiff.images[0].chosen
    assert ups[7:] == [(4 - kept + i, 599 - 100 * i) for i in range(6)]
    assert {total for step, t, total, _ in seen[7:]} == {STEPS - kept}
    assert all(names == ["latents", "mask"] for *_, names in seen)


def test_callbacks_of_diffusers_kind(pipe, faces):
    """Objects that name their own tensors, like those that diffusers comes with, and change more than latents."""
    from diffusers.callbacks import PipelineCallback

    class NoGuidance(PipelineCallback):
        tensor_inputs = ("prompt_embeds", "mask", "masked_image_latents")

        def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
            if step_index != int(pipeline.num_timesteps * self.config.cutoff_step_ratio):
                return {}
            pipeline._guidance_scale = 0.0
            return {key: value.chunk(2)[-1] for key, value in callback_kwargs.items()}

    isdiff.apply(pipe, tau=9.0)
    rows = []
    pipe.unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    call(pipe, faces[:1], callback_on_step_end=NoGuidance(cutoff_step_ratio=0.4))
    assert rows == [2] * 5 + [1] * 5


def test_an_interrupt_ends_the_call(pipe, faces):
    prompt = ["a dog"] * 3
    tau = middling(pipe, faces, prompt=prompt, mask_image=half(3), generator=seeded(1, 2, 3))
    steps = []

    def stop_second_attempt(pipe, step, t, tensors):
        steps.append(len(tensors["latents"]))
        pipe._interrupt = len(steps) == 6  # in the second attempt
        return {}

    isdiff.apply(pipe, tau=tau)
    counts = asked(pipe)
    call(pipe, faces, prompt, mask_image=half(3), generator=seeded(1, 2, 3), callback_on_step_end=stop_second_attempt)
    assert len(steps) == 6 and 0 < steps[-1] < 3, "the caller's callback is not called again"
    assert counts == [*steps, 3 - steps[-1]], "one call more for those that wait"
    assert max(len(made.attempts) for made in pipe.isdiff.images) == 2


PICTURE = Image.new("RGB", (80, 80))

REFUSED = [
    ("strength", {"strength": 0.5}),
    ("hides everything", {"mask_image": torch.ones(1, 1, 64, 64)}),
    ("1 of image and 3 of mask_image for 1", {"mask_image": half(3)}),
    ("2 generators for 1", {"generator": seeded(1, 2)}),
    ("image_ids", {"image_ids": ["a"]}),
    ("checkpoint", {"num_inference_steps": 2}),
    ("no mask_image", {"mask_image": None}),
    ("padding_mask_crop", {"image": [PICTURE] * 2, "mask_image": [PICTURE] * 2, "padding_mask_crop": 8}),
    ("num_inference_steps is 0", {"num_inference_steps": 0}),
]


def test_refusals(pipe, faces):
    import diffusers

    for other in (3, object.__new__(diffusers.FluxControlInpaintPipeline)):
        with pytest.raises(UserError, match=f"this is a {type(other).__name__}"):
            isdiff.apply(other)
    for key, value in (("seed", "best"), ("model", "sd9"), ("attempts", 9), ("tau", -1)):
        with pytest.raises(UserError, match=key):
            isdiff.apply(pipe, **{key: value})
    assert "isdiff" not in vars(type(pipe)), "what is refused changes nothing"
    isdiff.apply(pipe, seed=MeanSeed())
    for message, options in REFUSED:
        options = {"images": options.get("image", faces[:1])} | {k: v for k, v in options.items() if k != "image"}
        with pytest.raises(UserError, match=message):
            call(pipe, **options)
    with pytest.raises(UserError, match="denoising_end"):
        call(isdiff.apply(xl_pipeline()), faces[:1], denoising_end=0.8)
    config = pipe.scheduler.config
    for scheduler, message in (
        (diffusers.HeunDiscreteScheduler.from_config(config), "has a HeunDiscreteScheduler"),
        (diffusers.EulerDiscreteScheduler.from_config(config, timestep_type="continuous"), "has timestep_type="),
    ):
        pipe.scheduler = scheduler
        with pytest.raises(UserError, match=message):
            call(pipe, faces[:1])
