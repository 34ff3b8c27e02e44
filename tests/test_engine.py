"""The engine: independence of images, attempts, and exact answers where they are known."""

import pytest
import torch
from conftest import Answers

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import leading_timesteps, named_betas, resampling_plan
from isdiff.engine import Engine
from isdiff.known import KnownRegion, NullSpace, Renoised
from isdiff.prediction import Prediction
from isdiff.refine import CrossEntropy, Refinement
from isdiff.samplers.base import Pull, Sampler, steps_down
from isdiff.samplers.solvers import DDIM, DPMPP2M, DDNMSteps
from isdiff.seeds.base import SeededStart
from isdiff.seeds.distributions import MeanSeed, MixtureSeed
from isdiff.trajectory import Stream, Task

GRID = Grid.of(named_betas("linear"), leading_timesteps(1000, 10))
DDNM = (DDNMSteps(), NullSpace())
# Remembers earlier steps. test_contract_methods.py has all methods with retries, test_contract_seeds.py all samplers.
MULTISTEP = (DPMPP2M(stochastic=True), Renoised())


def make_tasks(count: int = 16) -> list[Task]:
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[:, :, 8:] = True
    images = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    return [Task(f"img{i}", image.masked_fill(hole, 0), hole) for i, image in enumerate(images)]


class ScriptedRefinement(Refinement):
    """DCE by image and attempt instead of by content, to steer decisions."""

    def __init__(self, table, attempts=3, tau=1.0, checkpoint=0.5):
        super().__init__(None, attempts, tau, checkpoint)
        self.table, self.seen = table, {}

    def judge(self, task, picture):
        self.seen[task.id] = self.seen.get(task.id, -1) + 1
        return self.table[task.id][self.seen[task.id]]


def run(prior, tasks, **options):
    options.setdefault("plan", lambda n: resampling_plan(n, 3, 2))
    sampler, known = options.pop("method", DDNM)
    options |= {"sampler": sampler, "known": known}
    return {r.task.id: r for r in Engine(prior, GRID, **options).run(tasks)}


def test_results_do_not_depend_on_batch_size_or_order(golden_prior):
    """In float32, to the bit: images, calls and decisions."""
    tasks = make_tasks(4)

    def run_all(ordered, batch_size):
        table = {f"img{i}": [2.0, 0.5 + i % 3, 3.0 - i % 2] for i in range(16)}
        start = SeededStart(MixtureSeed(3), 0.95, 0.1)
        options = {"start": start, "refinement": ScriptedRefinement(table)}
        return run(golden_prior, ordered, method=MULTISTEP, batch_size=batch_size, **options)

    reference, again = run_all(tasks, 16), run_all(tasks[::-1], 3)
    for key, result in reference.items():
        assert torch.equal(again[key].x, result.x), key
        assert again[key].attempts == result.attempts and again[key].calls == result.calls


def test_ddnm_keeps_known_pixels():
    """abar is 1 at the end, so DDNM's own result has the input outside the hole."""
    task = make_tasks(1)[0]
    result = run(Answers(lambda images, *_: [Prediction(torch.zeros_like(x)) for x in images]), [task])["img0"]
    assert torch.allclose(result.x[:, ~task.hole[0]], task.image[:, ~task.hole[0]], atol=1e-6)


def test_retries_stay_with_their_own_image(golden_prior):
    """A passes at once, B at its second attempt, C never and goes on from its best, the second."""
    tasks = make_tasks(3)
    table = {"img0": [0.5], "img1": [2.0, 0.9], "img2": [3.0, 1.5, 2.0]}
    start = SeededStart(MeanSeed(), 0.9, 0.1)
    options = {"start": start, "plan": resampling_plan}
    found = run(golden_prior, tasks, refinement=ScriptedRefinement(table), **options)
    assert [len(found[f"img{i}"].attempts) for i in range(3)] == [1, 2, 3]
    assert [found[f"img{i}"].chosen for i in range(3)] == [0, 1, 1]
    assert [a.start_timestep for a in found["img2"].attempts] == [900, 800, 700]
    assert [a.dce for a in found["img2"].attempts] == table["img2"]
    # Ten steps: 900 .. 0. Judged at 500: attempts cost 5, 4 and 3 calls, and 5 more follow the checkpoint.
    assert [found[f"img{i}"].calls for i in range(3)] == [10, 5 + 9, 5 + 4 + 3 + 5]
    # The image taken up again equals a run in which that attempt had passed.
    direct = run(golden_prior, tasks, refinement=ScriptedRefinement({**table, "img2": [3.0, 0.1]}), **options)
    assert torch.equal(found["img2"].x, direct["img2"].x)


def test_what_is_kept_is_what_the_rule_says(golden_prior):
    """With a margin too, whether the last attempt passes or none does."""
    scripts = [[3.0, 2.9, 2.0], [3.0, 2.0, 2.8], [3.0, 2.9, 2.8], [3.0, 2.8, 3.1], [3.0, 2.99, 0.9], [1.05, 1.3, 1.0]]
    tasks, options = make_tasks(len(scripts)), {"start": SeededStart(MeanSeed(), 0.9, 0.1), "plan": resampling_plan}
    table = dict(zip([task.id for task in tasks], scripts, strict=True))
    rule = ScriptedRefinement(table)
    rule.margin = 0.2
    found = run(golden_prior, tasks, refinement=rule, **options)
    assert [found[task.id].chosen for task in tasks] == [2, 1, 0, 0, 2, 0]
    wanted = {name: [9.0] * found[name].chosen + [0.1] for name in table}
    direct = run(golden_prior, tasks, refinement=ScriptedRefinement(wanted), **options)
    assert all(torch.equal(found[name].x, direct[name].x) for name in table)


