"""The prior of a picture's own patches: its exact maths, odd sizes and holes, and that nothing but the known counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from isdiff import Engine, Task, UserError
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, resampling_plan
from isdiff.known import NullSpace
from isdiff.models.patches import PatchModel
from isdiff.priors.patches.membrane import match_edge
from isdiff.priors.patches.prior import TOLERANCE, Noisy, PatchPrior, PatchSettings, build_pyramid
from isdiff.priors.patches.search import distances
from isdiff.samplers.solvers import DDIM

EVERYTHING = 10**12
# Each way to compare windows, whatever the defaults are.
WAYS = {
    "exact": PatchSettings(window=5, exact=EVERYTHING, compared=EVERYTHING, depth=1e9, coarsest=6),
    "all": PatchSettings(window=5, exact=0, compared=EVERYTHING, depth=1e9, coarsest=6),
    "matched": PatchSettings(window=5, exact=0, compared=0, coarsest=6),
    "exact, then matched": PatchSettings(window=5, exact=EVERYTHING, compared=0, coarsest=6),
}
# At the finest scale whatever the noise, and nothing is done to the answer afterwards.
PLAIN = PatchSettings(window=5, noise=1e9, edge=0, features=EVERYTHING, compared=EVERYTHING, depth=1e9)

BETAS = named_betas("linear")
ALPHAS_CUMPROD = torch.cumprod(1 - BETAS, 0)


def flow(timestep: float) -> tuple[float, float]:
    return 1 - timestep / 1000, timestep / 1000


def process(timestep: float) -> tuple[float, float]:
    alphas_cumprod = float(ALPHAS_CUMPROD[int(timestep)])
    return alphas_cumprod**0.5, (1 - alphas_cumprod) ** 0.5


PROCESSES = {
    "flow": (flow, Grid.flow([(i + 1) / 5 for i in range(5)])),
    "process": (process, Grid.of(BETAS, leading_timesteps(1000, 20))),
}


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth shapes and a little texture, (3, H, W) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.randn(1, 3, height // 5 + 2, width // 5 + 2, generator=generator)
    smooth = interpolate(small, size=(height, width), mode="bilinear")[0]
    return (0.5 * smooth + 0.1 * torch.randn(3, height, width, generator=generator)).clamp(-1, 1)


def make_task(height: int = 37, width: int = 53, box: tuple[slice, slice] | None = None, seed: int = 0) -> Task:
    """The hole is a box; by default one in the middle."""
    middle = slice(height // 3, -(-2 * height // 3)), slice(width // 3, -(-2 * width // 3))
    hole = torch.zeros(1, height, width, dtype=torch.bool)
    hole[0][box or middle] = True
    return Task(f"{height}x{width}", picture(height, width, seed), hole)


def noisy(task: Task, alpha: float, sigma: float, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(task.image.shape, generator=torch.Generator().manual_seed(seed))
    return alpha * task.image + sigma * noise


def clean_of(task: Task, alpha: float, sigma: float, options: PatchSettings, x: torch.Tensor | None = None):
    prior = PatchPrior(lambda timestep: (alpha, sigma), options)
    x = noisy(task, alpha, sigma) if x is None else x
    return prior.predict([x], [0], [prior.prepare(task)])[0].clean


def run(tasks: list[Task], kind: str = "flow", sampler=None, known=None, **options):
    levels, grid = PROCESSES[kind]
    prior = PatchPrior(levels, options.pop("settings", WAYS["exact, then matched"]))
    engine = Engine(prior, grid, sampler or DDIM(0.0), known or NullSpace(), resampling_plan, **options)
    return {result.task.id: result for result in engine.run(map(prior.prepare, tasks))}


def usable(hole: np.ndarray, radius: int) -> np.ndarray:
    """Windows over the border of the picture count where the hole is as near to such a border."""
    within = []
    for size, places in zip(hole.shape, np.nonzero(hole), strict=True):
        inner = np.zeros(size, bool)
        inner[radius : size - radius] = True
        within.append(inner | (places.min() < radius) | (places.max() >= size - radius))
    return np.logical_and.outer(*within)


def naive(task: Task, x: torch.Tensor, alpha: float, sigma: float, options: PatchSettings, as_known: bool):
    """The expected colours (M, 3) of the hole's pixels, in float64: a sum over all known windows, one at a time.

    Args:
        as_known: the known cells of a noisy window are the picture's and differ by the tolerance.
    """
    side, radius = options.window, options.window // 2
    hole = task.hole[0].numpy()
    height, width = hole.shape
    around = [(0, 0), (radius, radius), (radius, radius)]
    x64, image = x.numpy().astype(float), task.image.numpy().astype(float)
    cells = np.pad(np.where(hole, x64, alpha * image) if as_known else x64, around, mode="reflect")
    holes, clean = np.pad(hole, around[1:], mode="reflect"), np.pad(image, around, mode="reflect")
    depth = max(
        np.hypot(*(np.argwhere(~hole) - place).T).min() for place in np.argwhere(hole)
    )  # to the nearest known pixel
    window = lambda table, r, c: table[..., r : r + side, c : c + side]  # noqa: E731
    known = [
        (r, c, each, image[:, r, c])
        for r, c in np.ndindex(height, width) if usable(hole, radius)[r, c] and not window(holes, r, c).any()
        for each in (window(clean, r, c), window(clean, r, c)[..., ::-1])
    ]  # fmt: skip
    found = []
    for row, column in np.argwhere(hole):
        query = window(cells, row, column)
        variance = np.full(side * side, sigma**2)
        if as_known:
            variance[~window(holes, row, column).ravel()] = (alpha * TOLERANCE) ** 2
        covariance = np.diag(variance) + (alpha * options.shift) ** 2
        inverse = np.linalg.inv(covariance)
        logs, answers = [], []
        for r, c, each, colour in known:
            away = (query - alpha * each).reshape(3, -1)
            place = ((r - row) / (options.rows * height)) ** 2 + ((c - column) / (options.columns * depth)) ** 2
            held = away @ inverse
            logs.append(-0.5 * ((held * away).sum() + place))
            answers.append(colour + alpha * options.shift**2 * held.sum(1))
        weights = np.exp(np.array(logs) - max(logs))
        found.append(weights @ np.array(answers) / weights.sum())
    return np.array(found)


@pytest.mark.parametrize("as_known", [False, True], ids=["all", "exact"])
@pytest.mark.parametrize("alpha, sigma", [(0.1, 0.99), (0.6, 0.8), (0.97, 0.15)])
def test_the_answer_is_the_mean_of_a_mixture_of_gaussians(alpha, sigma, as_known):
    options = replace(PLAIN, shift=0.05, rows=0.3, columns=2.0, exact=EVERYTHING * as_known)
    task = make_task(17, 18, (slice(5, 12), slice(0, 7)))
    assert build_pyramid(task.image, task.hole, options).levels[1].side == 5
    x = noisy(task, alpha, sigma)
    found = clean_of(task, alpha, sigma, options, x)[:, task.hole[0]].T
    assert np.abs(found.numpy() - naive(task, x, alpha, sigma, options, as_known)).max() < 1e-4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("alpha, sigma", [(0, 1), (0.5, 0.5), (1, 1e-8)])
def test_every_level_of_noise(way, alpha, sigma):
    task = make_task()
    prior = PatchPrior(lambda timestep: (alpha, sigma), WAYS[way])
    x = noisy(task, alpha, sigma)
    answer = prior.predict([x], [0], [prior.prepare(task)])[0]
    assert torch.isfinite(answer.clean).all() and torch.isfinite(answer.noise).all()
    assert torch.equal(answer.clean[:, ~task.hole[0]], task.image[:, ~task.hole[0]])
    assert answer.clean.abs().max() < 2
    if sigma > 1e-6:
        assert torch.allclose(alpha * answer.clean + sigma * answer.noise, x, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ratio", [0.05, 50.0])
def test_only_the_ratio_of_noise_to_signal_counts(way, ratio):
    """A variance-preserving level and a flow's are the same picture at two scales.

    Windows at the picture's left and right edge are like their mirror images, and rounding says which is matched; so
    they are kept out here.
    """
    task = make_task(37, 80, (slice(12, 25), slice(33, 46)))
    scales = (1 + ratio**2) ** -0.5, 1 / (1 + ratio)
    found = [clean_of(task, alpha, alpha * ratio, replace(WAYS[way], columns=0.5)) for alpha in scales]
    assert torch.allclose(*found, atol=1e-3)


def test_a_texture_that_repeats_goes_on():
    """Each window of the hole is elsewhere too, so little is left of little noise."""
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(48), indexing="ij")
    tile = picture(8, 8, 3)
    image = tile[:, rows % 8, columns % 8]
    task = Task("tiles", image, make_task(40, 48).hole)
    for way, options in WAYS.items():
        found = clean_of(task, 0.98, 0.2, replace(options, noise=1.0, rows=1.0, columns=10.0, edge=0, shift=0.01))
        assert (found - image)[:, task.hole[0]].abs().mean() < 0.03, way


def test_pictures_of_any_sizes_do_not_know_of_each_other():
    """To the bit, whatever the batch and the order."""
    tasks = [make_task(*size, seed=n) for n, size in enumerate([(37, 53), (16, 90), (7, 31)])]
    alone = {task.id: run([task])[task.id].x for task in tasks}
    found = run(tasks[::-1], batch_size=2)
    assert all(torch.equal(found[name].x, x) for name, x in alone.items())


@pytest.mark.parametrize("way", WAYS)
def test_the_number_of_threads_does_not_matter(way):
    """To the bit."""
    before, found = torch.get_num_threads(), []
    task = make_task(48, 60)
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append([clean_of(task, *flow(t), replace(WAYS[way], window=7)) for t in (600, 100)])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


HOLES = {
    "a pixel": lambda hole: hole[hole.shape[0] // 2, hole.shape[1] // 2].fill_(True),
    "at the border": lambda hole: hole[: hole.shape[0] // 2 + 1, -(hole.shape[1] // 3 + 1) :].fill_(True),
    "several": lambda hole: hole.view(-1)[1::5].fill_(True),
    "all but a pixel": lambda hole: hole.fill_(True)[-1, 0].fill_(False),
}


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("size", [(37, 53), (1, 40), (3, 3), (90, 5)], ids=str)
def test_any_size_and_any_hole(size, hole):
    holed = torch.zeros(1, *size, dtype=torch.bool)
    HOLES[hole](holed[0])
    assert holed.any() and not holed.all()
    task = Task("odd", picture(*size), holed)
    for way, t in [("exact", 900), ("matched", 300), ("all", 20)]:
        clean = clean_of(task, *flow(t), WAYS[way])
        assert clean.shape == task.image.shape and torch.isfinite(clean).all() and clean.abs().max() < 2
        assert torch.equal(clean[:, ~holed[0]], task.image[:, ~holed[0]])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("paint", [1e6, float("nan")])
def test_what_lies_beneath_the_hole_is_never_looked_at(way, paint):
    task = make_task()
    painted = torch.where(task.hole, paint * torch.randn(task.image.shape), task.image)
    for t in (1000, 100):
        x = noisy(task, *flow(t))
        found = [clean_of(each, *flow(t), WAYS[way], x) for each in (task, replace(task, image=painted))]
        assert torch.equal(*found)


def test_what_cannot_be_filled_is_one_sentence():
    prior, task = PatchPrior(flow), make_task(8, 8)
    with pytest.raises(UserError, match="takes no prompt"):
        prior.prepare(task, "a cat")
    with pytest.raises(UserError, match="image 8x8 has no known pixel"):
        prior.prepare(replace(task, hole=torch.ones_like(task.hole)))


def test_the_model_has_the_levels_of_its_process():
    """Between timesteps too, and refuses what cannot work."""
    prior = PatchModel(window=5).load(torch.device("cpu"))
    assert prior.settings.window == 5
    for t in (0, 10, 999):
        assert prior.levels(t) == pytest.approx(process(t), abs=1e-6)
    assert prior.levels(10)[0] > prior.levels(10.5)[0] > prior.levels(11)[0]
    for key, value in {"window": 4, "rows": 0, "columns": -1.0, "shift": -0.1, "edge": float("nan")}.items():
        with pytest.raises(ValueError, match=f"{key} is"):
            PatchModel(**{key: value})


def test_edges_that_go_on_are_left_alone_and_others_are_matched():
    hole = make_task(30, 34).hole[0]
    rows, columns = torch.meshgrid(torch.linspace(-0.1, 0.1, 30), torch.linspace(-0.1, 0.1, 34), indexing="ij")
    ramp = torch.stack([rows, columns, rows + columns])
    going_on = match_edge(ramp, hole, 0.15)
    assert going_on[:, hole].abs().max() < 0.03
    flat = torch.zeros(3, 30, 34)
    for off in (0.03, -0.05):
        moved_back = match_edge(torch.where(hole, flat + off, flat), hole, 0.15)[:, hole]
        assert torch.allclose(moved_back, torch.full_like(moved_back, -off), atol=0.15 * abs(off))
    border = match_edge(torch.where(hole, flat + 1.5, flat), hole, 0.15)[:, hole]
    assert border.abs().max() < 0.05, "another thing begins there"


def test_no_unknown_window_counts():
    task = make_task(40, 60)
    prior = PatchPrior(flow, replace(WAYS["matched"], matches=6))
    task = prior.prepare(task)
    state = Noisy(noisy(task, 0.9, 0.1), 0.9, 0.1, task, prior.settings)
    level = state.level()
    assert level.cell == 1 < task.condition.complete
    found, away = state.matches(level)
    assert found.shape == away.shape == (len(level.places), 6) and away[:, 0].isfinite().all()
    assert level.known[found[away.isfinite()]].all()
    assert (away[:, 1:] >= away[:, :-1]).all()
    everywhere = torch.arange(len(level.features)).expand(len(level.places), -1)
    measured = distances(level, state.query(level), everywhere, state.precision(level))
    assert torch.equal(measured[0].isinf(), ~level.known)
    assert (away[:, 0] >= measured.amin(1) - 1e-3).all()


def test_a_small_hole_in_a_large_picture():
    """Where features are kept in half precision and all windows are compared at full size."""
    image = picture(520, 640)
    hole = torch.zeros(1, 520, 640, dtype=torch.bool)
    hole[0, 300:303, 200:202] = True
    task = Task("large", image.masked_fill(hole, 0), hole)
    pyramid = build_pyramid(task.image, hole, PatchSettings())
    assert pyramid.complete == 1 and pyramid.levels[1].features.dtype == torch.float16
    found = clean_of(task, 1.0, 0.05, PatchSettings())
    assert torch.isfinite(found).all() and (found - image)[:, hole[0]].abs().mean() < 0.5
