"""Latent methods: recorded runs of the public code and of diffusers, replayed through the engine."""

import numpy as np
import pytest
import torch
from latent_parts import LATENT, arrays, build_parts, build_pipeline, read, set_weights

from isdiff import Engine, UserError
from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, trailing_timesteps
from isdiff.known import KnownRegion
from isdiff.models.base import Model
from isdiff.prediction import Prediction
from isdiff.priors import hd_painter as attention
from isdiff.priors.base import LatentTask
from isdiff.priors.conditioning import (
    Conditioning,
    PowerPaint,
    PromptPair,
    TextEncoder,
    expand_task_words,
    powerpaint_prompts,
)
from isdiff.priors.hd_painter import HDPainter, shrink
from isdiff.priors.latent import LatentPrior, sure_cells
from isdiff.samplers.solvers import DDIM, RASG
from isdiff.seeds.distributions import MeanSeed
from isdiff.trajectory import Stream, Task, Trajectory

BETAS = named_betas("scaled_linear")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def parts():
    """(U-Net, autoencoder, text encoder) of the recordings for a seed and a number of extra words."""

    def build(seed: int, extra: dict[str, torch.Tensor] | None = None):
        unet, vae, tokenizer, text = build_parts(seed, extra)
        return unet, vae, TextEncoder(tokenizer, text)

    return build


class Fixed:
    """A stream that starts with given latents and goes on with a recorded generator."""

    def __init__(self, first: torch.Tensor, generator: torch.Generator | None = None):
        self.first, self.generator = [first], generator

    def normal(self, like):
        return self.first.pop() if self.first else torch.randn(like.shape, generator=self.generator)


def run(prior, grid, sampler, tasks, firsts, generator=None):
    streams = {task.id: first for task, first in zip(tasks, firsts, strict=True)}
    engine = Engine(
        prior, grid, sampler, KnownRegion(), lambda n: tuple(range(n - 1, -2, -1)),
        stream=lambda seed, image_id, attempt: Fixed(streams[image_id], generator),
    )  # fmt: skip
    results = {r.task.id: r for r in engine.run(tasks)}
    return [results[task.id] for task in tasks]


def close(found: torch.Tensor, expected: torch.Tensor, relative: float):
    assert (found - expected).abs().max() <= relative * expected.abs().max()


def diffusers_grid(timesteps: torch.Tensor) -> Grid:
    return Grid.of(BETAS, sorted(timesteps.tolist()), last=float(1 - BETAS[0]))


def recorded_tasks(run: dict, contexts) -> list[LatentTask]:
    return [
        LatentTask(f"{i}", latents, mask.bool(), context=context, hidden=torch.zeros(1, 64, 64, dtype=torch.bool))
        for i, (latents, mask, context) in enumerate(
            zip(run["masked_image_latents"], run["mask_channel"], contexts, strict=True)
        )
    ]


