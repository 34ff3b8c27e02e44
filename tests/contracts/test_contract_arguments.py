"""Whatever a configuration names refuses what it cannot use: one sentence, before any work, whichever file it is in."""

from functools import cache

import pytest
from configured import choices
from omegaconf import OmegaConf

from isdiff.config.build import named_class
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.errors import UserError
from isdiff.models.base import Model
from isdiff.models.latent import LatentModel

# Where each group's choice stands in a configuration.
PLACES = {
    "dataset": "dataset", "mask": "mask", "sampler": "sampler", "model": "model", "logger": "logger",
    "isdiff/seed": "isdiff.seed", "isdiff/criterion": "isdiff.criterion",
}  # fmt: skip
NODES = [(f"{group}={name}", place) for group, place in PLACES.items() for name in choices(group)]
FLOORS = ("mean_color", "patchmatch", "telea")
NODES += [(f"method={name}", "method.fill" if name in FLOORS else "method.known") for name in choices("method")]
NODES += [(f"method={name}", "latent") for name in ("si", "powerpaint", "hd_painter")]
NODES += [("isdiff=on", "isdiff.start"), ("isdiff=on", "isdiff.refine")]


@cache
def composed(choice: str):
    """The choice where it belongs, with what has to be given; tests change copies."""
    of_model = choice.startswith("model=") and compose_run([choice]).model._target_
    latent = of_model and issubclass(named_class(of_model, Model), LatentModel)
    method = [f"method={'si' if latent else 'ddnm'}"] if not choice.startswith("method=") else []
    others = ["isdiff=on"] if choice.startswith("isdiff/") else []
    others += ["dataset=editbench"] if choice == "mask=editbench" else []  # they share their folder
    cfg = compose_run([*method, *others, choice])
    for node in (cfg.dataset, cfg.mask):
        if OmegaConf.is_missing(node, "path"):
            node.path = "."
    return cfg


def refusal(cfg) -> str:
    with pytest.raises(UserError) as caught:
        Setup.of(cfg)
    text = str(caught.value)
    assert text and "\n" not in text
    return text


@pytest.mark.parametrize(("choice", "place"), NODES, ids=lambda value: value)
def test_unknown_arguments_and_values_of_no_kind_are_refused(choice, place):
    cfg = composed(choice)
    node = OmegaConf.select(cfg, place)
    Setup.of(cfg)  # as it is, it can be used
    for key in ("no_such_argument", *node):
        of_class = node.get("_target_"), place, key
        if of_class in CHECKED or key in TAKES_ANYTHING or f"{place}.{key}" in READ_ELSEWHERE:
            continue
        CHECKED.add(of_class)
        bad = cfg.copy()
        OmegaConf.update(bad, f"{place}.{key}", {"no": "such"}, merge=False, force_add=True)
        assert str(key) in refusal(bad), key


CHECKED: set = set()  # arguments of a class, which several files may name
READ_ELSEWHERE = ("dataset.latent", "mask.task")  # by latent methods, when they compose
# Maps themselves, and what is only shown to people.
TAKES_ANYTHING = ("isdiff", "random", "features", "how", "advice", "knows")
