"""Shares as Markdown, CSV and JSON, and on a terminal, beside the paper's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.table import Table
from yaml import YAMLError

from isdiff.errors import UserError
from isdiff.io.files import atomic_open, plain
from isdiff.io.texts import csv_text, markdown_line, markdown_table
from isdiff.study.collect import Answers, Key
from isdiff.study.shares import ENOUGH, EXPECTED, CellShares, Share, all_shares

PAPER_NAMES = {"ddnm+isdiff": "isdiff"}  # what a method is called in the paper's Table III
NAME = "table3"


@dataclass(frozen=True)
class Results:
    """
    Attributes:
        paper: the paper's share in % by method, dataset and mask; empty where it is not known.
    """

    key: Key
    answers: Answers
    cells: list[CellShares]
    paper: Mapping[str, Any]

    @classmethod
    def of(cls, key: Key, answers: Answers, paper: Mapping[str, Any]) -> Results:
        return cls(key, answers, all_shares(key, answers), paper)

    def paper_share(self, cell: CellShares, method: str) -> float | None:
        """In %; None where the paper has no such cell."""
        datasets = self.paper.get(PAPER_NAMES.get(method, method), {})
        return datasets.get(cell.cell.dataset, {}).get(cell.cell.mask)

    def notes(self) -> list[str]:
        people, complete = len(self.answers.given), self.answers.complete(self.key)
        found = [
            f"{counted(people, 'participant')}, {complete} of them with all {len(self.key.questions)} answers. Several "
            "files of one participant count once, with the newest answer to each question.",
            f"95 % intervals: bootstrap over participants (whose votes go together) where at least {ENOUGH} voted and "
            "they did not all vote alike, otherwise Wilson, which takes all votes as independent. Both hold for these "
            "sets of pictures.",
            "p: of votes at least as unequal if all methods were liked equally. It takes all votes as independent, so "
            "it is too small where participants differ, and it is not corrected for the number of cells. Three or more "
            f"methods need {EXPECTED} votes each on average.",
        ]
        if self.answers.refused:
            found.append(f"{counted(len(self.answers.refused), 'file')} could not be used.")
        return found


def counted(n: int, thing: str) -> str:
    return f"{n} {thing}" + "s" * (n != 1)


def paper_shares(path: Path) -> Mapping[str, Any]:
    """The paper's Table III from a file of all its numbers; empty where there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        content = OmegaConf.to_container(OmegaConf.load(plain(path)))
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    found = content.get(NAME) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def percent(share: Share) -> str:
    """Bounds in whole numbers: their own error is larger than what comes behind the point."""
    low, high = share.interval
    return f"{100 * share.value:.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def p_value(p: float | None) -> str:
    if p is None:
        return "too few votes"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def sheets(results: Results) -> list[tuple[list[str], list[list[str]]]]:
    """For each dataset the heads and the rows: a method each, then what stands behind each column."""
    datasets = dict.fromkeys(cell.cell.dataset for cell in results.cells)
    return [sheet(results, dataset) for dataset in datasets]


def sheet(results: Results, dataset: str) -> tuple[list[str], list[list[str]]]:
    cells = [cell for cell in results.cells if cell.cell.dataset == dataset]
    methods = sorted({share.method for cell in cells for share in cell.shares})
    printed = any(results.paper_share(c, m) is not None for c in cells for m in methods)
    columns = [cell_column(results, cell, methods) for cell in cells]
    heads = [dataset]
    for cell in cells:
        heads += [f"{cell.cell.mask} %", *["paper"] * printed]
    names = [*methods, "votes", "people", "interval", "p"]
    rows = [[name] for name in names]
    for row, texts in zip(rows, zip(*columns, strict=True), strict=True):
        for ours, paper in texts:
            row += [ours, *[paper] * printed]
    return heads, rows


