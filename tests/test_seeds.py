"""Seeds: the distribution they draw from, and what they may look at."""

import numpy as np
import pytest
import torch

from isdiff.diffusion.grid import Grid
from isdiff.diffusion.process import named_betas
from isdiff.diffusion.timesteps import leading_timesteps
from isdiff.seeds.base import NoiseStart, SeededStart
from isdiff.seeds.distributions import GaussianSeed, MeanSeed, MixtureSeed, OracleSeed
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
    assert torch.allclose(MixtureSeed(5).fill(flat, Stream(0, "flat")).mean(), torch.tensor(0.5), atol=0.02)
    none = Task("none", torch.zeros(3, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match="image none has no known pixel"):
        MixtureSeed(5).fill(none, Stream(0, "none"))


def test_start_composes_then_noises():
    """Eq. 7 at three steps: mean and spread of the start, inside the hole and outside."""
    task = two_colors()
    for attempt, timestep in ((0, 900), (1, 800), (2, 700)):
        start = SeededStart(MeanSeed(), step=0.9, lambda_=0.1)
        x, index = start.begin(task, Stream(0, "two", attempt), attempt, GRID)
        assert GRID.timesteps[index] == timestep
        abar = GRID.abar(index)
        composed = task.compose(MeanSeed().fill(task, Stream(0, "two", attempt)))
        noise = (x - np.sqrt(abar) * composed) / np.sqrt(1 - abar)
        assert noise.std().item() == pytest.approx(1, abs=0.03) and abs(noise.mean().item()) < 0.03


def test_vanilla_start_is_noise_at_the_noisiest_step():
    x, index = NoiseStart().begin(two_colors(), Stream(0, "two"), 0, GRID)
    assert GRID.timesteps[index] == 990
    assert x.std().item() == pytest.approx(1, abs=0.03)
