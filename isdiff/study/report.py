"""Votes make shares with intervals: as Markdown, CSV and JSON, and on a terminal, beside the paper's."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, chisquare

from isdiff.io.files import atomic_save
from isdiff.study.collect import Answers, Key, KeyCell
from isdiff.tables.render import Part, comma_separated, markdown
from isdiff.tables.votes import NAME, TITLE, vote_grids, with_paper

ENOUGH = 10  # participants for a bootstrap over them
RESAMPLES = 10_000
EXPECTED = 5  # votes for each method, below which the chi-squared distribution does not fit


def bootstrap(votes: np.ndarray, seed: int = 0) -> np.ndarray:
    """95 % intervals (2, methods) of shares of ``votes`` (participants, methods), drawn by participant."""
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


@dataclass(frozen=True)
class Results:
    """What came out."""

    key: Key
    answers: Answers

    @cached_property
    def cells(self) -> list[dict[str, Any]]:
        """The shares of every cell with votes, in the key's order, beside the paper's in %."""
        found = [cell_shares(cell, self.answers.votes(self.key, i)) for i, cell in enumerate(self.key.cells)]
        return [with_paper(cell, cell["dataset"]) for cell in found if cell is not None]

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

    def entries(self) -> list[dict[str, Any]]:
        """A line for each method of each cell; shares and bounds in %."""
        return [
            {
                "dataset": cell["dataset"], "mask": cell["mask"], "method": method, "votes": share["votes"],
                "of": cell["votes"], "participants": cell["participants"], "share": percent(share["share"]),
                **dict(zip(("low", "high"), map(percent, share["bootstrap"] or share["wilson"]), strict=True)),
                "interval": "bootstrap" if share["bootstrap"] else "wilson",
                **dict(zip(("wilson_low", "wilson_high"), map(percent, share["wilson"]), strict=True)),
                "paper": share["paper_percent"], "p_equal_shares": cell["p_equal_shares"],
            }
            for cell in self.cells
            for method, share in cell["methods"].items()
        ]  # fmt: skip

    def part(self) -> Part:
        """The table as it is shown; the largest share of each column is marked."""
        return Part(NAME, TITLE, "shares of votes in %, with 95 % intervals", vote_grids(self.cells), self.notes(), [])

    def content(self) -> dict[str, Any]:
        """Everything, for programs; shares and bounds from 0 to 1, the paper's in %."""
        return {
            "study": self.key.study, "participants": len(self.answers.given),
            "complete": self.answers.complete(self.key), "questions": len(self.key.questions), "cells": self.cells,
            "refused": self.answers.refused,
        }  # fmt: skip


def percent(share: float) -> float:
    """From 0 to 1 as %."""
    return round(100 * share, 4)


def write(results: Results, folder: Path) -> None:
    """``table3.md``, ``table3.csv`` and ``table3.json``."""
    texts = {
        "md": markdown(results.part()), "csv": comma_separated(results.entries()),
        "json": json.dumps(results.content(), indent=1) + "\n",
    }  # fmt: skip
    for ending, text in texts.items():
        atomic_save(folder / f"{NAME}.{ending}", text)
