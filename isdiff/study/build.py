"""From runs to a blind study: a folder with a page and pictures, and beside it the key that says whose they are."""

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from isdiff.data.images import pixels_hash
from isdiff.errors import UserError
from isdiff.io.contact_sheet import with_hole
from isdiff.io.files import atomic_open, atomic_save
from isdiff.runs.store import RunFolder
from isdiff.study.plan import Cell, StudyPlan

PAGE = "index.html"
KEY_FORMAT = 1


@dataclass(frozen=True)
class Source:
    """Where a cell's pictures come from."""

    cell: Cell
    runs: dict[str, RunFolder]  # by method, methods in alphabetical order
    images: dict[str, str]  # from the id of each image that all runs have to the hash of its mask


@dataclass(frozen=True)
class Question:
    id: str  # a random name
    source: Source
    image: str
    given: str  # a random name of the picture with its hole
    choices: dict[str, str]  # from a picture's random name to its method, in the order in which they are shown


@dataclass(frozen=True)
class Study:
    """What was built: a folder for people, and a key to keep."""

    id: str
    folder: Path
    key: Path
    questions: list[Question]


def generator_of(*parts: object) -> np.random.RandomState:
    """The legacy generator, whose draws are frozen for good, keyed by ``parts``."""
    digest = hashlib.sha256("/".join(map(str, ("study", *parts))).encode()).digest()
    return np.random.RandomState(np.frombuffer(digest, np.uint32))


def orders(k: int, n: int, rng: np.random.RandomState) -> list[list[int]]:
    """``n`` orders of ``k`` methods in which each stands at each place equally often, or once more.

    They come in Latin squares, the rotations of an order drawn for each square, and are then shuffled.
    """
    found: list[list[int]] = []
    while len(found) < n:
        base = rng.permutation(k).tolist()
        square = [base[shift:] + base[:shift] for shift in rng.permutation(k)]
        found += square[: n - len(found)]
    return [found[i] for i in rng.permutation(n)]


def open_cell(cell: Cell, n: int) -> Source:
    """The runs of a cell and at least ``n`` images that they share, made from the same pixels and mask."""
    runs = cell.folders()
    records = [run.records() for run in runs.values()]
    images = {}
    for image in sorted(set.intersection(*map(set, records))):
        inputs = {(found[image]["image_sha"], found[image]["mask_sha"]) for found in records}
        if len(inputs) == 1:
            images[image] = inputs.pop()[1]
    if len(images) < n:
        counts = ", ".join(f"{method} {len(found)}" for method, found in zip(runs, records, strict=True))
        advice = f"sample more of the same images and masks (limit={n}) or take fewer (--n)"
        raise UserError(f"cell {cell.label}: the runs ({counts}) share {len(images)} images, n is {n}; {advice}")
    return Source(cell, runs, images)


def draw_questions(plan: StudyPlan) -> list[Question]:
    """The questions of all cells, shuffled."""
    questions = []
    for cell in plan.cells:
        source = open_cell(cell, plan.n)
        rng = generator_of(plan.seed, cell.dataset, cell.mask)
        methods, images = list(source.runs), list(source.images)
        chosen = [images[i] for i in rng.permutation(len(images))[: plan.n]]
        for image, order in zip(chosen, orders(len(methods), plan.n, rng), strict=True):
            names = [rng.bytes(8).hex() for _ in range(len(methods) + 2)]
            choices = dict(zip(names[2:], (methods[i] for i in order), strict=True))
            questions.append(Question(names[0], source, image, names[1], choices))
    return [questions[i] for i in generator_of(plan.seed).permutation(len(questions))]


