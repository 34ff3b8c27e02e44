"""Soft masks, feathers, blended edges and matched colours: what changes, and what stays to the bit."""

import numpy as np
import pytest
import torch
from PIL import Image

import isdiff
from isdiff.cli import main
from isdiff.config.composing import compose_run
from isdiff.diffusion.schedule import TimestepPlan
from isdiff.engine import Engine
from isdiff.errors import UserError
from isdiff.known import NullSpace
from isdiff.pictures.edges import Edge, fading
from isdiff.pictures.inpaint import soft_mask
from isdiff.prediction import Prediction
from isdiff.priors.base import OnPixels
from isdiff.runs.experiment import Experiment
from isdiff.samplers.solvers import DDNMSteps
from isdiff.trajectory import Task

PIXELS = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)).resize((48, 40), Image.BICUBIC)
)
HOLE = np.zeros((40, 48), bool)
HOLE[12:26, 16:36] = True
FAST = {"steps": 6}


def changed(result: np.ndarray) -> np.ndarray:
    return (result != PIXELS).any(-1)


class Flat(OnPixels):
    """Predicts one value everywhere."""

    def predict(self, states, timesteps, tasks):
        return [Prediction(torch.zeros_like(x), clean=torch.full_like(x, 0.5)) for x in states]


def test_a_pixel_is_known_until_its_strength_is_reached():
    """At every step the known pixels are those whose strength is below the share of the process that is left."""
    seen = []

    class Watched(NullSpace):
        def project(self, tr, x0):
            seen.append(tr.task.hole[0, 0].tolist())
            return super().project(tr, x0)

    strength = torch.tensor([[[0.0, 0.3, 0.6, 1.0]]])
    task = Task("a", torch.zeros(3, 1, 4), strength > 0, strength=strength)
    plan = TimestepPlan(steps=10)
    schedule = Experiment.of(compose_run(["method=ddnm", "model=patches"])).setup.model.schedule
    grid = plan.grid(schedule)
    (result,) = Engine(Flat(), grid, DDNMSteps(), Watched(), plan.plan).run([task])
    levels = [grid.timesteps[index] / grid.num_timesteps for index in reversed(range(10))]
    assert seen == [[False, level <= 0.3, level <= 0.6, True] for level in levels]
    assert result.x[0, 0].tolist() == [0, 0.5, 0.5, 0.5] and result.task is task


def test_gray_changes_less_than_white_and_black_not_at_all():
    mask = np.where(HOLE, 60, 0).astype(np.uint8)
    mask[16:22, 22:30] = 255
    result = isdiff.inpaint(PIXELS, Image.fromarray(mask), soft=True, seed=1, steps=20).image
    away = np.abs(result.astype(int) - PIXELS).mean(-1)
    assert not away[mask == 0].any() and 0 < away[mask == 60].mean() < 0.5 * away[mask == 255].mean()
    hidden = np.where((mask == 255)[..., None], 255 - PIXELS, PIXELS)
    again = isdiff.inpaint(hidden, Image.fromarray(mask), soft=True, seed=1, steps=20).image
    assert np.array_equal(again[mask > 0], result[mask > 0]), "what white hides is not looked at"
    inverted = isdiff.inpaint(PIXELS, Image.fromarray(255 - mask), soft=True, invert=True, seed=1, steps=20).image
    assert np.array_equal(inverted, result)
    plain = isdiff.inpaint(PIXELS, HOLE, ids="a", **FAST).image
    soft = isdiff.inpaint(PIXELS, HOLE.astype(np.float32), soft=True, ids="a", **FAST).image
    assert np.array_equal(plain, soft), "white alone is a hole in black and white"


def test_a_feather_changes_its_rim_and_nothing_else():
    result = isdiff.inpaint(PIXELS, HOLE, feather=3, **FAST).image
    rim = fading(HOLE, 3)
    assert not changed(result)[rim == 0].any() and changed(result)[(rim > 0) & ~HOLE].any()
    assert rim[HOLE].min() == 1 and sorted({*np.round(rim[18, :16], 2)} - {0}) == [0.25, 0.5, 0.75]


