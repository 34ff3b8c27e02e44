"""What every method promises, whichever file of configs/method it stands in.

That sampling processes change nothing is tested once, through the real command, in tests/end_to_end/test_run.py.
"""

import dataclasses
import json
from functools import cache

import numpy as np
import pytest
import torch
from configured import RICHEST, changed, composed, kind_of, results, tiny_place
from PIL import Image

from isdiff.config.setup import is_floor
from isdiff.errors import UserError
from isdiff.masks.generated import HalfMask
from isdiff.runs.run import execute

COUNT = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_net):
    """Small models and images of both kinds."""
    return tiny_place(tmp_path_factory.mktemp("contract"), golden_net, COUNT)


IDS = [f"im{i}" for i in range(COUNT)]


@pytest.fixture(scope="module")
def both(place):
    """Of a method: results on two images in a batch; and on all in one batch, backwards.

    What lies beneath the hole of ``im0`` is other noise, and ``im1`` is no number. Latent models refuse such an image
    for all, so that there it is left out.
    """

    def spoiled(task):
        noise = torch.rand(task.image.shape, generator=torch.Generator().manual_seed(7)) * 2 - 1
        bad = {"im0": task.compose(noise), "im1": torch.full_like(task.image, torch.nan)}
        return dataclasses.replace(task, image=bad.get(task.id, task.image))

    @cache
    def of(method):
        cfg = composed(place, method)
        crowd = IDS[::-1] if kind_of(method) == "pixel" else ["im2", "im0"]
        pairs, threes = (changed(cfg, runtime__batch_size=size) for size in (2, 3))
        return results(pairs, IDS[::2]), results(threes, crowd, spoiled)

    return of


def same(found, expected) -> bool:
    """Pictures, states, calls and decisions, to the bit."""
    return (
        torch.equal(found.x, expected.x)
        and torch.equal(found.picture, expected.picture)
        and (found.calls, found.attempts, found.chosen) == (expected.calls, expected.attempts, expected.chosen)
    )


@pytest.mark.parametrize("method", RICHEST)
def test_a_run_of_two_steps_keeps_known_pixels(place, method):
    """Through the whole run, to the files that it leaves; that all compose is in test_contract_arguments.py."""
    cfg = composed(place, method, "sampler.steps=2", "limit=2")
    outcome = execute(cfg)
    assert not outcome.failed and outcome.summary["n"] == 2
    folder, side = outcome.experiment.store.path, cfg.model.image_size
    known = ~HalfMask().hole("", side, side)
    for image_id in IDS[:2]:
        given = np.asarray(Image.open(f"{cfg.dataset.path}/{image_id}.png"))
        found = np.asarray(Image.open(folder / "images" / f"{image_id}.png"))
        assert np.array_equal(found[known], given[known])
        assert not np.array_equal(found[~known], given[~known])
    calls = [json.loads(line)["network_calls"] for line in (folder / "per_image.jsonl").open()]
    assert len(calls) == 2
    assert set(calls) == {0} if is_floor(cfg) else min(calls) >= 1


@pytest.mark.parametrize("method", RICHEST)
def test_images_know_nothing_of_batch_and_order(both, method):
    expected, found = both(method)
    assert same(found["im2"], expected["im2"])
    assert not torch.equal(expected["im0"].picture, expected["im2"].picture)
    if expected["im0"].attempts[0].dce is not None:
        assert all(len(result.attempts) == 2 for result in expected.values()), "retries are part of it"


@pytest.mark.parametrize("method", RICHEST)
def test_hidden_pixels_change_nothing(both, method):
    """The hole is filled as before (the oracle seed is no method)."""
    expected, found = (results["im0"] for results in both(method))
    hole = expected.task.pixel_hole.expand_as(found.picture)
    assert torch.equal(found.picture[hole], expected.picture[hole]) and found.attempts == expected.attempts


@pytest.mark.parametrize("method", RICHEST)
def test_an_image_that_is_no_number_fails_alone(place, both, method):
    """It is refused or named as failed; its mates are what they are without it, as the tests above see."""
    if kind_of(method) == "pixel":
        assert "not finite numbers" in both(method)[1]["im1"].failure
        return
    broken = lambda task: dataclasses.replace(task, image=torch.full_like(task.image, torch.nan))  # noqa: E731
    with pytest.raises(UserError, match="latents of image im0 are not finite"):
        results(composed(place, method), ["im0"], broken)
