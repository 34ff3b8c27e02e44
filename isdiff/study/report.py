"""Shares as Markdown, CSV and JSON, and on a terminal, beside the paper's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from isdiff.io.files import atomic_open
from isdiff.io.texts import csv_text, markdown_line
from isdiff.study.collect import Answers, Key
from isdiff.study.shares import ENOUGH, EXPECTED, CellShares, Share, cell_shares
from isdiff.tables.grid import Grid, Text

PAPER_NAMES = {"ddnm+isdiff": "isdiff"}  # what a method is called in the paper's Table III
NAME = "table3"


@dataclass(frozen=True)
class Results:
    """What came out.

    Attributes:
        paper: the paper's share in % by method, dataset and mask; empty where it is not known.
    """

    key: Key
    answers: Answers
    paper: Mapping[str, Any]

    @cached_property
    def cells(self) -> list[CellShares]:
        """The shares of every cell with votes, in the key's order."""
        found = [cell_shares(cell, self.answers.votes(self.key, i)) for i, cell in enumerate(self.key.cells)]
        return [cell for cell in found if cell is not None]

    def paper_share(self, cell: CellShares, method: str) -> float | None:
        """In %; None where the paper has no such cell."""
        datasets = self.paper.get(PAPER_NAMES.get(method, method), {})
        return datasets.get(cell.cell.dataset, {}).get(cell.cell.mask)

    def notes(self) -> list[str]:
        """How many answered, and what intervals and p-values are."""
        people, complete, refused = len(self.answers.given), self.answers.complete(self.key), len(self.answers.refused)
        found = [
            f"{people} participant{'s' * (people != 1)}, {complete} of them with all {len(self.key.questions)} "
            "answers. Several files of one participant count once, with the newest answer to each question.",
            f"95 % intervals: bootstrap over participants (whose votes go together) where at least {ENOUGH} voted and "
            "they did not all vote alike, otherwise Wilson, which takes all votes as independent. Both hold for these "
            "sets of pictures.",
            "p: of votes at least as unequal if all methods were liked equally. It takes all votes as independent, so "
            "it is too small where participants differ, and it is not corrected for the number of cells. Three or more "
            f"methods need {EXPECTED} votes each on average.",
        ]
        return [*found, f"{refused} file{'s' * (refused != 1)} could not be used."] if refused else found

    def grids(self) -> list[Grid]:
        """For each dataset a row for every method, with the largest share marked, then what stands behind it."""
        datasets = dict.fromkeys(cell.cell.dataset for cell in self.cells)
        return [self.grid(dataset, [c for c in self.cells if c.cell.dataset == dataset]) for dataset in datasets]

    def grid(self, dataset: str, cells: list[CellShares]) -> Grid:
        """The cells of one dataset."""
        methods = sorted({share.method for cell in cells for share in cell.shares})
        printed = any(self.paper_share(c, m) is not None for c in cells for m in methods)
        heads = [dataset]
        rows = [[Text(name)] for name in (*methods, "votes", "people", "interval", "p")]
        for cell in cells:
            heads += [f"{cell.cell.mask} %", *["paper"] * printed]
            shares, most = {share.method: share for share in cell.shares}, max(s.votes for s in cell.shares)
            column = []
            for share in map(shares.get, methods):
                best = "best" if share and share.votes == most else ""
                column.append(Text(percent(share) if share else "", "", best))
            kind, p = "bootstrap" if cell.bootstrapped else "Wilson", p_text(cell.p)
            column += map(Text, (str(cell.votes), str(cell.participants), kind, p))
            papers = [self.paper_share(cell, method) for method in methods] + [None] * 4
            for row, text, paper in zip(rows, column, papers, strict=True):
                row += [text, *[Text("" if paper is None else f"{paper:.1f}")] * printed]
        return Grid("Shares of votes in %, with 95 % intervals.", heads, rows)


def percent(share: Share) -> str:
    """Bounds in whole numbers: their own error is larger than what comes behind the point."""
    low, high = share.interval
    return f"{100 * share.value:.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def p_text(p: float | None) -> str:
    """A p-value as people read it."""
    if p is None:
        return "too few votes"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def markdown(results: Results) -> str:
    """Shares in % with intervals; the largest of each column is bold."""
    parts = ["# Table III: which pictures people prefer", "", "Shares of votes in %, with 95 % intervals.", ""]
    for grid in results.grids():
        parts += [*grid.markdown(), ""]
    return "\n".join([*parts, *(markdown_line(f"- {note}") for note in results.notes())]) + "\n"


def as_dict(results: Results) -> dict[str, Any]:
    """Everything, for programs; shares and bounds from 0 to 1, the paper's in %."""
    cells = [
        {
            "dataset": cell.cell.dataset, "mask": cell.cell.mask, "participants": cell.participants,
            "votes": cell.votes, "p_equal_shares": cell.p,
            "methods": {
                share.method: {
                    "votes": share.votes, "share": share.value, "wilson": share.wilson, "bootstrap": share.bootstrap,
                    "paper_percent": results.paper_share(cell, share.method),
                }
                for share in cell.shares
            },
        }
        for cell in results.cells
    ]  # fmt: skip
    return {
        "study": results.key.study, "participants": len(results.answers.given),
        "complete": results.answers.complete(results.key), "questions": len(results.key.questions), "cells": cells,
        "refused": results.answers.refused,
    }  # fmt: skip


def comma_separated(results: Results) -> str:
    """One line for each method of each cell; shares and bounds in %."""
    rows: list[list[object]] = [
        ["dataset", "mask", "method", "votes", "of", "participants", "share", "low", "high", "interval", "wilson_low",
         "wilson_high", "paper", "p_equal_shares"]
    ]  # fmt: skip
    for cell in as_dict(results)["cells"]:
        for method, share in cell["methods"].items():
            numbers = (share["share"], *(share["bootstrap"] or share["wilson"]), *share["wilson"])
            value, low, high, *wilson = (round(100 * number, 4) for number in numbers)
            row = [cell["dataset"], cell["mask"], method, share["votes"], cell["votes"], cell["participants"], value,
                   low, high, "bootstrap" if share["bootstrap"] else "wilson", *wilson, share["paper_percent"],
                   cell["p_equal_shares"]]  # fmt: skip
            rows.append(["" if each is None else each for each in row])
    return csv_text(rows)


def write(results: Results, folder: Path) -> None:
    """``table3.md``, ``table3.csv`` and ``table3.json``."""
    content = json.dumps(as_dict(results), indent=1) + "\n"
    for ending, text in (("md", markdown(results)), ("csv", comma_separated(results)), ("json", content)):
        with atomic_open(folder / f"{NAME}.{ending}") as stream:
            stream.write(text)
