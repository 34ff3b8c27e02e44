"""Flow-matching models: every family is asked as its diffusers pipeline asks it, step for step."""

import pytest
import torch
from conftest import images_of
from flow_parts import FLOWS, PROMPT, SIDE, grid_of, half, picture_of, prior_of, stock

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.diffusion.schedule import resampling_plan
from isdiff.engine import Engine
from isdiff.known import Blended, KnownRegion
from isdiff.samplers.base import Sampler
from isdiff.samplers.solvers import DDIM
from isdiff.trajectory import Stream, Task

STEPS = 4


@pytest.fixture(scope="module", params=FLOWS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def pipe(name):
    made = FLOWS[name]()
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def face():
    return images_of("avatars", 1)[0]


pytestmark = pytest.mark.usefixtures("posteriors_mean")


def task_of(face, hole=None, image_id: str = "0") -> Task:
    return Task(image_id, face, half() if hole is None else hole)


def sampled(prior, name, task, sampler: Sampler | None = None, known: KnownRegion | None = None):
    grid, sampler, known = grid_of(prior, name, STEPS), sampler or DDIM(), known or Blended()
    engine = Engine(prior, grid, sampler, known, resampling_plan, batch_size=1, run_seed=1)
    return next(engine.run([task]))


def told(network, run) -> tuple[list[dict[str, torch.Tensor]], object]:
    """The tensors of every call of a network while ``run`` goes on, and what it returns."""
    calls = []

    def look(module, args, kwargs):
        given = dict(zip(("hidden_states", "timestep", "texts"), args, strict=False)) | kwargs
        given = {key: torch.stack(value) if is_list(value) else value for key, value in given.items()}
        calls.append({key: value.clone() for key, value in given.items() if isinstance(value, torch.Tensor)})

    def is_list(value) -> bool:
        return isinstance(value, list) and isinstance(value[0], torch.Tensor) and len({v.shape for v in value}) == 1

    handle = network.register_forward_pre_hook(look, with_kwargs=True)
    try:
        return calls, run()
    finally:
        handle.remove()


def prepared(prior, task):
    return prior.prepare(task, PROMPT)


def test_every_call_is_the_pipelines(name, pipe, face):
    """Tokens, positions, times, guidance and texts of every call, and the picture at the end."""
    hole = torch.ones_like(half()) if name == "flux" else half()
    prior, task = prior_of(name, pipe), task_of(face, hole)
    known = KnownRegion() if name == "flux_fill" else Blended()
    calls, expected = told(pipe.transformer, lambda: stock(name, pipe, face, hole, STEPS))
    ours, result = told(pipe.transformer, lambda: sampled(prior, name, prepared(prior, task), known=known))
    assert len(ours) == len(calls) == STEPS
    for our, its in zip(ours, calls, strict=True):
        assert our.keys() == its.keys()
        for key, value in its.items():
            assert torch.allclose(our[key].float(), value.float(), atol=1e-4), key
    assert torch.allclose(picture_of(name, result), expected, atol=5e-4)


@pytest.mark.parametrize("name", [name for name in FLOWS if name != "flux_fill"], scope="module")
def test_guidance_is_the_pipelines(name, pipe, face):
    prior = prior_of(name, pipe, 3.0)
    result = sampled(prior, name, prepared(prior, task_of(face)))
    assert torch.allclose(picture_of(name, result), stock(name, pipe, face, half(), STEPS, 3.0), atol=5e-4)


def test_what_the_hole_hides_is_never_looked_at(name, pipe, face):
    prior = prior_of(name, pipe)
    tasks = [prepared(prior, task_of(image)) for image in (face, face.masked_fill(half(), 0.9))]
    assert torch.equal(tasks[0].image, tasks[1].image)
    x = Stream(1, "0").normal(like=tasks[0].image)
    answers = [prior.predict([x], [700.0], [task])[0].clean for task in tasks]
    assert torch.equal(*answers)
    moved = prepared(prior, task_of(face.masked_fill(~half(), 0.9)))
    assert not torch.allclose(moved.image, tasks[0].image, atol=0.1)
    one = torch.zeros_like(half())
    one[0, 1, 2] = True
    cells = prepared(prior, task_of(face, one)).hole
    assert cells.sum() == 1 and cells[0, 0, 0] and cells.shape[1] == SIDE // prior.autoencoder.factor, (
        "hole if any pixel is"
    )


def test_an_answer_depends_on_no_other_image(name, pipe, face):
    """Texts of another length are asked in calls of their own."""
    prior = prior_of(name, pipe, 1.0 if name == "flux_fill" else 2.0, pad_to=2)
    words = [PROMPT, "a dog with a long red hat", "a big dog"]
    tasks = [prior.prepare(task_of(face, image_id=str(row)), text) for row, text in enumerate(words)]
    states, times = [Stream(row, "0").normal(like=tasks[0].image) for row in range(3)], [900.0, 300.0, 500.0]
    together = prior.predict(states, times, tasks)
    for row, task in enumerate(tasks):
        alone = prior.predict(states[row : row + 1], times[row : row + 1], [task])[0]
        assert torch.allclose(alone.clean, together[row].clean, atol=1e-5)
    assert len(prior.texts) == len(words) + (name != "flux_fill")  # each is encoded once


EXACT = ("diffpir", "flower")  # whose known latents are the image's at the end
METHODS = (*EXACT, "ding", "ding_fast", "flowchef", "flowdps", "lanpaint2", "pnp_flow", "ddnm", "repaint", "dps")


@pytest.fixture(scope="module")
def flux():
    return FLOWS["flux"]()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_them(flux, face, method):
    """Known latents end exactly at the image's, or nearer than without a rule; ``blended`` is the pipelines' above."""
    cfg = compose_run([f"method={method}"])
    prior = prior_of("flux", flux)
    task = prepared(prior, task_of(face))
    sampler, known = build(cfg.sampler, Sampler, "sampler"), build(cfg.method.known, KnownRegion, "method.known")
    results = [sampled(prior, "flux", task, *rule) for rule in ((sampler, known), (None, KnownRegion()))]
    assert not any(result.failure for result in results)
    error, free = ((result.x - task.image)[:, ~task.hole[0]].abs().max() for result in results)
    assert error < (1e-5 if method in EXACT else free)
