"""Answer files and the key make votes."""

import glob
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isdiff.errors import UserError
from isdiff.io.files import plain
from isdiff.study.build import KEY_FORMAT

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
    """What was asked."""

    study: str
    cells: tuple[KeyCell, ...]
    questions: dict[str, tuple[int, dict[str, str]]]  # by id: a cell's place, and the method behind each picture


@dataclass
class Answers:
    """What people said."""

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
        """How many participants answered every question."""
        return sum(len(answers) == len(key.questions) for answers in self.given.values())


def read_key(path: Path) -> Key:
    """The key in a file."""
    try:
        content = json.loads(plain(path).read_text("utf-8"))
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
        content = json.loads(plain(path).read_text("utf-8"))
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
