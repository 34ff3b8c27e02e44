"""An experiment: the one model that runs of a process share, and images as the model takes them."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from configured import tiny_images

from isdiff.config.composing import compose_run
from isdiff.data.images import scale_known
from isdiff.errors import UserError
from isdiff.models.pixel import PixelModel
from isdiff.runs import run
from isdiff.runs.experiment import Experiment, ModelCache
from isdiff.runs.run import execute


def test_a_model_stays_until_another_is_asked_for():
    model_cache, made = ModelCache(), []

    def load(name):
        assert model_cache.prior is None, "the last one has made room"
        made.append(name)
        return name

    found = [model_cache.get(key, lambda key=key: load(f"model {key}")) for key in "aabbaa"]
    assert found == [f"model {key}" for key in "aabbaa"] and made == ["model a", "model b", "model a"]
    with pytest.raises(OSError, match="no c"):
        model_cache.get("c", lambda: (_ for _ in ()).throw(OSError("no c")))
    assert model_cache.prior is None and model_cache.get("b", lambda: "model b") == "model b", "it is empty then"


def test_runs_of_one_model_load_it_once_and_another_takes_its_place(tmp_path, tiny, monkeypatch):
    model_cache, loaded, load = ModelCache(), [], PixelModel.load  # not the process's, where other tests' models stand
    monkeypatch.setattr(run, "MODEL_CACHE", model_cache)
    monkeypatch.setattr(PixelModel, "load", lambda self, *given, **more: loaded.append(1) or load(self, *given, **more))
    common = [*tiny, "sampler.steps=2", "sampler.repeat=1", "metrics.names=null", "limit=2", f"output_root={tmp_path}"]
    kept = [execute(compose_run([*common, f"method={method}"])) for method in ("ddnm", "repaint")]  # as tables do
    first = model_cache.prior
    kept.append(execute(compose_run([*common, "method=ddnm+isdiff"])))
    assert model_cache.prior is first and len(loaded) == 1
    gone = weakref.ref(first)
    del first
    kept.append(execute(compose_run([*common, "method=ddnm", "runtime.precision=fp32", "runtime.pad_to=2"])))
    assert gone() is None and len(loaded) == 2, "outcomes that are kept hold no model"
    assert len({outcome.experiment.hash for outcome in kept}) == 4


@pytest.mark.parametrize("size", [24, 12])
def test_a_model_of_another_size_gets_scaled_images(tmp_path, golden_net, size):
    """Results have the images' size, known pixels are theirs, and what the hole hides changes nothing."""
    overrides = [
        *tiny_images(tmp_path, golden_net, 2, size), "sampler.steps=3", "metrics.names=null", "method=ddnm+isdiff",
        f"output_root={tmp_path / 'outputs'}",
    ]  # fmt: skip
    with pytest.raises(UserError, match=f"is {size}x{size}; the model needs 16x16, or squares with output.scale=true"):
        Experiment.of(compose_run(overrides)).task("im0")
    experiment = execute(compose_run([*overrides, "output.scale=true"])).experiment
    task, inputs = experiment.ready("im0")
    result = experiment.store.image("im0")
    assert task.image.shape == (3, 16, 16) and result.shape == (size, size, 3)
    assert np.array_equal(result[~inputs.hole], inputs.pixels[~inputs.hole])
    assert not np.array_equal(result[inputs.hole], inputs.pixels[inputs.hole])
    noise = np.random.default_rng(0).integers(0, 256, inputs.pixels.shape, np.uint8)
    other = replace(inputs, pixels=np.where(inputs.hole[..., None], noise, inputs.pixels))
    assert torch.equal(experiment.task("im0", other).image, task.image)
    assert (task.hole[0, :, :8] == 0).all() and (task.hole[0, :, 8:] == 1).all()


@pytest.mark.parametrize("size", [8, 32])
def test_scaled_holes_hide_all_that_was_hidden(size):
    hole = np.zeros((16, 16), bool)
    hole[5, 5] = True
    image = np.where(hole[..., None], 255, np.full((16, 16, 3), 90)).astype(np.uint8)
    known, where = scale_known(image, hole, (size, size))
    assert where.sum() == (1 if size == 8 else 4) and (known == 90).all()
