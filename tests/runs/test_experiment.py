"""Runs that one process makes one after the other use one model, and never is there more than one."""

import weakref

import pytest
from configured import tiny_pixel_model, write_images

from isdiff.config.composing import compose_run
from isdiff.models.pixel import PixelModel
from isdiff.runs import run
from isdiff.runs.experiment import ModelCache
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


def test_runs_of_one_model_load_it_once_and_another_takes_its_place(tmp_path, golden_net, monkeypatch):
    model_cache, loaded, load = ModelCache(), [], PixelModel.load  # not the process's, where other tests' models stand
    monkeypatch.setattr(run, "MODEL_CACHE", model_cache)
    monkeypatch.setattr(PixelModel, "load", lambda self, *given, **more: loaded.append(1) or load(self, *given, **more))
    tiny_pixel_model(tmp_path / "tiny.safetensors", golden_net)
    write_images(tmp_path / "images", 16, 2)
    common = [
        "dataset=folder", f"dataset.path={tmp_path / 'images'}", "dataset.size=16", "model=avatars64",
        "model.image_size=16", f"model.weights={tmp_path}/tiny.safetensors", "sampler.steps=2", "sampler.repeat=1",
        "metrics.names=null", "mask=half", f"output_root={tmp_path / 'outputs'}",
    ]  # fmt: skip
    kept = [execute(compose_run([*common, f"method={method}"])) for method in ("ddnm", "repaint")]  # as tables do
    first = model_cache.prior
    kept.append(execute(compose_run([*common, "method=ddnm+isdiff"])))
    assert model_cache.prior is first and len(loaded) == 1
    gone = weakref.ref(first)
    del first
    kept.append(execute(compose_run([*common, "method=ddnm", "runtime.precision=fp32", "runtime.pad_to=2"])))
    assert gone() is None and len(loaded) == 2, "outcomes that are kept hold no model"
    assert len({outcome.experiment.hash for outcome in kept}) == 4