def test_a_feathered_edge_fades_out_over_its_band(method="ddnm"):
    result = isdiff.inpaint(PIXELS, HOLE, method, edge="feather", band=4, **FAST).image
    opacity = fading(HOLE, 4)
    assert not changed(result)[opacity == 0].any() and changed(result)[(opacity > 0) & ~HOLE].any()
    whole = isdiff.inpaint(PIXELS, opacity > 0, method, **FAST).image
    mixed = PIXELS + opacity[..., None] * (whole.astype(np.float32) - PIXELS)
    assert np.abs(result - mixed).max() <= 1, "the fill of the larger hole, faded"
    deep = isdiff.inpaint(PIXELS.astype(np.uint16) * 257, HOLE, method, edge="feather", band=4, **FAST).image
    assert np.array_equal(deep[opacity == 0], (PIXELS.astype(np.uint16) * 257)[opacity == 0])
    assert np.abs(deep / 257 - mixed).max() < 1


def test_poisson_takes_a_step_of_tone_out_of_the_fill_and_leaves_known_pixels():
    smooth = np.indices((40, 48)).sum(0)[..., None].repeat(3, -1).astype(np.float32) + 60
    fill = np.where(HOLE[..., None], smooth + np.array([25, -20, 30]), 0).astype(np.float32)
    evened = Edge("poisson").evened(fill, smooth.astype(np.uint8), HOLE)
    assert np.abs(evened - smooth)[HOLE].max() < 5 and Edge().evened(fill, smooth.astype(np.uint8), HOLE) is fill
    result = isdiff.inpaint(PIXELS, HOLE, "telea", edge="poisson").image
    assert not changed(result)[~HOLE].any()


def test_colours_are_matched_by_what_the_model_makes_of_known_pixels():
    rng = np.random.default_rng(1)
    truth = rng.integers(40, 200, (40, 48, 3)).astype(np.uint8)
    made = (0.8 * truth + (10, 30, -5)).astype(np.float32)
    assert np.allclose(Edge(match_color=True).matched(made, truth, ~HOLE), truth, atol=0.01)
    assert Edge().matched(made, truth, ~HOLE) is made
    flat = np.full_like(made, 90)
    assert np.allclose(Edge(match_color=True).matched(flat, truth, ~HOLE)[0, 0], truth[~HOLE].mean(0), atol=0.01)
    plain, matched = (isdiff.inpaint(PIXELS, HOLE, "si", match_color=given, **FAST).image for given in (False, True))
    assert not changed(matched)[~HOLE].any() and (plain != matched)[HOLE].any(), "a latent model shifts tone"


def test_soft_masks_are_images_or_arrays():
    gray = np.array([[0, 51], [102, 255]], np.uint8)
    expected = np.array([[0, 0.2], [0.4, 1]], np.float32)
    for given in (Image.fromarray(gray), gray, gray / 255, torch.from_numpy(gray)[None]):
        assert np.allclose(soft_mask(given, "m"), expected)
    for wrong in (gray * 1.0, gray.astype(int), expected * np.nan):
        with pytest.raises(UserError, match="no soft mask"):
            soft_mask(wrong, "m")


@pytest.mark.parametrize(
    ("options", "says"),
    [({"method": "telea", "feather": 2}, "telea takes no soft mask"), ({"method": "si", "feather": 2}, "edge=feather"),
     ({"edge": "blur"}, "paste, feather, poisson"), ({"edge": "feather", "band": 0}, "band is 0"),
     ({"feather": -1}, "feather is -1"), ({"soft": True, "grow": 2}, "grow is for masks in black and white")],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(options, says):
    hole = HOLE.astype(np.float32) if options.get("soft") else HOLE
    with pytest.raises((UserError, ValueError), match=says):
        isdiff.inpaint(PIXELS, hole, **options)


def test_the_command_takes_them_all(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    Image.fromarray(np.where(HOLE, 255, 0).astype(np.uint8)).save(tmp_path / "m.png")
    given = ["inpaint", str(tmp_path / "a.png"), str(tmp_path / "m.png"), "--steps", "6"]
    for words, options in (
        ("--feather 3", {"feather": 3}), ("--soft", None), ("--edge feather --band 4", {"edge": "feather", "band": 4}),
        ("--edge poisson --match-color", {"edge": "poisson", "match_color": True}),
    ):  # fmt: skip
        assert main([*given, *words.split(), "-o", str(tmp_path / "out.png")]) == 0
        if options:
            found = np.asarray(Image.open(tmp_path / "out.png"))
            assert np.array_equal(found, isdiff.inpaint(PIXELS, HOLE, **FAST, **options).image)
