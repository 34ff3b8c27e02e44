"""Masks: recorded ones to the bit, and properties everywhere."""

import hashlib
import io

import numpy as np
import pytest
from conftest import ROOT, golden_json
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter
from scipy.stats import ks_2samp

from isdiff.data.images import center_crop_long_edge
from isdiff.errors import UserError
from isdiff.masks.files import FileMask, hole_in
from isdiff.masks.generated import MAX_HOLE, THICK, ExpandMask, HalfMask, WideMask, candidate

SOURCES = [HalfMask(), ExpandMask(), WideMask()]


def sha(mask: np.ndarray) -> str:
    return hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest()


@pytest.mark.parametrize("size", [256, 512])
def test_wide_candidates_equal_the_reference(size):
    recorded = golden_json(f"masks/seeded_thick_{size}.json")
    for case in recorded["masks"]:
        rng = np.random.RandomState(case["seed"])
        hole = candidate(rng, *recorded["shape"], THICK[size])
        assert hole.sum() == case["n_hole"] and sha(hole) == case["sha256_uint8"]
        assert rng.randint(0, 2**31 - 1) == case["next_randint_2pow31m1"], "another number of draws was made"


@pytest.mark.parametrize("size, count", [(256, 400), pytest.param(512, 800, marks=pytest.mark.slow)])
def test_wide_masks_have_the_reference_distribution(size, count):
    stats = golden_json(f"masks/stats_thick_{size}.json")["selected"]
    fractions = np.array([WideMask().hole(f"image-{i}", size, size).mean() for i in range(count)])
    recorded = stats["hole_fraction"]
    error = np.hypot(fractions.std() / np.sqrt(len(fractions)), stats["hole_fraction_standard_error"])
    assert abs(fractions.mean() - recorded["mean"]) < 3 * error
    assert fractions.std() == pytest.approx(recorded["std"], rel=0.08)
    counts = np.array(stats["hole_fraction_hist"]["counts"])
    assert ks_2samp((fractions * 50).astype(int), np.repeat(np.arange(50), counts)).pvalue > 0.001


LISTS = sorted((ROOT / "data" / "masks").glob("*.txt"))


@pytest.mark.parametrize("path", LISTS, ids=lambda p: p.stem)
def test_masks_are_those_of_the_committed_lists(path):
    _, mask, size = path.stem.split("_")
    source = {"half": HalfMask, "expand": ExpandMask, "wide": WideMask}[mask]()
    lines = path.read_text().splitlines()
    assert len(lines) in (1, 1000, 5000)
    for line in lines[:: max(1, len(lines) // 20)]:
        digest, image_id = line.split("  ")
        assert sha(source.hole(image_id, int(size), int(size))) == digest


def test_every_benchmark_has_its_lists():
    names = {p.stem for p in LISTS}
    for benchmark in ("celeba_{}_256", "imagenet_{}_256", "places2_{}_256", "places2_{}_512"):
        assert {benchmark.format(mask) for mask in ("wide", "half", "expand")} <= names


@pytest.mark.parametrize("source, name", [(HalfMask(), "half"), (ExpandMask(), "expand")])
def test_fixed_masks_equal_the_reference(source, name):
    for case in golden_json("masks/fixed_masks.json")["masks"]:
        if case["kind"] == name:
            known = ~source.hole("any", *case["shape"])
            assert known.sum() == case["n_known"] and sha(known) == case["sha256_uint8_keep"]


@given(st.sampled_from(SOURCES), st.text(max_size=12), st.integers(32, 200), st.integers(32, 200))
def test_masks_are_holes_of_the_asked_size_and_repeat(source, image_id, height, width):
    hole = source.hole(image_id, height, width)
    assert hole.shape == (height, width) and hole.dtype == bool
    assert hole.any() and not hole.all()
    assert np.array_equal(hole, type(source)().hole(image_id, height, width))
    if isinstance(source, WideMask):
        assert hole.mean() <= MAX_HOLE + 0.03, "scaling may round a little upwards"


def test_wide_masks_differ_by_image_and_seed():
    masks = [WideMask().hole("a", 64, 64), WideMask().hole("b", 64, 64), WideMask(seed=1).hole("a", 64, 64)]
    assert len({sha(mask) for mask in masks}) == 3


def test_files(tmp_path):
    hole = np.zeros((20, 30), np.uint8)
    hole[:, 10:] = 255
    Image.fromarray(hole).save(tmp_path / "a.png")
    for path in (tmp_path, tmp_path / "a.png"):
        assert np.array_equal(FileMask(str(path)).hole("a", 20, 30), hole > 0)
        assert np.array_equal(FileMask(str(path), invert=True).hole("a", 20, 30), hole == 0)
    assert FileMask(str(tmp_path)).hole("a", 40, 60).sum() == 4 * (hole > 0).sum()
    with pytest.raises(UserError, match="there is no file or folder"):
        FileMask(str(tmp_path / "nothing"))


def test_a_mask_of_the_uncropped_image_is_cropped_like_it(tmp_path):
    """A white square at the place of a white square in the image covers it afterwards too."""
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[20:40, 50:70] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    hole = FileMask(str(tmp_path)).hole("a", 30, 30)
    assert np.array_equal(hole, np.asarray(center_crop_long_edge(Image.fromarray(pixels), 30))[..., 0] > 127)


def drawn(shade: int = 0, size: int = 200) -> Image.Image:
    """A white object with smooth edges and, in that shade, a small one elsewhere, one inside and one beside it."""
    mask = Image.new("L", (4 * size, 4 * size))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((80, 80, 440, 500), fill=255)
    for box in ((600, 600, 640, 640), (200, 200, 240, 240), (430, 240, 480, 280)):
        draw.rectangle(box, fill=shade or (255 if box[0] == 200 else 0))
    return mask.resize((size, size), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("shade, invert", [(60, False), (200, True)])
def test_gray_objects_are_refused_however_small(shade, invert):
    with pytest.raises(UserError, match=rf"gray in .*% of its pixels, most often {shade} of 255"):
        hole_in(drawn(shade), "the mask", invert)
    alone = Image.new("L", (200, 200), 255 * invert)
    alone.paste(shade, (150, 150, 153, 153))
    with pytest.raises(UserError, match=r"gray in 0\.02"):
        hole_in(alone, "the mask", invert)


@pytest.mark.parametrize("how", ["smooth", "soft", "enlarged", "jpeg 10", "jpeg 75"])
def test_gray_edges_are_edges(how):
    mask = drawn()
    if how == "soft":
        mask = mask.filter(ImageFilter.GaussianBlur(4))
    elif how == "enlarged":
        mask = mask.resize((1600, 1600), Image.Resampling.BICUBIC)
    elif how.startswith("jpeg"):
        stream = io.BytesIO()
        mask.save(stream, "jpeg", quality=int(how.split()[1]))
        mask = Image.open(stream)
    assert np.array_equal(hole_in(mask, "the mask"), np.asarray(mask) >= 128)
