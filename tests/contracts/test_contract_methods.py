"""What every method promises, whichever file of configs/method it stands in.

That sampling processes change nothing is tested once, through the real command, in tests/end_to_end/test_run.py.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch
from configured import RICHEST, changed, choices, composed, kind_of, results, tiny_place
from PIL import Image

from isdiff.config.setup import is_floor
from isdiff.errors import UserError
from isdiff.masks.fixed import HalfMask
from isdiff.runs.run import execute

METHODS = choices("method")
COUNT = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_net):
    """Small models and images of both kinds."""
    return tiny_place(tmp_path_factory.mktemp("contract"), golden_net, COUNT)


IDS = [f"im{i}" for i in range(COUNT)]


def same(found, expected) -> bool:
    """Pictures, states, calls and decisions, to the bit."""
    return (
        torch.equal(found.x, expected.x)
        and torch.equal(found.picture, expected.picture)
        and (found.calls, found.attempts, found.chosen) == (expected.calls, expected.attempts, expected.chosen)
    )


@pytest.fixture(scope="module")
def reference():
    """Results of a method on all images, two in a batch, made once."""
    made = {}

    def of(method, cfg):
        if method not in made:
            made[method] = results(changed(cfg, runtime__batch_size=2), IDS)
        return made[method]

    return of


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_two_steps_keeps_known_pixels(place, method):
    """Through the whole run, to the files that it leaves."""
    cfg = composed(place, method, "sampler.steps=2")
    outcome = execute(cfg)
    assert not outcome.failed and outcome.summary["n"] == COUNT
    folder, side = outcome.experiment.store.path, cfg.model.image_size
    known = ~HalfMask().hole("", side, side)
    for image_id in IDS:
        given = np.asarray(Image.open(f"{cfg.dataset.path}/{image_id}.png"))
        found = np.asarray(Image.open(folder / "images" / f"{image_id}.png"))
        assert np.array_equal(found[known], given[known])
        assert not np.array_equal(found[~known], given[~known])
    calls = [json.loads(line)["network_calls"] for line in (folder / "per_image.jsonl").open()]
    assert len(calls) == COUNT
    assert set(calls) == {0} if is_floor(cfg) else min(calls) >= 1


@pytest.mark.parametrize("method", RICHEST)
def test_images_know_nothing_of_batch_and_order(place, reference, method):
    cfg = composed(place, method)
    expected = reference(method, cfg)
    if cfg.isdiff.refine.enabled:
        assert all(len(result.attempts) == 2 for result in expected.values()), "retries are part of it"
    found = results(changed(cfg, runtime__batch_size=3), IDS[::-1])
    assert found.keys() == expected.keys() and all(same(found[i], expected[i]) for i in IDS)
    assert not torch.equal(expected["im0"].picture, expected["im1"].picture)


@pytest.mark.parametrize("method", RICHEST)
def test_hidden_pixels_change_nothing(place, reference, method):
    """What lies beneath the hole is other noise: the hole is filled as before (the oracle seed is no method)."""

    def repainted(task):
        noise = torch.rand(task.image.shape, generator=torch.Generator().manual_seed(7)) * 2 - 1
        return dataclasses.replace(task, image=task.compose(noise))

    cfg = composed(place, method)
    found, expected = results(cfg, IDS[:2], repainted), reference(method, cfg)
    for image_id, result in found.items():
        hole = expected[image_id].task.pixel_hole.expand_as(result.picture)
        assert torch.equal(result.picture[hole], expected[image_id].picture[hole])
        assert result.attempts == expected[image_id].attempts


@pytest.mark.parametrize("method", RICHEST)
def test_an_image_that_is_no_number_fails_alone(place, reference, method):
    """NaN in one image: it is refused or named as failed, its mates are what they are without it."""

    def spoiled(task):
        bad = torch.full_like(task.image, torch.nan)
        return dataclasses.replace(task, image=bad) if task.id == "im1" else task

    cfg = composed(place, method)
    try:
        found = results(cfg, IDS, spoiled)
    except UserError as error:
        assert kind_of(method) == "latent" and "latents of image im1 are not finite" in str(error)
        return
    expected = reference(method, cfg)
    assert "not finite numbers" in found["im1"].failure
    assert all(found[i].failure is None and same(found[i], expected[i]) for i in IDS if i != "im1")
