"""Answer files and the key make votes; votes make shares with intervals, beside the paper's."""

import glob
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, chisquare

from isdiff.errors import UserError
from isdiff.io.files import atomic_save
from isdiff.study.build import KEY_FORMAT
from isdiff.tables.render import Part, comma_separated, markdown
from isdiff.tables.votes import NAME, votes_part, with_paper

ENOUGH = 10  # participants for a bootstrap over them
RESAMPLES = 10_000
EXPECTED = 5  # votes for each method, below which the chi-squared distribution does not fit
LATEST = 1e16  # milliseconds: no time is later, and what is no number is not before it
Answer = tuple[float, str]  # when, in milliseconds since 1970, and the name of the chosen picture


@dataclass(frozen=True)
class KeyCell:
    """A dataset and a mask, and the methods in alphabetical order."""

    dataset: str
    mask: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Key:
    study: str
    cells: tuple[KeyCell, ...]
    questions: dict[str, tuple[int, dict[str, str]]]  # by id: a cell's place, and the method behind each picture


@dataclass
class Answers:
    given: dict[str, dict[str, Answer]] = field(default_factory=dict)  # by participant and question
    refused: dict[str, str] = field(default_factory=dict)  # files that could not be used, with reasons

    def votes(self, key: Key, cell: int) -> np.ndarray:
        """How often each participant chose each method in a cell, (participants, methods) int.

        Who gave no answer there is left out.
        """
        methods = key.cells[cell].methods
        counts = np.zeros((len(self.given), len(methods)), int)
        for row, participant in zip(counts, sorted(self.given), strict=True):
            for question, (_, choice) in self.given[participant].items():
                place, choices = key.questions[question]
                if place == cell:
                    row[methods.index(choices[choice])] += 1
        return counts[counts.any(1)]

    def complete(self, key: Key) -> int:
        return sum(len(answers) == len(key.questions) for answers in self.given.values())


def read_key(path: Path) -> Key:
    try:
        content = json.loads(path.read_text("utf-8"))
        cells = tuple(KeyCell(c["dataset"], c["mask"], tuple(sorted(c["runs"]))) for c in content["cells"])
        questions = {i: (q["cell"], dict(q["choices"])) for i, q in content["questions"].items()}
        whole = all(sorted(choices.values()) == list(cells[cell].methods) for cell, choices in questions.values())
        if content["format"] != KEY_FORMAT or not whole or not isinstance(content["study"], str):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        advice = "it lies beside the study's folder as <folder>.key.json; build the study again with the same plan"
        raise UserError(f"there is no whole key of a study in {path}; {advice}") from None
    return Key(content["study"], cells, questions)


def answer_files(places: Sequence[str]) -> list[Path]:
    """Files named, those that patterns such as ``*.json`` match, and the ``.json`` files of folders."""
    found: dict[str, list[str]] = {}
    for place in places:
        pattern = str(Path(glob.escape(place)) / "*.json") if Path(place).is_dir() else place
        files = [place] if Path(place).is_file() else sorted(glob.glob(pattern))
        found[place] = [file for file in files if not file.endswith(".key.json")]
    empty = [f" in {place}" for place, files in found.items() if not files]
    if empty or not found:
        raise UserError(
            f"there are no answer files{' and'.join(empty)}; build a study (isdiff study build PLAN), let people "
            "answer it, put their answers-*.json into a folder and give it (make table3 ANSWERS=FOLDER)"
        )
    return list(dict.fromkeys(Path(file) for files in found.values() for file in files))


def read_answers(path: Path, key: Key) -> tuple[str, dict[str, Answer]]:
    """A participant and their answers by question."""
    try:
        content = json.loads(path.read_text("utf-8"))
        if (study := content["study"]) != key.study:
            raise UserError(f"it belongs to another study ({study!r}, not {key.study!r}); use that one's key")
        participant = content["participant"]
        answers = {question: (said["at"], said["choice"]) for question, said in content["answers"].items()}
        right = all(
            choice in key.questions[question][1] and type(at) in (int, float) and 0 <= at < LATEST
            for question, (at, choice) in answers.items()
        )
        if content["format"] != 1 or not re.fullmatch("[0-9a-f]{16}", participant) or not right:
            raise ValueError
    except (OSError, RecursionError, AttributeError, KeyError, TypeError, ValueError):
        raise UserError("it is not as the study's page saves it; ask for it again") from None
    return participant, answers