def pictures(question: Question) -> Iterator[tuple[str, np.ndarray]]:
    """Name and pixels (H, W, 3) uint8 of the picture with its hole and of every method's, in the order shown.

    Raises:
        UserError: they do not fit each other: sizes, masks, or known pixels, which would give a method away.
    """
    source, image = question.source, question.image
    where = f"cell {source.cell.label}, image {image}"
    results = {name: source.runs[method].image(image) for name, method in question.choices.items()}
    first = next(iter(results.values()))
    if any(result.shape != first.shape for result in results.values()):
        raise UserError(f"{where}: pictures of different sizes cannot be compared")
    masks = next(iter(source.cell.runs.values())).experiment.setup.masks
    hole = masks.hole(image, *first.shape[:2])
    if pixels_hash(np.packbits(hole)) != source.images[image]:
        raise UserError(f"{where}: its mask is not the one that the runs were made with; run them anew")
    if any((result[~hole] != first[~hole]).any() for result in results.values()):
        raise UserError(f"{where}: the runs differ outside the hole; make all with output.composite=paste")
    yield question.given, with_hole(first, hole)
    yield from results.items()


def build_study(plan: StudyPlan, folder: Path, overwrite: bool = False) -> Study:
    """Write ``folder``, to be given to people, and ``<folder>.key.json``, to be kept.

    The same plan and runs give the same study, byte for byte. The folder appears whole or not at all. ``overwrite``
    replaces another study that is there; nothing else is ever replaced.
    """
    folder = Path(os.path.abspath(folder))
    plan.require_runs()
    questions = draw_questions(plan)
    before = study_in(folder)
    if folder.exists() and before is None and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is no study and is never removed; give another --out")
    key = folder.with_name(f"{folder.name}.key.json")  # beside it: who is given the folder is not given the key
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        study = write_folder(plan, questions, fresh)
        if before not in (None, study) and not overwrite:
            advice = "give another --out, or --overwrite, after which answers to it can no longer be collected"
            raise UserError(f"{folder} holds another study ({before}); {advice}")
        atomic_save(key, json.dumps(key_content(plan, study, questions), indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Study(study, folder, key, questions)


def study_in(folder: Path) -> str | None:
    """The id of the study in a folder; None where there is none."""
    try:
        found = re.search(r'<html [^>]*data-study="([0-9a-f]+)"', (folder / PAGE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None


def write_folder(plan: StudyPlan, questions: list[Question], folder: Path) -> str:
    """Write pictures and page; returns the study's id, which follows from pictures, orders and question."""
    digest, entries = hashlib.sha256(), []
    for question in questions:
        size: tuple[int, int] = (0, 0)
        for name, pixels in pictures(question):
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "png", optimize=True)  # no metadata, and one encoder for all
            with atomic_open(folder / "pictures" / f"{name}.png", "wb") as stream:
                stream.write(encoded.getvalue())
            digest.update(f"{name} {hashlib.sha256(encoded.getvalue()).hexdigest()}\n".encode())
            size = pixels.shape[1], pixels.shape[0]
        entries.append({"id": question.id, "given": question.given, "choices": list(question.choices), "size": size})
    digest.update(json.dumps([plan.question, entries]).encode())
    study = digest.hexdigest()[:16]
    loader, data = FileSystemLoader(Path(__file__).parent), {"study": study, "questions": entries}
    pages = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = {"study": study, "question": plan.question, "count": len(entries), "data": data}
    # Style and script are in it: also from a disk browsers load only pictures.
    atomic_save(folder / PAGE, pages.get_template("page.html").render(page))
    return study


def key_content(plan: StudyPlan, study: str, questions: list[Question]) -> dict[str, Any]:
    """What ``collect`` needs to know, and nobody else."""
    cells = []
    for cell in plan.cells:
        runs = {method: str(run.path) for method, run in cell.folders().items()}
        cells.append({"dataset": cell.dataset, "mask": cell.mask, "runs": runs})
    asked = {
        q.id: {"cell": plan.cells.index(q.source.cell), "image": q.image, "given": q.given, "choices": q.choices}
        for q in questions
    }
    return {
        "format": KEY_FORMAT, "study": study, "seed": plan.seed, "n": plan.n, "question": plan.question, "cells": cells,
        "questions": asked,
    }  # fmt: skip