def test_streams_differ_by_seed_image_and_attempt():
    like = torch.zeros(3, 8, 8)
    keys = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    draws = [Stream(*key).normal(like) for key in keys]
    assert all(not torch.equal(draws[0], other) for other in draws[1:])
    assert torch.equal(draws[0], Stream(*keys[0]).normal(like))
    # Recorded once: noise must not change between versions of this package.
    assert draws[0].flatten()[:3].tolist() == pytest.approx([-0.660958, 1.297060, -0.257748], abs=1e-5)


def test_memory_shortage_halves_the_batch(golden_net):
    from isdiff.priors.pixel import PixelPrior

    class Limited(PixelPrior):
        def batch(self, images, timesteps, conditions):
            if len(images) > 4:
                raise torch.cuda.OutOfMemoryError("pretend")
            return super().batch(images, timesteps, conditions)

    tasks = make_tasks(6)
    cpu = torch.device("cpu")
    full, limited = run(PixelPrior(golden_net, cpu), tasks), run(Limited(golden_net, cpu), tasks)
    assert all(torch.equal(full[key].x, limited[key].x) for key in full)


def test_a_seed_that_fails_fails_where_its_image_is_needed(golden_prior):
    tasks = make_tasks(4)
    tasks[2] = Task("none", tasks[2].image, torch.ones(1, 16, 16, dtype=torch.bool))
    engine = Engine(golden_prior, GRID, *DDNM, resampling_plan, start=SeededStart(MixtureSeed(3)), batch_size=1)
    finished = []
    with pytest.raises(ValueError, match="image none has no known pixel"):
        finished.extend(result.task.id for result in engine.run(tasks))
    assert finished == ["img0", "img1"]


class Asks(Sampler):
    """A step of plain DDIM; notes the gradient that it was given of ``x0 . x0 / 2``."""

    pulls = True

    def __init__(self):
        self.seen = {}

    def __call__(self, tr, grid, known):
        for t, s in steps_down(tr, grid, known):
            x = tr.x
            prediction = yield x, t
            tr.x0 = prediction.x0(x, grid, t)
            gradient = yield Pull(tr.x0)
            self.seen.setdefault(tr.task.id, []).append((x, t, gradient))
            tr.x = grid.noised(tr.x0, prediction.noise, s)


def test_a_sampler_is_given_gradients_through_the_network():
    """Against autograd by hand, for images of one batch that are at different timesteps, in one pass for all."""
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False)
    calls = []

    def curved(states, timesteps, tasks):
        calls.append(len(states))
        return [Prediction(each) for each in torch.tanh(net(torch.stack(list(states))))]

    sampler = Asks()
    plan = lambda steps: tuple(range(steps - 1, -2, -1))  # noqa: E731
    engine = Engine(Answers(curved), GRID, sampler, KnownRegion(), plan, batch_size=2)
    results = list(engine.run(make_tasks(3)))
    assert len(results) == 3 and all(result.failure is None for result in results) and max(calls) == 2
    for seen in sampler.seen.values():
        for x, t, gradient in seen:
            with torch.inference_mode(False):
                leaf = x.clone().requires_grad_()
                x0 = (leaf - GRID.sigma(t) * torch.tanh(net(leaf[None]))[0]) / GRID.alpha(t)
                (expected,) = torch.autograd.grad(x0.square().sum() / 2, leaf)
            assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", ["noise", "velocity", "clean", "flow"])
def test_every_kind_of_output_is_the_same_prediction(kind):
    image, noise = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    alpha, sigma = (0.7, 0.3) if kind == "flow" else (0.8, 0.6)
    x = alpha * image + sigma * noise
    output = {"noise": noise, "velocity": alpha * noise - sigma * image, "clean": image, "flow": noise - image}[kind]
    found = Prediction.of(output, kind, x, alpha, sigma)
    assert torch.allclose(found.noise, noise)
    assert found.clean is None if kind == "noise" else torch.allclose(found.clean, image)


@pytest.mark.parametrize(
    "value, after, method",
    [(float("nan"), 1001, DDNM), (float("inf"), 300, (DDIM(), Renoised()))],
    ids=["at once", "later"],
)
def test_an_image_with_nan_fails_and_leaves_its_mates_alone(method, value, after):
    def answer(images, timesteps, tasks):
        bad = [task.id == "img1" and t < after for t, task in zip(timesteps, tasks, strict=True)]
        return [Prediction(torch.full_like(x, value) if b else 0.9 * x) for x, b in zip(images, bad, strict=True)]

    def results(tasks):
        refinement = Refinement(CrossEntropy(), 2, 0.5, 0.6)
        start = SeededStart(MixtureSeed(2, 1, 100), 0.9, 0.05)
        return run(Answers(answer), tasks, method=method, start=start, refinement=refinement, batch_size=3)

    tasks = make_tasks(3)
    mixed, alone = results(tasks), results(tasks[::2])
    assert "not finite numbers" in mixed["img1"].failure
    for name in alone:
        assert mixed[name].failure is None and torch.equal(mixed[name].x, alone[name].x)
