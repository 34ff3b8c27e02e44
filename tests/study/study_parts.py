"""Small real runs and the study made from them."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

METHODS = {"ddnm": "ddnm", "repaint": "repaint", "ours": "ddnm+isdiff"}  # label in the plan: method of the run
MASKS = ("half", "expand")
IMAGES = 7


@pytest.fixture(scope="session")
def study_runs(tmp_path_factory):
    """A folder with runs of three methods on two masks over the same seven faces, two steps each."""
    from isdiff.config.composing import compose_run
    from isdiff.runs.run import execute

    root = tmp_path_factory.mktemp("runs")
    for method in METHODS.values():
        for mask in MASKS:
            execute(compose_run([*overrides(root, method, mask), f"limit={IMAGES}", "metrics.names=null"]))
    return root


def overrides(root: Path, method: str, mask: str) -> list[str]:
    """What decides about a run's folder."""
    return ["dataset=avatars", f"method={method}", f"mask={mask}", "sampler.steps=2", "sampler.repeat=1",
            f"output_root={root}", f"data_root={ROOT / 'data'}", f"model_root={ROOT / 'models'}"]  # fmt: skip


def plan_of(root: Path, n: int = 7, masks=MASKS, **more) -> dict:
    def cell(mask: str) -> dict:
        runs = {label: {"overrides": overrides(root, method, mask)} for label, method in METHODS.items()}
        return {"dataset": "faces", "mask": mask, "runs": runs}

    return {"n": n, "cells": [cell(mask) for mask in masks], **more}


def write_plan(path: Path, plan: dict) -> Path:
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path


def answer_file(folder: Path, study: str, participant: str, choices: dict[str, str], at: int = 1000) -> Path:
    """An answer file as the page saves it."""
    folder.mkdir(exist_ok=True, parents=True)
    answers = {question: {"choice": choice, "at": at, "seconds": 2.5} for question, choice in choices.items()}
    content = {"format": 1, "study": study, "participant": participant, "started": 1, "order": [], "answers": answers}
    path = folder / f"answers-{participant}.json"
    path.write_text(json.dumps(content))
    return path
