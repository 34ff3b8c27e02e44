"""Methods without a network: what libraries make of a hole, through the whole house, and as seeds."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch
from conftest import Answers
from patchmatch_cython import inpaint_pyramid
from PIL import Image

import isdiff
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.data.images import to_tensor, to_uint8
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import named_betas
from isdiff.engine import BAD_IMAGE, Engine
from isdiff.errors import Missing, UserError
from isdiff.known import KnownRegion
from isdiff.models.base import NO_MODEL, NoModel
from isdiff.priors.base import LatentTask
from isdiff.runs.run import execute
from isdiff.samplers.base import Fill
from isdiff.seeds.base import FilledStart
from isdiff.seeds.distributions import MeanSeed
from isdiff.seeds.fills import PatchMatchSeed, TeleaSeed
from isdiff.trajectory import Stream, Task

FLOORS = ("mean_color", "telea", "patchmatch")
GRID = Grid.of(named_betas("linear"), [0, 200, 400, 600, 800])


def pixels(height: int = 24, width: int = 20, seed: int = 0) -> np.ndarray:
    """A smooth picture, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def box(height: int = 24, width: int = 20) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[6:18, 8:] = True
    return hole


def task_of(picture: np.ndarray, hole: np.ndarray, hidden: float = 0.0, name: str = "a") -> Task:
    holes = torch.from_numpy(hole)[None]
    return Task(name, to_tensor(picture).masked_fill(holes, hidden), holes)


