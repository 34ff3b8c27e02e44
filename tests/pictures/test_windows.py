"""Windows over pictures of any size: exact places, and what holds for every size and hole."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isdiff.pictures.windows as windows_module
from isdiff.checks import BadValue
from isdiff.pictures.canvas import Canvas, Job, WindowTrace
from isdiff.pictures.windows import LEAST_SIDE, Sizes, Window, mirror, plan, rounds, to_model


def box(height: int, width: int, *spans: tuple[int, int, int, int]) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    for top, bottom, left, right in spans:
        hole[top:bottom, left:right] = True
    return hole


def test_a_picture_of_the_models_size_is_one_window_whatever_the_hole():
    for hole in (~box(64, 64, (24, 40, 24, 40)), box(64, 64, (3, 4, 5, 6), (60, 61, 9, 10))):
        assert plan(hole, Sizes(64)) == [Window(0, 0, 64, 64)]


def test_small_holes_get_a_window_of_the_models_size_about_them():
    assert plan(box(500, 400, (100, 110, 200, 220)), Sizes(64)) == [Window(73, 178, 64, 64)]
    assert plan(box(500, 400, (0, 10, 390, 400)), Sizes(64)) == [Window(0, 336, 64, 64)], "moved into the picture"
    two = plan(box(500, 400, (100, 110, 200, 220), (400, 404, 10, 14)), Sizes(64))
    assert two == [Window(73, 178, 64, 64), Window(370, 0, 64, 64)] and rounds(two) == [[0, 1]]


def test_large_holes_get_windows_as_large_as_their_width_asks_for():
    # 60 wide: up to 30.x from known pixels, and as much again on either side
    (window,) = plan(box(500, 400, (200, 260, 100, 160)), Sizes(64))
    assert (window.height, window.top, window.left) == (120, 170, 70)
    assert plan(box(500, 400, (200, 260, 100, 160)), Sizes(64, context=0))[0].height == 64
    (wide,) = plan(box(200, 200, (0, 200, 100, 200)), Sizes(64))
    assert wide == Window(0, 0, 200, 200), "at most the picture"
    assert plan(box(200, 200, (0, 60, 0, 60)), Sizes(64, context=1e99)) == [Window(0, 0, 200, 200)]


def test_holes_that_one_window_cannot_take_begin_coarse_and_go_from_their_rim_inwards():
    hole = box(512, 512, (0, 512, 256, 512))
    coarse, *windows = plan(hole, Sizes(64, reduction=4))
    assert coarse == Window(0, 0, 512, 512) and coarse.coarse
    assert {w.height for w in windows} == {256} and {w.left for w in windows[:2]} == {128} and len(windows) <= 6
    assert plan(hole, Sizes(64, reduction=8)) == [Window(0, 0, 512, 512)]


def test_thin_holes_take_as_few_squares_as_they_are_long():
    thin = plan(box(300, 300, (150, 152, 0, 300)), Sizes(64))
    assert {w.height for w in thin} == {64}, "a long scratch is not shrunk"
    assert len(thin) == 2 + math.ceil((300 - 2 * 60) / 56) and not any(w.coarse for w in thin)
    slanted = cv2.line(np.zeros((480, 640), np.uint8), (10, 20), (600, 440), 1, 3) > 0
    assert len(plan(slanted, Sizes(64))) <= 13, "590 columns, 56 a square"


def test_windows_that_meet_fade_into_each_other():
    """What several windows make is blended so that a border of none shows, and known pixels stay."""
    hole = box(200, 300, (40, 160, 20, 280))
    pixels = np.zeros((200, 300, 3), np.uint8)
    canvas = Canvas(Job("picture", pixels, hole), Sizes(64, reduction=1))
    turn, trace = canvas.next_round(), WindowTrace(Window(0, 0, 1, 1), [], 0, [], 0, 0.0)
    rng = np.random.default_rng(0)
    while turn:
        for number in turn:
            shape = canvas.windows[number].shape
            canvas.fill(number, np.full((*shape, 3), rng.uniform(100, 250), np.float32), None, trace)
        turn = canvas.next_round()
    made = canvas.result().values[..., 0]
    assert not canvas.open.any() and (made[~hole] == 0).all() and (made[hole] >= 100).all()
    inside = made[40:160, 20:280]
    steps = [abs(np.diff(inside, axis=axis)).max() for axis in (0, 1)]
    assert len(canvas.windows) > 20 and max(steps) < 150 / 8, "squares of one colour, yet no edge between them"


@pytest.mark.parametrize("hole", [np.ones((64, 64), bool), np.zeros((8, 64), bool)])
def test_what_cannot_be_planned_is_refused(hole):
    with pytest.raises(ValueError):
        plan(hole, Sizes(64))
    for bad in ({"reduction": 0.5}, {"context": -1}):
        with pytest.raises(BadValue):
            Sizes(64, **bad)


@st.composite
def holes(draw) -> np.ndarray:
    """Boxes, scattered pixels, or nearly everything; neither nothing nor all."""
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    kind = draw(st.sampled_from(["boxes", "pixels", "inverse"]))
    if kind == "pixels":
        hole = rng.random((height, width)) < draw(st.floats(0, 1))
    else:
        hole = np.zeros((height, width), bool)
        for _ in range(draw(st.integers(1, 4))):
            top, left = rng.integers(height), rng.integers(width)
            hole[top : rng.integers(top, height) + 1, left : rng.integers(left, width) + 1] = True
        hole = ~hole if kind == "inverse" else hole
    if height * width > 1:
        hole.flat[0], hole.flat[-1] = True, False
    return hole


@given(holes(), st.sampled_from([16, 32, 64]), st.sampled_from([1.0, 1.5, 4.0]), st.sampled_from([0.0, 0.5]))
def test_windows_fill_every_hole_and_each_knows_something(hole, model, reduction, context):
    if hole.size == 1:
        return
    padded = mirror(hole)
    assert min(padded.shape) >= LEAST_SIDE and (padded[: len(hole), : hole.shape[1]] == hole).all()
    sizes = Sizes(model, reduction, context)
    windows = plan(padded, sizes)
    left = padded.copy()
    for window in windows:
        inside = left[window.area]
        assert inside.shape == window.shape, "inside the picture"
        assert inside.any() and not inside.all()
        if window.coarse:
            continue
        assert window.height == window.width and left[window.core(padded.shape)].any()
        assert window.height <= max(model, reduction * model)
        small, small_hole = to_model(np.full((*inside.shape, 3), 7, np.uint8), inside, (model, model))
        assert small.shape == (model, model, 3) and small_hole.any() and not small_hole.all()
        left[window.core(padded.shape)] = False
    assert not left.any()
    turns = rounds(windows)
    assert sorted(n for turn in turns for n in turn) == list(range(len(windows)))
    when = {n: turn for turn, numbers in enumerate(turns) for n in numbers}
    for n, window in enumerate(windows):
        assert all(when[k] < when[n] for k in range(n) if windows[k].meets(window))


@given(holes(), st.sampled_from([16, 40, 64]))
def test_hidden_pixels_never_reach_the_model(hole, model):
    side = min(hole.shape)
    hole = hole[:side, :side]
    if hole.all() or side < 2:
        return
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
    other = np.where(hole[..., None], rng.integers(0, 256, pixels.shape), pixels).astype(np.uint8)
    (a, small), (b, same) = to_model(pixels, hole, (model, model)), to_model(other, hole, (model, model))
    assert (small == same).all() and (a[~small] == b[~small]).all()


def test_a_model_of_any_size_sees_the_picture_or_what_is_around_each_part(monkeypatch):
    hole = box(300, 400, (10, 60, 10, 60))
    assert plan(hole, Sizes(None)) == [Window(0, 0, 300, 400)] and Sizes(None).shape(Window(0, 0, 300, 400)) == (
        300,
        400,
    )
    monkeypatch.setattr(windows_module, "MOST_PIXELS", 40_000)
    hole |= box(300, 400, (250, 254, 390, 400))
    large, small = plan(hole, Sizes(None))
    assert large == Window(0, 0, 124, 124), "at least 64 pixels around it"
    assert small == Window(186, 326, 114, 74)
    most = plan(~box(300, 400, (0, 10, 0, 10)), Sizes(None))
    assert most == [Window(0, 0, 300, 400)], "more where little is known"
    height, width = Sizes(None).shape(most[0])
    assert height * width <= 41_000 and height / width == pytest.approx(0.75, rel=0.02)
    monkeypatch.setattr(windows_module, "MOST_PIXELS", 150_000)
    near = box(300, 600, (50, 250, 60, 200), (120, 130, 270, 280))
    (both,) = plan(near, Sizes(None))
    assert near[both.core(near.shape)].sum() == near.sum(), "a part within another's crop is not asked for again"