def collect(key: Key, files: Sequence[Path]) -> Answers:
    """Answers of all files. Several files of one participant are merged: of each question the newest answer counts.

    A file that cannot be used is remembered with the reason, and the others count.
    """
    answers = Answers()
    for path in files:
        try:
            participant, said = read_answers(path, key)
        except UserError as error:
            answers.refused[str(path)] = str(error)
            continue
        known = answers.given.setdefault(participant, {})
        for question, answer in said.items():
            known[question] = max(answer, known.get(question, answer))  # whatever the order of the files
    return answers


def bootstrap(votes: np.ndarray) -> np.ndarray:
    """95 % intervals (2, methods) of shares of ``votes`` (participants, methods), drawn by participant."""
    people = len(votes)
    weights = np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), RESAMPLES)
    totals = weights @ votes
    return np.percentile(totals / totals.sum(1, keepdims=True), [2.5, 97.5], axis=0)


def equal_shares(totals: np.ndarray) -> float | None:
    """The p-value of votes (methods,) against equal shares, if all votes are independent.

    Exact for two methods, chi-squared otherwise; None for too few votes.
    """
    if len(totals) == 2:
        return float(binomtest(int(totals[0]), int(totals.sum())).pvalue)
    return float(chisquare(totals).pvalue) if totals.mean() >= EXPECTED else None


def cell_shares(cell: KeyCell, votes: np.ndarray) -> dict[str, Any] | None:
    """A cell's shares from 0 to 1 of ``votes`` (participants, methods), ready for JSON; None if nobody voted.

    ``wilson`` takes votes as independent of each other. ``bootstrap`` draws participants; it is None where there are
    too few, or where all voted alike, of which it learns nothing.
    """
    totals = votes.sum(0)
    of = int(totals.sum())
    if not of:
        return None
    drawn = bootstrap(votes) if len(votes) >= ENOUGH else np.zeros((2, len(totals)))
    methods = {}
    for method, count, low, high in zip(cell.methods, totals.tolist(), *drawn.tolist(), strict=True):
        wilson = binomtest(count, of).proportion_ci(method="wilson")
        methods[method] = {
            "votes": count, "share": count / of, "wilson": (float(wilson.low), float(wilson.high)),
            "bootstrap": (low, high) if high > low else None,
        }  # fmt: skip
    return {
        "dataset": cell.dataset, "mask": cell.mask, "participants": len(votes), "votes": of,
        "p_equal_shares": equal_shares(totals), "methods": methods,
    }  # fmt: skip


def explain(key: Key, answers: Answers) -> list[str]:
    """How many answered, and what intervals and p-values are."""
    people, complete, refused = len(answers.given), answers.complete(key), len(answers.refused)
    found = [
        f"{people} participant{'s' * (people != 1)}, {complete} of them with all {len(key.questions)} answers. Several "
        "files of one participant count once, with the newest answer to each question.",
        f"95 % intervals: bootstrap over participants (whose votes go together) where at least {ENOUGH} voted and they "
        "did not all vote alike, otherwise Wilson, which takes all votes as independent. Both hold for these sets of "
        "pictures.",
        "p: of votes at least as unequal if all methods were liked equally. It takes all votes as independent, so it "
        "is too small where participants differ, and it is not corrected for the number of cells. Three or more "
        f"methods need {EXPECTED} votes each on average.",
    ]
    return [*found, f"{refused} file{'s' * (refused != 1)} could not be used."] if refused else found


def write(key: Key, answers: Answers, folder: Path) -> Part:
    """Write ``table3.md``, ``table3.csv`` and, with everything, ``table3.json``; returns the table.

    It has every cell with votes, in the key's order. In the JSON shares and bounds are from 0 to 1, the paper's in %.
    """
    found = [cell_shares(cell, answers.votes(key, i)) for i, cell in enumerate(key.cells)]
    cells = [with_paper(cell, cell["dataset"]) for cell in found if cell is not None]
    part = votes_part(cells, explain(key, answers))
    content = {
        "study": key.study, "participants": len(answers.given), "complete": answers.complete(key),
        "questions": len(key.questions), "cells": cells, "refused": answers.refused,
    }  # fmt: skip
    whole = json.dumps(content, indent=1, default=float) + "\n"
    for ending, text in (("md", markdown(part)), ("csv", comma_separated(part.entries)), ("json", whole)):
        atomic_save(folder / f"{NAME}.{ending}", text)
    return part
