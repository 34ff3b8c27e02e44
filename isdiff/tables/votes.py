"""Table III: the shares of people's votes, ours beside the paper's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from isdiff.errors import UserError
from isdiff.paths import placed
from isdiff.tables.grid import Grid, Text
from isdiff.tables.plan import load, paper_values
from isdiff.tables.render import Part
from isdiff.tables.sheet import Agreement

NAME, TITLE = "table3", "Table III: which pictures people prefer"
COLLECTED = "outputs/study.results/table3.json"  # where isdiff study collect writes, unless told otherwise
PAPER_NAMES = {"ddnm+isdiff": "isdiff"}  # what a method is called in the paper's table
Cell = Mapping[str, Any]  # a dataset and mask, as isdiff study collect writes them


def with_paper(cell: Cell, dataset: str) -> dict[str, Any]:
    """A cell with the paper's shares of ``dataset`` in % beside its own; None where it has none."""
    methods = {}
    for method, share in cell["methods"].items():
        printed = paper_values()[NAME].get(PAPER_NAMES.get(method, method), {})
        methods[method] = {**share, "paper_percent": printed.get(dataset, {}).get(cell["mask"])}
    return {**cell, "methods": methods}


def read_cells(profile: str) -> list[dict[str, Any]]:
    """The paper's cells, with the votes that were collected for the datasets that this profile shows in their place."""
    path, found = placed(COLLECTED), {}
    if path.exists():
        try:
            found = {(cell["dataset"], cell["mask"]): cell for cell in json.loads(path.read_text("utf-8"))["cells"]}
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path} holds no votes; make it again with isdiff study collect") from None
    cells, paper = [], paper_values()[NAME]
    for dataset, masks in paper["isdiff"].items():
        here = load("profile", profile).datasets[dataset].overrides[0].partition("=")[2]
        for mask in masks:
            cell = found.get((here, mask), {"mask": mask, "votes": 0, "methods": {key: {} for key in paper}})
            label = dataset if here == dataset else f"{dataset} (here {here})"
            cells.append(with_paper(cell, dataset) | {"dataset": label})
    return cells


def table_part(profile: str) -> Part:
    """The table of a profile, with the votes that are there."""
    cells, key = read_cells(profile), placed("outputs/study.key.json")
    plan = f"configs/study/{'table3' if profile == 'paper' else 'demo'}.yaml"
    state = "In brackets 95 % intervals." if any(cell["votes"] for cell in cells) else "Nobody has voted yet."
    note = (
        f"{state} isdiff study build {plan} makes the study's page; isdiff study collect {key} FILES counts the "
        "answers, and then this table shows them."
    )
    return votes_part(cells, [note])


def votes_part(cells: Sequence[Cell], notes: list[str]) -> Part:
    """Cells as they are shown, with a line for each method of each cell; shares and bounds in %."""
    entries = []
    for cell in cells:
        for method, share in cell["methods"].items():
            wilson = share.get("wilson")
            bounds = share.get("bootstrap") or wilson
            entries.append({
                "dataset": cell["dataset"], "mask": cell["mask"], "method": method, "votes": share.get("votes"),
                "of": cell["votes"], "participants": cell.get("participants"),
                **percents(("share",), wilson and (share["share"],)), **percents(("low", "high"), bounds),
                "interval": bounds and ("wilson" if bounds is wilson else "bootstrap"),
                **percents(("wilson_low", "wilson_high"), wilson), "paper": share["paper_percent"],
                "p_equal_shares": cell.get("p_equal_shares"),
            })  # fmt: skip
    return Part(NAME, TITLE, "shares of votes in %", vote_grids(cells), notes, entries)


def percents(keys: Sequence[str], shares: Sequence[float] | None) -> dict[str, float | None]:
    """Shares from 0 to 1 as %, by key; None where nobody voted."""
    return (
        {key: round(100 * share, 4) for key, share in zip(keys, shares, strict=True)} if shares else dict.fromkeys(keys)
    )


def vote_grids(cells: Sequence[Cell]) -> list[Grid]:
    """For each dataset a row for every method, with the largest share marked, and what stands behind it."""
    grids = []
    for dataset in dict.fromkeys(cell["dataset"] for cell in cells):
        its = [cell for cell in cells if cell["dataset"] == dataset]
        methods = sorted({method for cell in its for method in cell["methods"]})
        rows = [[Text(method), *(share_text(cell, method) for cell in its)] for method in methods]
        behind = zip(("votes", "people", "interval", "p"), *map(behind_votes, its), strict=True)
        heads = ["share of votes", *(f"{cell['mask']} %" for cell in its)]
        grids.append(Grid(dataset, heads, [*rows, *([Text(text) for text in row] for row in behind if any(row[1:]))]))
    return grids


def behind_votes(cell: Cell) -> list[str]:
    """Votes, participants, kind of interval and p-value of equal shares."""
    if not cell["votes"]:
        return ["nobody has voted yet", "", "", ""]
    bootstrapped = any(share["bootstrap"] for share in cell["methods"].values())
    p = cell["p_equal_shares"]
    chance = "too few votes" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001"
    return [str(cell["votes"]), str(cell["participants"]), "bootstrap" if bootstrapped else "Wilson", chance]


def share_text(cell: Cell, method: str) -> Text:
    """Bounds in whole numbers: their own error is larger than what comes behind the point."""
    share = cell["methods"].get(method)
    if share is None:
        return Text("")
    paper = "" if share["paper_percent"] is None else f"paper {share['paper_percent']}"
    if not cell["votes"]:
        return Text("–", note=paper)
    low, high = share["bootstrap"] or share["wilson"]
    most = max(each["votes"] for each in cell["methods"].values())
    mark = "best" if share["votes"] == most else ""
    return Text(f"{100 * share['share']:.1f}", f"[{100 * low:.0f}, {100 * high:.0f}]", mark, paper)


def vote_agreements(cells: Sequence[Cell]) -> list[Agreement]:
    """Whether people prefer here what they prefer in the paper, a word for each cell."""
    found = []
    for shares, p in [(cell["methods"], cell.get("p_equal_shares")) for cell in cells]:
        if p is None or p > 0.05:
            found.append(Agreement.UNKNOWN if p is None else Agreement.NONE)
            continue
        ours, paper = (max(shares, key=lambda m: shares[m][key] or 0) for key in ("votes", "paper_percent"))
        found.append(Agreement.AGREES if ours == paper else Agreement.OPPOSITE)
    return found