def cell_column(results: Results, cell: CellShares, methods: Sequence[str]) -> list[tuple[str, str]]:
    """Our text and the paper's for each method, and then for each line below them."""
    found = []
    shares = {share.method: share for share in cell.shares}
    most = max(share.votes for share in cell.shares)
    for method in methods:
        share, paper = shares.get(method), results.paper_share(cell, method)
        text = "" if share is None else percent(share)
        bold = share is not None and share.votes == most
        found.append((f"**{text}**" if bold else text, "" if paper is None else f"{paper:.1f}"))
    kind = "bootstrap" if cell.bootstrapped else "Wilson"
    return [*found, *((text, "") for text in (str(cell.votes), str(cell.participants), kind, p_value(cell.p)))]


def markdown(results: Results) -> str:
    """Shares in % with intervals; the largest of each column is bold."""
    parts = ["# Table III: which pictures people prefer", "", "Shares of votes in %, with 95 % intervals.", ""]
    for heads, rows in sheets(results):
        parts += [*markdown_table(heads, rows), ""]
    if not results.cells:
        parts += ["No answers yet.", ""]
    return "\n".join([*parts, *(markdown_line(f"- {note}") for note in results.notes())]) + "\n"


def comma_separated(results: Results) -> str:
    """One line for each method of each cell; shares and bounds in %."""
    rows: list[list[object]] = [
        ["dataset", "mask", "method", "votes", "of", "participants", "share", "low", "high", "interval", "wilson_low",
         "wilson_high", "paper", "p_equal_shares"]
    ]  # fmt: skip
    for cell in results.cells:
        for share in cell.shares:
            numbers = [share.value, *share.interval, *share.wilson]
            value, low, high, wilson_low, wilson_high = (round(100 * number, 4) for number in numbers)
            paper = results.paper_share(cell, share.method)
            rows.append(
                [cell.cell.dataset, cell.cell.mask, share.method, share.votes, share.of, cell.participants, value, low,
                 high, "bootstrap" if share.bootstrap else "wilson", wilson_low, wilson_high,
                 "" if paper is None else paper, "" if cell.p is None else cell.p]
            )  # fmt: skip
    return csv_text(rows)


def as_dict(results: Results) -> dict[str, Any]:
    """Everything, for programs; shares and bounds from 0 to 1, the paper's in %."""
    cells = [
        {
            "dataset": cell.cell.dataset,
            "mask": cell.cell.mask,
            "participants": cell.participants,
            "votes": cell.votes,
            "p_equal_shares": cell.p,
            "methods": {
                share.method: {
                    "votes": share.votes,
                    "share": share.value,
                    "wilson": share.wilson,
                    "bootstrap": share.bootstrap,
                    "paper_percent": results.paper_share(cell, share.method),
                }
                for share in cell.shares
            },
        }
        for cell in results.cells
    ]
    return {
        "study": results.key.study,
        "participants": len(results.answers.given),
        "complete": results.answers.complete(results.key),
        "questions": len(results.key.questions),
        "cells": cells,
        "refused": results.answers.refused,
    }


def tables(results: Results) -> list[Table]:
    """For a terminal."""
    found = []
    for heads, rows in sheets(results):
        table = Table(*heads, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            texts = [f"[bold]{text[2:-2]}[/bold]" if text.startswith("**") else text for text in escaped(row)]
            table.add_row(*texts)
        found.append(table)
    return found


def escaped(row: list[str]) -> list[str]:
    """Intervals stand in brackets, which are rich's markup."""
    return [text.replace("[", "\\[") for text in row]


def write(results: Results, folder: Path) -> None:
    """``table3.md``, ``table3.csv`` and ``table3.json``."""
    content = json.dumps(as_dict(results), indent=1) + "\n"
    for ending, text in (("md", markdown(results)), ("csv", comma_separated(results)), ("json", content)):
        with atomic_open(folder / f"{NAME}.{ending}") as stream:
            stream.write(text)
