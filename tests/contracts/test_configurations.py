"""Every YAML file of configs/: it composes, and what a run can be made of takes two steps on a small model.

Methods run in test_contract_methods.py; tables, figures and profiles compose in tables/test_tables.py, comparisons
in end_to_end/test_run.py; datasets, metrics and the study's plan have contracts of their own.
"""

import numpy as np
import pytest
from configured import CONFIGS, SIDE, choices, tiny_flow_model, tiny_place

from isdiff.config.build import named_class
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.models.base import Model
from isdiff.models.flow import FlowModel
from isdiff.models.latent import LatentModel
from isdiff.runs.run import execute

ELSEWHERE = {"compare", "dataset", "figure", "logger", "method", "metric", "profile", "study", "table"}
HERE = {"isdiff", "isdiff/criterion", "isdiff/seed", "mask", "metrics", "model", "runtime", "sampler"}
# Masks that need pictures, a model in files of its own: test_contract_data.py, test_powerpaint.py.
FROM_FILES = ("editbench", "files", "powerpaint_v1")
RUN = [
    f"{group}={name}"
    for group in ("sampler", "isdiff", "isdiff/seed", "isdiff/criterion", "mask", "runtime", "metrics", "model")
    for name in choices(group)
    if name not in FROM_FILES and not (group == "sampler" and name in choices("method"))  # which runs with it
]


def test_every_folder_is_tested_somewhere():
    found = {str(path.parent.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml")} - {"."}
    assert found == ELSEWHERE | HERE and all(choices(group) for group in found)
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {"config", "paper_values"}


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_net):
    return tiny_place(tmp_path_factory.mktemp("configurations"), golden_net, 1)


def small(place, choice: str) -> list[str]:
    """The choice with a small model in the place of its own."""
    model = compose_run([choice] if choice.startswith("model=") else []).model
    latent, flow = (issubclass(named_class(model._target_, Model), cls) for cls in (LatentModel, FlowModel))
    kind = "latent" if latent or flow else "pixel"
    method = "powerpaint" if model.name.startswith("powerpaint") else "si" if latent else "ddnm"
    classes = ["model.num_classes=null", "model.guidance_scale=0"] if "num_classes" in model else []
    classes += ["model.variant=null"] if "variant" in model else []
    prompt = ["prompt='a dog'"] if latent or flow else []
    weights = place / ("latent" if latent else "pixel.safetensors")
    if flow:
        weights, method = tiny_flow_model(place / model.name, model), "si" if model.family == "flux_fill" else "blended"
    own = [f"model.weights={weights}", f"model.image_size={SIDE[kind]}"] if "weights" in model else []
    others = ["isdiff=on"] if choice.startswith("isdiff/") else []
    return [
        "dataset=folder", f"dataset.path={place}/{kind}-images", f"method={method}", *others, choice, *classes, *prompt,
        *own, f"dataset.size={SIDE[kind]}",
        "sampler.steps=2", "sampler.jump=1", "sampler.repeat=1", "runtime.precision=fp32",
        f"output_root={place}/out",
    ]  # fmt: skip


@pytest.mark.parametrize("choice", RUN)
def test_two_steps(place, choice):
    cfg = compose_run(small(place, choice))
    Setup.of(cfg)
    if not choice.startswith("metrics="):
        cfg.metrics.names = []
    outcome = execute(cfg)
    assert not outcome.failed and outcome.summary["n"] == 1
    picture = outcome.experiment.store.image("im0")
    given, hole = outcome.experiment.read("im0").pixels, outcome.experiment.read("im0").hole
    assert np.array_equal(picture[~hole], given[~hole]) and not np.array_equal(picture[hole], given[hole])
