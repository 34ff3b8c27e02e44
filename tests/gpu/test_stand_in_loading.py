"""Shipped models, loaded onto the stand-in for a GPU, answer as on the CPU."""

import pytest
import torch
from configured import changed, results
from conftest import ROOT
from stand_in import stand_in

from isdiff.config.composing import compose_run
from isdiff.runs.experiment import Experiment

SHIPPED = {
    "faces": ["dataset=avatars"],
    "patches": ["dataset=photos", "model=patches"],
    "latents": ["dataset=avatars", "method=si+isdiff", "prompt=a face"],
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_answer_as_on_the_cpu(name):
    cfg = compose_run([
        f"data_root={ROOT / 'data'}", f"model_root={ROOT / 'models'}", "mask=half", "method=ddnm+isdiff",
        *SHIPPED[name],
        "sampler.steps=2", "isdiff.refine.attempts=1", "runtime.precision=fp32", "runtime.pad_to=1",
    ])  # fmt: skip
    ids = Experiment.of(cfg).setup.dataset.ids()[:1]
    expected = results(cfg, ids)[ids[0]].picture
    with stand_in():
        found = results(changed(cfg, runtime__device="meta"), ids)[ids[0]].picture
        assert found.device.type == "meta"
        assert torch.allclose(found.cpu(), expected, atol=1e-3)