def gray(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return np.where(hole[..., None], np.uint8(128), picture)


def by_library(name: str, picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    if name == "telea":
        return cv2.inpaint(picture, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    if name == "patchmatch":
        return inpaint_pyramid(picture, hole, seed=0, em_loops=3)
    return np.broadcast_to(np.rint(picture[~hole].mean(0)).astype(np.uint8), picture.shape)


SEEDS = {"mean_color": MeanSeed, "telea": TeleaSeed, "patchmatch": PatchMatchSeed}


@pytest.mark.parametrize("name", FLOORS)
def test_a_fill_is_the_library_s_and_sees_nothing_hidden(name):
    picture, hole = pixels(), box()
    expected = by_library(name, gray(picture, hole), hole)
    for hidden in (0.0, 0.9, float("nan")):
        filled = SEEDS[name]().fill(task_of(picture, hole, hidden), Stream(0, "a"))
        assert np.array_equal(to_uint8(filled)[hole], expected[hole])
    if name != "mean_color":
        seed, task = SEEDS[name](), task_of(picture, hole)
        assert seed.fill(task, Stream(0, "a", 0)) is seed.fill(task, Stream(1, "a", 1)), "one serves all attempts"
        del task
        assert not seed.filled


@pytest.mark.parametrize("shape", [(1, 4), (16, 16)])
def test_patchmatch_where_no_patch_is_known_as_a_whole(shape):
    picture = pixels(*shape)
    for known in (np.s_[0, 0], np.s_[::2, ::3]):
        hole = np.ones(shape, bool)
        hole[known] = False
        task = task_of(picture, hole)
        first, second = (PatchMatchSeed().fill(task_of(picture, hole), Stream(0, "a")) for _ in range(2))
        assert torch.equal(first, second) and torch.isfinite(first).all()
        assert torch.equal(task.compose(first), first), "known pixels stay"


def test_patchmatch_that_is_not_installed_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "patchmatch_cython", None)
    with pytest.raises(Missing, match="pip install patchmatch-cython"):
        PatchMatchSeed().fill(task_of(pixels(), box()), Stream(0, "a"))


def test_no_known_pixel_and_latent_tasks_are_refused():
    image, hole = torch.zeros(3, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool)
    small = hole.clone()
    small[..., :4] = False
    latent = LatentTask("b", torch.zeros(4, 8, 8), small, hidden=small.repeat(1, 8, 8))
    for seed in (TeleaSeed(), PatchMatchSeed()):
        with pytest.raises(ValueError, match="image a has no known pixel"):
            seed.fill(Task("a", image, hole), Stream(0, "a"))
        with pytest.raises(UserError, match="image b: this seed fills pictures, not latent spaces"):
            seed.fill(latent, Stream(0, "b"))
    for seed in ("telea", "patchmatch", "patches"):
        with pytest.raises(UserError, match="this seed fills pictures, and method si works on latents"):
            Setup.of(compose_run(["method=si+isdiff", f"isdiff/seed={seed}"]))


class Never(Answers):
    def __init__(self):
        super().__init__(None)

    def predict(self, *_):
        raise AssertionError("nobody asks")


@pytest.mark.parametrize("batch_size", [1, 16])
def test_a_sampler_that_asks_for_nothing(batch_size):
    tasks = [task_of(pixels(seed=n), box(), name=str(n)) for n in range(5)]
    tasks[3] = Task("3", tasks[3].image * float("nan"), tasks[3].hole)
    seen = []
    engine = Engine(
        Never(), GRID, Fill(), KnownRegion(), lambda n: range(n - 1, -2, -1), start=FilledStart(TeleaSeed()),
        batch_size=batch_size, watch=seen.append, progress=seen.append,
    )  # fmt: skip
    assert engine.calls_expected() == 0
    found = {result.task.id: result for result in engine.run(tasks)}
    assert not seen and found.keys() == {"0", "1", "2", "3", "4"} and found.pop("3").failure == BAD_IMAGE
    for name, result in found.items():
        expected = by_library("telea", gray(pixels(seed=int(name)), box()), box())
        task = tasks[int(name)]
        assert torch.equal(result.x, task.compose(to_tensor(expected))) and torch.equal(result.picture, result.x)
        assert (result.calls, result.chosen, len(result.attempts), result.failure) == (0, 0, 1, None)
        assert result.seconds > 0
    stopped = Engine(Never(), GRID, Fill(), KnownRegion(), range, start=FilledStart(MeanSeed()), stop=lambda: True)
    assert not list(stopped.run(tasks[:3]))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "images").mkdir()
    for n in range(3):
        Image.fromarray(pixels(24, 24, n)).save(tmp_path / "images" / f"im{n}.png")
    return tmp_path


def floor_run(place, method: str, *overrides: str):
    return compose_run([
        f"method={method}", "dataset=folder", f"dataset.path={place}/images", "dataset.size=24", "mask=half",
        f"output_root={place}/out", "metrics.names=[]", *overrides,
    ])  # fmt: skip


@pytest.mark.parametrize("method", FLOORS)
def test_a_run_needs_no_weights_and_is_the_library_s(place, method):
    """The dataset's own model is one whose weights are not here."""
    outcome = execute(floor_run(place, method))
    store, label = outcome.experiment.store, outcome.experiment.setup.label
    assert not outcome.failed and label == method and store.path.parent.name == method
    assert outcome.summary["network_calls_per_image"] == 0 and outcome.summary["steps"] == "no steps"
    hole = outcome.experiment.setup.masks.hole("im0", 24, 24)
    for n in range(3):
        given = pixels(24, 24, n)
        expected = np.where(hole[..., None], by_library(method, gray(given, hole), hole), given)
        assert np.array_equal(store.image(f"im{n}"), expected)
    records = [json.loads(line) for line in (store.path / "per_image.jsonl").open()]
    assert all(record["network_calls"] == 0 and record["start_timesteps"] == [0] for record in records)
    again = execute(floor_run(place, method, "model=avatars64", "sampler=heun", "runtime.batch_size=auto"))
    assert again.experiment.store.path == store.path


def test_a_floor_has_no_model_and_takes_neither_is_diff_nor_text():
    setup = Setup.of(compose_run(["method=telea", "dataset=photos"]))
    assert isinstance(setup.model, NoModel) and setup.calls_expected() == 0 and setup.title == "telea, no steps"
    for overrides, said in (
        (["isdiff=on"], "method telea asks no network, which IS-Diff needs; leave isdiff=off"),
        (["isdiff=refine_only"], "leave isdiff=off"),
        (["prompt=a"], "method telea takes no text"),
        (["method.fill.radius=0"], "radius is 0"),
        (["method.fill._target_=isdiff.samplers.base.Fill"], "only a Seed of isdiff"),
    ):
        with pytest.raises(UserError, match=said):
            Setup.of(compose_run(["method=telea", *overrides]))


@pytest.mark.parametrize("method", FLOORS)
def test_a_picture_of_any_size_is_filled_whole(method):
    """Through ``isdiff.inpaint``, without a model or with one that is named for nothing."""
    picture, hole = pixels(100, 150), box(100, 150)
    expected = np.where(hole[..., None], by_library(method, gray(picture, hole), hole), picture)
    for model in (None, "photos64"):
        result = isdiff.inpaint(picture, hole, method=method, model=model)
        assert np.array_equal(result.image, expected) and result.seed_images is None
        assert [trace.network_calls for trace in result.trace[0]] == [0]
    assert isdiff.Inpainter(method).model == NO_MODEL
