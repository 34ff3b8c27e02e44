"""Votes make shares with intervals: as Markdown, CSV and JSON, and on a terminal, beside the paper's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, chisquare

from isdiff.io.files import atomic_open
from isdiff.io.texts import csv_text, markdown_line
from isdiff.study.collect import Answers, Key, KeyCell
from isdiff.tables.grid import Grid, Text

PAPER_NAMES = {"ddnm+isdiff": "isdiff"}  # what a method is called in the paper's Table III
NAME = "table3"
ENOUGH = 10  # participants for a bootstrap over them
RESAMPLES = 10_000
EXPECTED = 5  # votes for each method, below which the chi-squared distribution does not fit


def bootstrap(votes: np.ndarray, seed: int = 0) -> np.ndarray:
    """95 % intervals (2, methods) of the shares over participants, drawn again with all their votes.

    Args:
        votes: (participants, methods) int.
    """
    people = len(votes)
    weights = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), RESAMPLES)
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
    """A cell's shares from 0 to 1 by method, ready for JSON; None if nobody voted.

    ``wilson`` takes votes as independent of each other. ``bootstrap`` draws participants; it is None where there are
    too few, or where all voted alike, of which it learns nothing.

    Args:
        votes: (participants, methods) int, nobody without votes.
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
    def cells(self) -> list[dict[str, Any]]:
        """The shares of every cell with votes, in the key's order, beside the paper's in %."""
        found = [cell_shares(cell, self.answers.votes(self.key, i)) for i, cell in enumerate(self.key.cells)]
        voted = [cell for cell in found if cell is not None]
        for cell in voted:
            for method, share in cell["methods"].items():
                datasets = self.paper.get(PAPER_NAMES.get(method, method), {})
                share["paper_percent"] = datasets.get(cell["dataset"], {}).get(cell["mask"])
        return voted

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
        datasets = dict.fromkeys(cell["dataset"] for cell in self.cells)
        return [self.grid(dataset, [c for c in self.cells if c["dataset"] == dataset]) for dataset in datasets]

    def grid(self, dataset: str, cells: list[dict[str, Any]]) -> Grid:
        """The cells of one dataset."""
        methods = sorted({method for cell in cells for method in cell["methods"]})
        printed = any(share["paper_percent"] is not None for cell in cells for share in cell["methods"].values())
        columns = [[dataset, *methods, "votes", "people", "interval", "p"]]
        for cell in cells:
            shares = [cell["methods"].get(method) for method in methods]
            bootstrapped = any(share and share["bootstrap"] for share in shares)
            behind = [str(cell["votes"]), str(cell["participants"]), "bootstrap" if bootstrapped else "Wilson"]
            p = cell["p_equal_shares"]
            behind.append("too few votes" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001")
            columns.append([f"{cell['mask']} %", *map(percent, shares), *behind])
            if printed:
                papers = [share and share["paper_percent"] for share in shares]
                columns.append(["paper", *("" if paper is None else f"{paper:.1f}" for paper in papers), *[""] * 4])
        best = set()
        for i, cell in enumerate(cells):
            most = max(share["votes"] for share in cell["methods"].values())
            best |= {(1 + i * (1 + printed), m) for m, share in cell["methods"].items() if share["votes"] == most}
        heads, *rows = zip(*columns, strict=True)
        texts = [[Text(text, "", "best" * ((i, row[0]) in best)) for i, text in enumerate(row)] for row in rows]
        return Grid("Shares of votes in %, with 95 % intervals.", list(heads), texts)


def percent(share: Mapping[str, Any] | None) -> str:
    """Bounds in whole numbers: their own error is larger than what comes behind the point."""
    if share is None:
        return ""
    low, high = share["bootstrap"] or share["wilson"]
    return f"{100 * share['share']:.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def markdown(results: Results) -> str:
    """Shares in % with intervals; the largest of each column is bold."""
    parts = ["# Table III: which pictures people prefer", "", "Shares of votes in %, with 95 % intervals.", ""]
    for grid in results.grids():
        parts += [*grid.markdown(), ""]
    return "\n".join([*parts, *(markdown_line(f"- {note}") for note in results.notes())]) + "\n"


def json_text(results: Results) -> str:
    """Everything, for programs; shares and bounds from 0 to 1, the paper's in %."""
    found = {
        "study": results.key.study, "participants": len(results.answers.given),
        "complete": results.answers.complete(results.key), "questions": len(results.key.questions),
        "cells": results.cells, "refused": results.answers.refused,
    }  # fmt: skip
    return json.dumps(found, indent=1) + "\n"


def comma_separated(results: Results) -> str:
    """One line for each method of each cell; shares and bounds in %."""
    rows: list[list[object]] = [
        ["dataset", "mask", "method", "votes", "of", "participants", "share", "low", "high", "interval", "wilson_low",
         "wilson_high", "paper", "p_equal_shares"]
    ]  # fmt: skip
    for cell in results.cells:
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
    for ending, form in (("md", markdown), ("csv", comma_separated), ("json", json_text)):
        with atomic_open(folder / f"{NAME}.{ending}") as stream:
            stream.write(form(results))
