"""Seeds: the distribution they draw from, and what they may look at."""

import numpy as np
import pytest
import torch
from conftest import images_of

from isdiff import Engine, UserError
from isdiff.diffusion.grid import Grid
from isdiff.diffusion.schedule import TimestepPlan, leading_timesteps, named_betas
from isdiff.known import NullSpace
from isdiff.models.patches import PatchModel, PatchSeed
from isdiff.samplers.solvers import DDIM
from isdiff.seeds.base import SeededStart
from isdiff.seeds.distributions import (
    GaussianSeed,
    MeanSeed,
    MixtureSeed,
    OracleSeed,
    PositionSeed,
    fit_with_sklearn,
)
from isdiff.seeds.mixture import Mixture, features, fit_mixture
from isdiff.trajectory import Stream, Task

GRID = Grid.of(named_betas("linear"), leading_timesteps(1000, 100))


def two_colors(truth: bool = False) -> Task:
    """Known left half: two thirds red, one third blue, with a little noise; the hidden half is green."""
    rng = torch.Generator().manual_seed(0)
    image = torch.zeros(3, 48, 48)
    image[:, :32] = torch.tensor([0.8, -0.8, -0.8]).view(3, 1, 1)
    image[:, 32:] = torch.tensor([-0.8, -0.8, 0.8]).view(3, 1, 1)
    image += 0.02 * torch.randn(image.shape, generator=rng)
    hole = torch.zeros(1, 48, 48, dtype=torch.bool)
    hole[..., 24:] = True
    whole = torch.where(hole, torch.tensor([-0.8, 0.8, -0.8]).view(3, 1, 1), image)
    return Task("two", image.masked_fill(hole, 0), hole, truth=whole if truth else None)


def test_mixture_has_the_known_colors_in_their_shares():
    task = two_colors()
    pixels = MixtureSeed(components=2).fill(task, Stream(0, "two"))[:, task.hole[0]]
    red = pixels[0] > 0
    assert red.float().mean().item() == pytest.approx(2 / 3, abs=0.04)
    assert pixels[0][red].mean().item() == pytest.approx(0.8, abs=0.01)
    assert pixels[0][red].std().item() == pytest.approx(0.022, abs=0.005)
    assert not (pixels[1] > 0).any(), "the hidden green has leaked into the seed"


def test_one_gaussian_has_the_moments_of_the_known_pixels():
    task = two_colors()
    known = task.image[:, ~task.hole[0]]
    drawn = GaussianSeed().fill(task, Stream(0, "two")).flatten(1)
    assert torch.allclose(drawn.mean(1), known.mean(1), atol=0.06)
    assert torch.allclose(torch.cov(drawn), torch.cov(known), atol=0.06)


def test_mean_and_oracle():
    task = two_colors(truth=True)
    mean = MeanSeed().fill(task, Stream(0, "two"))
    assert torch.allclose(mean[:, 0, 0], task.image[:, ~task.hole[0]].mean(1), atol=1e-6)
    assert mean.flatten(1).std(1).max() == 0
    oracle = OracleSeed().fill(task, Stream(0, "two"))
    assert torch.allclose(oracle[:, 5, 40], torch.tensor([-0.8, 0.8, -0.8]))
    with pytest.raises(ValueError, match="true image"):
        OracleSeed().fill(two_colors(), Stream(0, "two"))


def test_cells_share_a_draw():
    seed = MixtureSeed(2, scale=5).fill(two_colors(), Stream(0, "two"))
    assert seed.shape == (3, 48, 48)
    assert torch.equal(seed[:, 0:5, 0:5], seed[:, :1, :1].expand(3, 5, 5))
    assert not torch.equal(seed[:, 0, 0], seed[:, 0, 5])


def test_draws_follow_the_stream_and_the_fit_does_not():
    task, seed = two_colors(), MixtureSeed(2)
    first = seed.fill(task, Stream(0, "two", 0))
    assert torch.equal(first, MixtureSeed(2).fill(two_colors(), Stream(0, "two", 0)))
    assert not torch.equal(first, seed.fill(task, Stream(0, "two", 1)))
    assert len(seed.fits) == 1
    del task
    assert len(seed.fits) == 0


