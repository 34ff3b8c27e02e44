"""Answer files and the key make votes."""

from __future__ import annotations

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
NO_ANSWERS = (
    "there are no answer files{where}; build a study (isdiff study build PLAN), let people answer it, put their "
    "answers-*.json into a folder and give it (make table3 ANSWERS=FOLDER)"
)


@dataclass(frozen=True)
class KeyCell:
    """A dataset and a mask, and the methods in alphabetical order."""

    dataset: str
    mask: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Key:
    """What was asked.

    Attributes:
        questions: from a question's id to its cell's place in ``cells`` and the method behind each picture's name.
    """

    study: str
    cells: tuple[KeyCell, ...]
    questions: dict[str, tuple[int, dict[str, str]]]


@dataclass(frozen=True)
class Answer:
    """To one question.

    Attributes:
        choice: the name of the chosen picture.
        at: when, in milliseconds since 1970.
    """

    choice: str
    at: float


@dataclass
class Answers:
    """What people said.

    Attributes:
        given: by participant and question.
        refused: files that could not be used, with reasons.
    """

    given: dict[str, dict[str, Answer]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def votes(self, key: Key, cell: int) -> np.ndarray:
        """How often each participant chose each method in a cell, (participants, methods) int.

        Who gave no answer there is left out.
        """
        methods = key.cells[cell].methods
        counts = np.zeros((len(self.given), len(methods)), int)
        for row, participant in zip(counts, sorted(self.given), strict=True):
            for question, answer in self.given[participant].items():
                place, choices = key.questions[question]
                if place == cell:
                    row[methods.index(choices[answer.choice])] += 1
        return counts[counts.any(1)]

    def complete(self, key: Key) -> int:
        """How many participants answered every question."""
        return sum(len(answers) == len(key.questions) for answers in self.given.values())


def read_key(path: Path) -> Key:
    """The key in a file.

    Raises:
        UserError: it is not there, or no key.
    """
    try:
        content = json.loads(plain(path).read_text("utf-8"))
        if content["format"] != KEY_FORMAT:
            raise ValueError
        cells = tuple(KeyCell(c["dataset"], c["mask"], tuple(sorted(c["runs"]))) for c in content["cells"])
        questions = {i: (q["cell"], dict(q["choices"])) for i, q in content["questions"].items()}
        whole = all(sorted(choices.values()) == list(cells[cell].methods) for cell, choices in questions.values())
        if not whole or not isinstance(content["study"], str):
            raise ValueError
    except FileNotFoundError:
        raise UserError(f"there is no key {path}; it lies beside the study's folder as <folder>.key.json") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UserError(f"{path} is no whole key of a study; build the study again with the same plan") from None
    return Key(content["study"], cells, questions)


def answer_files(places: Sequence[str]) -> list[Path]:
    """Files named, those that patterns such as ``*.json`` match, and the ``.json`` files of folders.

    Raises:
        UserError: a place holds none.
    """
    found: dict[Path, None] = {}
    for place in places:
        if Path(place).is_dir():
            files = [path for path in sorted(Path(place).glob("*.json")) if not path.name.endswith(".key.json")]
        else:
            files = [Path(place)] if Path(place).exists() else [Path(path) for path in sorted(glob.glob(place))]
        if not files:
            raise UserError(NO_ANSWERS.format(where=f" in {place}"))
        found |= dict.fromkeys(files)
    if not found:
        raise UserError(NO_ANSWERS.format(where=""))
    return list(found)


def read_answers(path: Path, key: Key) -> tuple[str, dict[str, Answer]]:
    """A participant and their answers by question.

    Raises:
        UserError: the file cannot be used, with the reason.
    """
    try:
        content = json.loads(plain(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError("it is damaged or no JSON; ask for it again") from None
    if not isinstance(content, dict) or content.get("format") != 1 or "answers" not in content:
        raise UserError("it holds no answers to a study; take it away")
    if (study := content.get("study")) != key.study:
        raise UserError(f"it belongs to another study ({study!r}, not {key.study!r}); use that one's key")
    try:
        participant, answers = content["participant"], {}
        if not re.fullmatch("[0-9a-f]{16}", participant):
            raise ValueError
        for question, said in content["answers"].items():
            answers[question] = Answer(said["choice"], said["at"])
            shown, at = key.questions[question][1], said["at"]
            if said["choice"] not in shown or type(at) not in (int, float) or not 0 <= at < LATEST:
                raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
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
            # Ties go to the smaller name, so that the order of the files does not matter.
            if question not in known or (answer.at, known[question].choice) > (known[question].at, answer.choice):
                known[question] = answer
    return answers
