"""All tables and figures of a profile in one page that opens offline; its first screen says what comes of the paper."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from isdiff import environment
from isdiff.io.files import atomic_save
from isdiff.metrics.contrast import Verdict
from isdiff.tables.agreement import Agreement, headline
from isdiff.tables.cells import Row
from isdiff.tables.figures import Drawn
from isdiff.tables.render import Part, template
from isdiff.tables.sheet import Sheet


def spent(rows: Iterable[Row]) -> dict[str, float]:
    """The sum of what the images behind a report cost; a run of several rows counts once."""
    records = {(str(made.store.path), r["id"]): r for row in rows for made, its in row.runs for r in its}.values()
    return {"images": len(records)} | {key: sum(r[key] for r in records) for key in ("network_calls", "seconds")}


def spent_text(found: dict[str, float]) -> str:
    """The same as a sentence."""
    return (
        f"All runs: {found['network_calls']:,} network calls for {found['images']:,} pictures, "
        f"{found['seconds'] / 3600:.1f} hours of one worker."
    )


def answer(sheets: Sequence[Sheet], voted: Sequence[Agreement] = ()) -> dict[str, Any]:
    """What comes of the paper's differences, and of Table III's cells: a headline, counts by table, and sentences."""
    counts = {sheet.plan.name: Counter(word for _, _, word in sheet.agreements()) for sheet in sheets}
    counts |= {"table3": Counter(voted)} if voted else {}
    whole = sum(counts.values(), Counter())
    masks: dict[str, list[Agreement]] = {}
    for sheet in sheets:
        for _, column, word in sheet.agreements():
            if word is not Agreement.UNKNOWN:
                masks.setdefault(column.mask, []).append(word)
    by_mask = [f"{mask} {words.count(Agreement.AGREES)} of {len(words)}" for mask, words in masks.items()]
    unknown = f"{whole[Agreement.UNKNOWN]} cannot be compared (no run, too few images, or equal values in the paper)"
    said = [f"The paper prints {whole.total()} differences for its method; {unknown}."]
    said += [f"By mask, of those that can be compared agree: {', '.join(by_mask)}."] if by_mask else []
    tables = [(name, [counts[name][word] for word in Agreement]) for name in sorted(counts) if counts[name]]
    return {"headline": headline(whole), "tables": tables, "said": [*said, *meaning(sheets)]}


def meaning(sheets: Sequence[Sheet]) -> Iterator[str]:
    """What the counts mean: how many images, how many network calls, and the plain comparison beside the paper's."""
    pairs = [
        (each, column, found) for sheet in sheets for each, column, found, _ in sheet.paired()
        if found is not None and found.verdict is not Verdict.FEW
    ]  # fmt: skip
    if not pairs:
        return
    sizes = sorted(found.difference.n for _, _, found in pairs)
    yield (
        f"Only directions are compared, over {sizes[0]} to {sizes[-1]} images: 'agrees' and 'opposite' need a 95 % "
        "interval without zero, and 'no difference here' does not refute the paper. Of differences that do not exist "
        f"about one in twenty of the {len(pairs)} in these tables is called one by chance."
    )
    shares = [share for sheet in sheets for share in call_shares(sheet)]
    if shares:
        yield (
            f"Where no difference is found, the row with IS-Diff takes {100 * median(shares):.0f} % of the other's "
            "network calls (median)."
        )
    plain = Counter(found.verdict for each, _, found in pairs if each.row.isdiff and is_plain(each))
    if plain:
        yield (
            "Against the same method at the same steps and noise, without IS-Diff or resampling (the paper prints it "
            f"in Table VI alone), IS-Diff gains in {plain[Verdict.GAIN]} of {plain.total()} columns, does not differ "
            f"in {plain[Verdict.NONE]}, and is worse in {plain[Verdict.WORSE]}."
        )


def is_plain(each: Any) -> bool:
    """Whether this is a row's first comparison: with its own method without IS-Diff."""
    return bool(each.against.name == each.row.against[0])


def call_shares(sheet: Sheet) -> Iterator[float]:
    """Network calls of IS-Diff's row, as a share of the other's, where the paper's difference is not found here."""
    calls = {(line.row.name, c.mask): v.calls for line, c, v in sheet.cells() if v.calls is not None}
    for each, column, word in sheet.agreements():
        if word is Agreement.NONE:
            mine, its = (calls[row.name, column.mask] for row in (each.row, each.against))
            if its:
                yield mine / its


def write_page(
    path: Path,
    parts: Sequence[Part],
    figures: Sequence[Drawn],
    found: dict[str, Any],
    cost: dict[str, float],
    **told: str,
) -> None:
    """Write the report, and as JSON beside it what :func:`answer` and :func:`spent` give, and facts.

    ``told`` are its title, and the command that makes this page again.
    """
    facts = {"commit": environment.git_commit(), **environment.package_versions()}
    content = {"answer": found, "facts": facts, "spent": cost}
    text = template("report.html").render(
        parts=parts, figures=[figure for figure in figures if figure.svg], words=list(Agreement),
        titles={part.name: part.title for part in parts}, spent_text=spent_text(cost), **content, **told,
    )  # fmt: skip
    for file, whole in ((path, text), (path.with_suffix(".json"), json.dumps(content, indent=1))):
        atomic_save(file, whole)