def test_flat_and_tiny_known_regions():
    flat = Task("flat", torch.full((3, 8, 8), 0.5), torch.arange(64).view(1, 8, 8) > 0)
    for fit in ("em", "sklearn"):
        filled = MixtureSeed(5, fit=fit).fill(flat, Stream(0, "flat"))
        assert torch.allclose(filled.mean(), torch.tensor(0.5), atol=0.02)
    none = Task("none", torch.zeros(3, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match="image none has no known pixel"):
        MixtureSeed(5).fill(none, Stream(0, "none"))


def log_likelihood(mixture: Mixture, vectors) -> float:
    """Mean over ``vectors`` (N, C) of the logarithm of the density."""
    return float(np.logaddexp.reduce(mixture.log_terms(features(vectors)), axis=0).mean())


def halves_of(dataset: str):
    """Every other known pixel of half an image to fit to, and the others."""
    for image in images_of(dataset, 16).double().numpy():
        known = image[:, :, :32].reshape(3, -1).T
        yield known[::2], known[1::2]


@pytest.mark.parametrize("dataset", ["photos", "avatars", "landscapes"])
def test_pixels_left_out_are_as_likely_as_by_scikit_learn(dataset):
    """Within one percent, or better, on average."""
    own, reference = [], []
    for known, left_out in halves_of(dataset):
        components = min(5, len(np.unique(known.round(3), axis=0)))
        own.append(log_likelihood(fit_mixture(known, components), left_out))
        reference.append(log_likelihood(fit_with_sklearn(known, components), left_out))
    assert np.mean(own) > np.mean(reference) - 0.01 * abs(np.mean(reference))


def test_one_component_has_the_moments_and_draws_have_those_of_the_mixture():
    known, _ = next(halves_of("photos"))
    one = fit_mixture(known, 1)
    assert np.allclose(one.means[0], known.mean(0))
    assert np.allclose(one.covariances[0], np.cov(known.T, bias=True) + 1e-4 * np.eye(3))
    mixture = fit_mixture(known, 5)
    drawn = mixture.draw(20_000, np.random.default_rng(0))
    mean = mixture.weights @ mixture.means
    second = np.einsum("k,kij->ij", mixture.weights, mixture.covariances)
    second += np.einsum("k,ki,kj->ij", mixture.weights, mixture.means, mixture.means) - np.outer(mean, mean)
    assert np.allclose(drawn.mean(0), mean, atol=0.02) and np.allclose(np.cov(drawn.T), second, atol=0.02)


def test_start_composes_then_noises():
    """Eq. 7 at three steps: mean and spread of the start, inside the hole and outside."""
    task = two_colors()
    for attempt, timestep in ((0, 900), (1, 800), (2, 700)):
        start = SeededStart(MeanSeed(), step=0.9, lambda_=0.1)
        x, index = start.begin(task, Stream(0, "two", attempt), attempt, GRID)
        assert GRID.timesteps[index] == timestep
        alphas_cumprod = GRID.alpha(index) ** 2
        composed = task.compose(MeanSeed().fill(task, Stream(0, "two", attempt)))
        noise = (x - np.sqrt(alphas_cumprod) * composed) / np.sqrt(1 - alphas_cumprod)
        assert noise.std().item() == pytest.approx(1, abs=0.03) and abs(noise.mean().item()) < 0.03


def random_mixture(components: int = 3, size: int = 4) -> Mixture:
    rng = np.random.default_rng(5)
    roots = rng.standard_normal((components, size, size))
    weights = rng.random(components) + 0.1
    return Mixture(weights / weights.sum(), rng.standard_normal((components, size)), roots @ roots.transpose(0, 2, 1))


def density(mean, covariance, x) -> float:
    away, size = x - mean, len(mean)
    exponent = -0.5 * away @ np.linalg.inv(covariance) @ away
    return float(np.exp(exponent) / np.sqrt((2 * np.pi) ** size * np.linalg.det(covariance)))


def test_a_conditional_mixture_is_joint_over_marginal():
    """p(rest | first) = p(first, rest) / p(first), at any point."""
    mixture, rng = random_mixture(), np.random.default_rng(0)
    values = np.array([-2.0, 0.1, 3.0])
    given = mixture.given_first(values)
    assert given.shares.shape == (3, 3) and np.allclose(given.shares.sum(1), 1)
    for n, value in enumerate(values):
        rest = rng.standard_normal(3)
        parts = list(zip(mixture.weights, mixture.means, mixture.covariances, strict=True))
        joint = sum(w * density(m, c, np.array([value, *rest])) for w, m, c in parts)
        marginal = sum(w * density(m[:1], c[:1, :1], np.array([value])) for w, m, c in parts)
        ours = zip(given.shares[n], given.means[n], given.covariances, strict=True)
        assert sum(w * density(m, c, rest) for w, m, c in ours) == pytest.approx(joint / marginal, rel=1e-9)


def sky_and_grass(known: slice = slice(None)) -> Task:
    """Blue above, green below, known in the left half and in these rows."""
    image = torch.zeros(3, 40, 40)
    image[:, :20] = torch.tensor([-0.6, -0.2, 0.8]).view(3, 1, 1)
    image[:, 20:] = torch.tensor([-0.6, 0.5, -0.8]).view(3, 1, 1)
    image += 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    hole = torch.ones(1, 40, 40, dtype=torch.bool)
    hole[:, known, :20] = False
    return Task("rows", image.masked_fill(hole, 0), hole)


def test_colours_are_drawn_at_their_height():
    task = sky_and_grass()
    drawn = PositionSeed().fill(task, Stream(0, "rows"))[:, :, 20:]
    assert (drawn[2, :19] > 0).float().mean() > 0.98 and (drawn[2, 21:] < 0).float().mean() > 0.98
    mixed = MixtureSeed().fill(task, Stream(0, "rows"))[2, :19, 20:]
    assert 0.4 < (mixed > 0).float().mean() < 0.6, "the paper's knows no height"


def test_rows_beyond_the_known_ones_are_the_paper_s():
    task, seed = sky_and_grass(slice(10, 30)), PositionSeed()
    drawn = seed.fill(task, Stream(0, "rows"))
    assert (drawn[2, 10:19, 20:] > 0).float().mean() > 0.95
    for part in (drawn[:, :10], drawn[:, 30:]):
        assert 0.4 < (part[2] > 0).float().mean() < 0.6
    rng = Stream(0, "rows").numpy()
    seed.fits[task].given_first(np.zeros(1)).draw(np.zeros(1600, int), rng)  # the draws before
    plain = torch.from_numpy(MixtureSeed().sample(task, 800, rng)).float().T
    assert torch.equal(torch.cat([drawn[:, :10].flatten(1), drawn[:, 30:].flatten(1)], 1), plain)


def test_the_patches_seed_is_a_run_on_the_patch_prior():
    task = sky_and_grass()
    drawn = PatchSeed(steps=6).fill(task, Stream(0, "rows"))
    model, walk = PatchModel(), TimestepPlan(6)
    prior = model.load(torch.device("cpu"))
    engine = Engine(prior, walk.grid(model.schedule), DDIM(0.85), NullSpace(), walk.plan)
    (result,) = engine.run([prior.prepare(task)])
    assert torch.equal(drawn, result.x) and torch.equal(task.compose(drawn), drawn)
    assert (drawn[2, :17, 20:] > 0).float().mean() > 0.9 and (drawn[2, 23:, 20:] < 0).float().mean() > 0.9
    with pytest.raises(UserError, match="fills pictures, not latent spaces"):
        PatchSeed().fill(Task("latent", torch.zeros(4, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)), Stream(0, "x"))
