"""Samplers that ask for gradients, where the network is exact: a Gaussian's, with its posterior in closed form."""

import azula.denoise
import pytest
import torch
from azula.guidance import DPSSampler, MMPSDenoiser, PGDMSampler
from azula.linalg.covariance import IsotropicCovariance
from azula.sample import DDPMSampler
from conftest import Answers

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import named_betas
from isdiff.engine import Engine
from isdiff.errors import UserError
from isdiff.known import KnownRegion
from isdiff.pictures.jobs import Inpainter
from isdiff.prediction import Prediction
from isdiff.samplers.restoration import DPS, MMPS, PiGDM
from isdiff.trajectory import Stream, Task

GRID = Grid.of(named_betas("linear"), [0, 250, 500, 750, 999])
SHAPE = (3, 4, 4)
SIZE = 48


@pytest.fixture(scope="module")
def gaussian():
    """Mean and covariance (48, 48) of images."""
    g = torch.Generator().manual_seed(0)
    factor = torch.randn(SIZE, SIZE, generator=g) / SIZE**0.5
    return 0.3 * torch.randn(SIZE, generator=g), factor @ factor.T + 0.05 * torch.eye(SIZE)


def denoise(gaussian, x, alpha, sigma):
    """E[x0 | x] and its Jacobian."""
    mean, covariance = gaussian
    gain = alpha * covariance @ torch.linalg.inv(alpha**2 * covariance + sigma**2 * torch.eye(SIZE))
    return mean + gain @ (x - alpha * mean), gain


def posterior(gaussian, x, alpha, sigma, image, known):
    """E[x0 | x, known pixels] of the Gaussian."""
    _, covariance = gaussian
    estimate, gain = denoise(gaussian, x, alpha, sigma)
    left = covariance - alpha * gain @ covariance
    taken = left[:, known] @ torch.linalg.inv(left[known][:, known])
    return estimate + taken @ (image[known] - estimate[known])


def run(sampler, gaussian, task, seen, stream=Stream):
    def predict(states, timesteps, tasks):
        answers = []
        for x, timestep in zip(states, timesteps, strict=True):
            index = GRID.timesteps.index(timestep)
            x0, _ = denoise(gaussian, x.flatten(), GRID.alpha(index), GRID.sigma(index))
            answers.append(Prediction(torch.zeros_like(x), clean=x0.view(SHAPE)))
            seen.append((x.detach().clone(), index))
        return answers

    plan = lambda steps: tuple(range(steps - 1, -2, -1))  # noqa: E731
    (result,) = Engine(Answers(predict), GRID, sampler, KnownRegion(), plan, stream=stream).run([task])
    return result


@pytest.fixture
def task(gaussian):
    mean, covariance = gaussian
    image = mean + torch.linalg.cholesky(covariance) @ torch.randn(SIZE, generator=torch.Generator().manual_seed(1))
    hole = torch.zeros(1, 4, 4, dtype=torch.bool)
    hole[..., 2:] = True
    return Task("a", image.view(SHAPE).masked_fill(hole, 0.0), hole)


def test_mmps_is_the_posterior_mean_of_a_gaussian(gaussian, task):
    """With as many iterations as the solver needs; the corrected prediction is what the state then is made of."""
    made = []

    class Noted(MMPS):
        def correct(self, tr, grid, t, x0):
            moved = yield from super().correct(tr, grid, t, x0)
            made.append((tr.x.clone(), t, tr.x0.clone()))
            return moved

    run(Noted(iterations=24, noise=0.0), gaussian, task, [])
    known = (~task.hole).expand(SHAPE).flatten()
    for x, t, corrected in made[1:]:
        expected = posterior(gaussian, x.flatten(), GRID.alpha(t), GRID.sigma(t), task.image.flatten(), known)
        assert torch.allclose(corrected.flatten(), expected, atol=2e-2 * float(expected.abs().max()))


class Levels:
    """The grid as a schedule of azula, whose times are indices."""

    def __call__(self, t):
        return tuple(torch.tensor(level(int(t)), dtype=torch.float32) for level in (GRID.alpha, GRID.sigma))


@pytest.mark.parametrize("name", ["dps", "mmps", "pigdm"])
def test_steps_are_azulas(gaussian, task, name, monkeypatch):
    """Every step of a run against that of an independent library (MIT), from the same state with the same noise.

    In PiGDM the library multiplies the move by the signal of the new level; the paper's Algorithm 1, which is ours,
    does not.
    """
    draws, seen = [], []

    class Noted(Stream):
        def normal(self, like):
            draws.append(super().normal(like))
            return draws[-1]

    ours = {"dps": DPS(), "mmps": MMPS(iterations=3, noise=0.01), "pigdm": PiGDM()}[name]
    result = run(ours, gaussian, task, seen, Noted)

    class Denoiser(azula.denoise.Denoiser):
        schedule = Levels()

        def forward(self, x, t):
            mean, _ = denoise(gaussian, x, GRID.alpha(int(t)), GRID.sigma(int(t)))
            return azula.denoise.DiracPosterior(mean)

    known = (~task.hole).expand(SHAPE).flatten().nonzero()[:, 0]
    given, take = task.image.flatten()[known], lambda x: x[known]
    plain = DDPMSampler(Denoiser())
    covariance = IsotropicCovariance(0.01**2)
    theirs = {
        "dps": DPSSampler(Denoiser(), given, take, zeta=1.0),
        "mmps": DDPMSampler(MMPSDenoiser(Denoiser(), given, take, covariance, "cg", iterations=3)),
        "pigdm": PGDMSampler(Denoiser(), given, take, lambda y: torch.zeros(SIZE).index_put((known,), y), eta=1.0),
    }[name]
    states = [x for x, _ in seen] + [result.x]
    for place, (x, t) in enumerate(seen):
        monkeypatch.setattr(torch, "randn_like", lambda like, place=place: draws[place + 1].flatten())
        step = [sampler.step(x.flatten(), torch.tensor(t), torch.tensor(t - 1)) for sampler in (theirs, plain)]
        share = GRID.alpha(t - 1) if name == "pigdm" else 1.0
        expected = step[1] + (step[0] - step[1]) / share
        torch.testing.assert_close(
            states[place + 1].flatten(), expected, atol=2e-4 * float(expected.abs().max()), rtol=0
        )


def test_own_pictures_get_a_model_with_gradients():
    assert Inpainter("dps").model == "photos64" and Inpainter("flower").model == "patches"
    with pytest.raises(UserError, match="method dps needs gradients, which model patches has not"):
        Inpainter("dps", "patches")