CASES = [case for case in read("stable_inpaint/cases.json") if (LATENT / "stable_inpaint" / case["file"]).exists()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_stable_inpainting_equals_diffusers(parts, case):
    recorded = arrays(f"stable_inpaint/{case['file']}")
    unet, vae, text = parts(case["weights_seed"])
    guided = case["guidance_scale"] > 1
    prior = LatentPrior(unet, vae, Conditioning(case["guidance_scale"], text=text), CPU)
    context = text.context(PromptPair.plain(case["prompt"], case["negative_prompt"]), guided)
    torch.testing.assert_close(context[-1], recorded["prompt_embeds"][0], atol=1e-5, rtol=0)
    tasks = recorded_tasks(recorded, [context] * case["batch"])
    grid = diffusers_grid(recorded["unet_timesteps"])
    generator = torch.Generator().manual_seed(case["generator_seed"])
    torch.randn(1, 4, 16, 16, generator=generator)  # the pipeline's draw from the autoencoder's posterior
    found = run(prior, grid, DDIM(case["eta"]), tasks, recorded["latents_first"], generator)
    close(torch.stack([r.x for r in found]), recorded["latents_final"], 1e-5)
    picture = torch.stack([r.picture for r in found]).add(1).div(2)
    assert (picture - recorded["image_out"]).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_encoding_masks_and_prediction_are_those_of_the_pipeline(parts, kind):
    """A whole run from the pixels, beside StableDiffusionInpaintPipeline with the same latents."""
    from PIL import Image

    unet, vae, text = parts(100)
    recorded = arrays("stable_inpaint/case_ddim_latents.npz")
    pixels, mask = recorded["image"][0].numpy(), recorded["mask"][0].numpy()
    hole = torch.from_numpy(mask > 127)[None]
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
    pipeline = build_pipeline(unet, vae, text.tokenizer, text.model)
    pipeline.scheduler.register_to_config(prediction_type=kind)
    table = build(compose_run(["method=si"]).model, Model).velocity_table(pipeline.scheduler)
    assert (table is None) == (kind == "epsilon")
    prior = LatentPrior(unet, vae, Conditioning(4.0, "blurry", text), CPU, pad_to=1, velocity=table)
    task = prior.prepare(Task("a", image.masked_fill(hole, 0), hole), "a dog")
    assert torch.equal(task.hole.float(), recorded["mask_channel"][0].float())
    # A number of steps that divides 1000: with others, diffusers' steps do not quite fit its trailing grid.
    grid = Grid.of(BETAS, trailing_timesteps(1000, 5))
    (found,) = run(prior, grid, DDIM(), [task], [recorded["latents_in"][0]])
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a dog", Image.fromarray(pixels), Image.fromarray(mask), negative_prompt="blurry", guidance_scale=4.0,
        masked_image_latents=task.image[None], latents=recorded["latents_in"], num_inference_steps=5,
        height=64, width=64, output_type="pt",
    ).images[0]  # fmt: skip
    assert (found.picture.add(1).div(2) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("case", read("powerpaint/pipeline.json"), ids=lambda case: case["task"])
def test_powerpaint_equals_the_reference(parts, case):
    recorded = arrays(f"powerpaint/{case['file']}")
    extra = {word: recorded[f"emb_{word}"] for word in ("P_ctxt", "P_shape", "P_obj")}
    unet, vae, text = parts(case["weights_seed"], extra)
    asked = PowerPaint(case["guidance_scale"], case["negative_prompt"], text, case["task"], case["fitting_degree"])
    context = asked.embedded(case["prompt"])
    torch.testing.assert_close(context[0], recorded["negative_prompt_embeds"][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(context[1], recorded["prompt_embeds"][0], atol=1e-5, rtol=0)
    prior = LatentPrior(unet, vae, Conditioning(case["guidance_scale"], text=text), CPU)
    grid = diffusers_grid(torch.tensor(leading_timesteps(1000, case["num_inference_steps"])) + 1)
    (found,) = run(prior, grid, DDIM(), recorded_tasks(recorded, [context]), recorded["latents_in"])
    close(found.x, recorded["latents_final"][0], 1e-5)


def test_powerpaint_prompts_equal_the_official_ones():
    for row in read("powerpaint/prompts.json")["official_v1"]:
        pair = powerpaint_prompts(row["task"], row["prompt"], row["negative_prompt"])
        assert pair.prompts == (row["promptA"], row["promptB"])
        assert pair.negative == (row["negative_promptA"], row["negative_promptB"])
    for row in read("powerpaint/prompts.json")["alternative_iopaint"]:
        if row["task"] == "context-aware":
            pair = powerpaint_prompts(row["task"], row["prompt"], row["negative_prompt"])
            assert (pair.prompts[0], pair.negative[0]) == (row["promptA"], row["negative_promptA"])


def test_task_words_become_their_tokens(parts):
    recorded = read("powerpaint/tokens.json")
    extra = {word: torch.zeros(10, 32) for word in recorded["added_order"]}
    text = parts(200, extra)[2]
    for row in recorded["rows"]:
        assert expand_task_words(row["text"]) == row["expanded"]
        assert text.tokenizer(row["expanded"]).input_ids == row["ids"]
    pair = PowerPaint(text=text, task="text-guided").prompts("a dog")
    assert "P_obj_9" in pair.prompts[0] and "P_obj_9" in pair.negative[1]


def hd_prior(case: dict, name: str = "unet_config.json", **options) -> LatentPrior:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    config = {k: v for k, v in read(f"hd_painter/{name}").items() if not k.startswith("_")}
    unet = set_weights(UNet2DConditionModel(**config), case["weights_seed"])
    vae = AutoencoderKL(**read("stable_inpaint/configs.json")["vae"])
    pad_to = options.pop("pad_to")
    conditioning = Conditioning(case["guidance_scale"])
    if options.get("painta") or options.get("rasg"):
        options = {"painta": False, "rasg": False} | options
        conditioning = HDPainter(case["guidance_scale"], **options)
    return LatentPrior(conditioning.fitted(unet), vae, conditioning, CPU, pad_to=pad_to)


def hd_task(recorded: dict, name: str = "0") -> LatentTask:
    context = recorded["context"]
    tokens = torch.zeros(context.shape[1], dtype=torch.bool)
    tokens[recorded["token_idx"]] = True
    mask, latents = recorded["condition"][0].split([1, 4])
    holes = tuple(recorded[f"mask_res{r}"].bool() for r in (64, 32, 16, 8))
    return LatentTask(
        name, latents, mask.bool(), context=context, tokens=tokens, holes=holes,
        hidden=torch.zeros(1, 64, 64, dtype=torch.bool),
    )  # fmt: skip


def marked(case: dict):
    """Cases with both parts take some seconds."""
    return pytest.param(case, id=case["name"], marks=[pytest.mark.slow] * ("painta_rasg" in case["name"]))


@pytest.mark.parametrize("case", [marked(case) for case in read("hd_painter/e2e.json")])
def test_hd_painter_equals_the_reference(case):
    recorded = arrays(f"hd_painter/{case['file']}")
    painta, rasg = "painta" in case["method"], "rasg" in case["method"]
    prior = hd_prior(case, painta=painta, rasg=rasg, pad_to=2)
    prior.decode = lambda states, tasks: list(states)
    grid = Grid.of(BETAS, recorded["timesteps"].flip(0).tolist())
    method = RASG(case["eta"]) if rasg else DDIM()
    (found,) = run(prior, grid, method, [hd_task(recorded)], recorded["z_T"])
    close(found.x, recorded["z0_final"][0], 2e-5)


def test_hd_painter_batches_images_of_their_own():
    """Two different images at different times in one batch give what each gives alone."""
    cases = [case for case in read("hd_painter/e2e.json") if case["method"] == "painta+rasg"]
    prior = hd_prior(cases[0], painta=True, rasg=True, pad_to=1)
    tasks = [hd_task(arrays(f"hd_painter/{case['file']}"), case["name"]) for case in cases]
    states = [torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    together = prior.predict(states, [899, 399], tasks)
    for i, t in enumerate((899, 399)):
        (alone,) = prior.predict([states[i]], [t], [tasks[i]])
        close(together[i].noise, alone.noise, 1e-5)
        close(together[i].score, alone.score, 1e-4)
    calm = hd_prior(cases[0], rasg=True, pad_to=1)
    close(calm.predict([states[1]], [399], [tasks[1]])[0].noise, together[1].noise, 1e-5)
    assert (calm.predict([states[0]], [899], [tasks[0]])[0].noise - together[0].noise).abs().max() > 1e-3


def test_painta_block_and_its_gradient():
    from diffusers.models.attention import BasicTransformerBlock

    r = arrays("hd_painter/painta_block.npz")
    heads = r["cross_logits"].shape[1]
    block = BasicTransformerBlock(32, heads, 32 // heads, cross_attention_dim=24)
    block.load_state_dict({k[2:]: v for k, v in r.items() if k.startswith("w.")})
    wrapped = attention.ReweighedBlock(block.eval())
    tokens = torch.zeros(1, r["context"].shape[1])
    tokens[0, r["token_idx"]] = 1
    x, count = r["x"].clone().requires_grad_(), r["x"].shape[1]
    attended = attention.Attended(
        {count: r["mask"].bool()[None]}, tokens, torch.ones(1, dtype=torch.bool), frozenset({count}), count
    )
    out = wrapped(x, encoder_hidden_states=r["context"], cross_attention_kwargs={attention.KEY: attended})
    close(out, r["output"], 1e-5)
    close(attended.logits[0][0].flatten(), r["cross_logits"][1].flatten(1, 2).flatten(), 1e-5)
    (gradient,) = torch.autograd.grad((out * r["cotangent"]).sum(), x)
    close(gradient, r["grad_x"], 1e-5)
    plain = block(r["x"], encoder_hidden_states=r["context"])
    torch.testing.assert_close(wrapped(r["x"], encoder_hidden_states=r["context"]), plain)


def test_rasg_steps():
    r = arrays("hd_painter/rasg_step.npz")
    case = next(case for case in read("hd_painter/e2e.json") if case["name"] == "painta_rasg")
    for i, (t, before) in enumerate(zip(r["t"].tolist(), r["t_prev"].tolist(), strict=True)):
        grid = Grid.of(BETAS, [before, t])
        noise = r["eps_uncond"][i] + case["guidance_scale"] * (r["eps_cond"][i] - r["eps_uncond"][i])
        for kind, expected in (("reference", "z_prev"), ("ddim", "z_prev_standard_sigma")):
            whole = Task("one", r["z_t"][i], torch.ones(1, *r["z_t"][i].shape[-2:], dtype=torch.bool))
            tr = Trajectory(whole, None, (1, 0), r["z_t"][i])
            steps = RASG(case["eta"], kind)(tr, grid, KnownRegion())
            next(steps)
            with pytest.raises(StopIteration):
                steps.send(Prediction(noise, score=r["grad_raw"][i]))
            close(tr.x, r[expected][i], 1e-5)


@pytest.mark.parametrize("name", ["masks_0", "masks_1", "masks_2"])
def test_hd_painter_masks(name):
    r = {k: v.numpy() for k, v in arrays(f"hd_painter/{name}.npz").items()}
    hole = r["mask_dilated_padded"] > 127
    assert np.array_equal(shrink(hole, 8) > 0, r["cond_mask"].astype(bool))
    for i, key in enumerate(("res64", "res32", "res16", "res8")):
        assert np.array_equal(shrink(hole, 8 * 2**i) > 127, r[key].astype(bool))


def task_of(hole: torch.Tensor, image_id: str = "a") -> Task:
    image = torch.rand(3, *hole.shape[1:], generator=torch.Generator().manual_seed(3)) * 2 - 1
    return Task(image_id, image.masked_fill(hole, 0), hole, truth=image)


def half() -> torch.Tensor:
    hole = torch.zeros(1, 64, 64, dtype=torch.bool)
    hole[..., 32:] = True
    return hole


def test_seeds_are_fitted_to_cells_that_saw_no_hole(parts):
    unet, vae, text = parts(100)
    prior = LatentPrior(unet, vae, Conditioning(text=text), CPU)
    task = prior.prepare(task_of(half()))
    assert task.image.shape == (4, 16, 16) and task.hole.shape == (1, 16, 16)
    assert task.sure.sum() == 16 * 7 and not task.sure[..., 7:].any(), "half, less the column beside the hole"
    few = sure_cells(~np.pad(np.ones((16, 16), bool), 24), 4, enough=50)
    assert few.sum() == 16, "where few cells are known, all of them count"
    fence = np.zeros((64, 64), bool)
    fence[::4] = fence[:32, ::4] = True
    thin = sure_cells(fence, 4, enough=50)
    assert thin[8:].all() and not thin[:8].any(), "where none is known as a whole, those of which most is"
    assert not sure_cells(np.ones((64, 64), bool), 4, enough=50).any()
    # What lies beneath the hole has no say in the task, except for the oracle.
    other = task_of(half())
    other.truth[..., 40:] = 0
    again = prior.prepare(other)
    assert torch.equal(again.image, task.image) and not torch.equal(again.truth, task.truth)
    filled = MeanSeed().fill(task, Stream(0, "a"))
    torch.testing.assert_close(filled[:, 0, 0], task.image[:, task.sure[0]].mean(1))


def test_clear_errors(parts):
    from diffusers import UNet2DConditionModel

    unet, vae, text = parts(100)
    prior = LatentPrior(unet, vae, Conditioning(text=text), CPU)
    odd = torch.zeros(1, 60, 66, dtype=torch.bool)
    odd[..., :9] = True
    with pytest.raises(UserError, match=r"66x60; this model needs sides that 16 divides"):
        prior.prepare(task_of(odd))
    with pytest.raises(UserError, match="tokens, the text encoder takes 77; shorten it"):
        prior.prepare(task_of(half()), "a dog " * 50)
    with pytest.raises(UserError, match="no text encoder"):
        LatentPrior(unet, vae, Conditioning(), CPU).prepare(task_of(half()))
    with pytest.raises(UserError, match="takes 4 channels; inpainting models take 9"):
        config = read("stable_inpaint/configs.json")["unet"] | {"in_channels": 4}
        LatentPrior(UNet2DConditionModel(**config), vae, Conditioning(text=text), CPU)
    with pytest.raises(ValueError, match="HD-Painter needs one above 1"):
        HDPainter(1.0, text=text)
    words = ["method=hd_painter", "sampler.spacing=even"]
    with pytest.raises(UserError, match=r"sampler\.spacing .* sigma=ddim"):
        Setup.of(compose_run(words))
    assert Setup.of(compose_run([*words, "sampler.sigma=ddim"]))
