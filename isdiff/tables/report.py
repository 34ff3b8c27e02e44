"""What a report says first: what comes of the paper's differences, and what they mean."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

from isdiff.metrics.intervals import Verdict
from isdiff.tables.cells import Row
from isdiff.tables.sheet import Agreement, Sheet


def spent(rows: Iterable[Row]) -> dict[str, float]:
    """The sum of what the images behind a report cost; a run of several rows counts once."""
    records = {(str(made.store.path), r["id"]): r for row in rows for made, its in row.runs for r in its}.values()
    return {"images": len(records)} | {key: sum(r[key] for r in records) for key in ("network_calls", "seconds")}


def answer(sheets: Sequence[Sheet], voted: Sequence[Agreement] = ()) -> dict[str, Any]:
    """What comes of the paper's differences, and of Table III's cells: a headline, counts by table, and sentences."""
    counts = {sheet.plan.name: Counter(word for _, word in sheet.judged()) for sheet in sheets}
    counts |= {"table3": Counter(voted)} if voted else {}
    whole = sum(counts.values(), Counter())
    masks: dict[str, list[Agreement]] = {}
    for pair, word in (each for sheet in sheets for each in sheet.judged()):
        if word is not Agreement.UNKNOWN:
            masks.setdefault(pair.column.mask, []).append(word)
    by_mask = [f"{mask} {words.count(Agreement.AGREES)} of {len(words)}" for mask, words in masks.items()]
    unknown = f"{whole[Agreement.UNKNOWN]} cannot be compared (no run, too few images, or equal values in the paper)"
    said = [f"The paper prints {whole.total()} differences for its method; {unknown}."]
    said += [f"By mask, of those that can be compared agree: {', '.join(by_mask)}."] if by_mask else []
    tables = [(name, [counts[name][word] for word in Agreement]) for name in sorted(counts) if counts[name]]
    return {"headline": headline(whole), "tables": tables, "said": [*said, *meaning(sheets)]}


def headline(counts: Counter[Agreement]) -> str:
    agrees, none, opposite = (counts[word] for word in (Agreement.AGREES, Agreement.NONE, Agreement.OPPOSITE))
    known = agrees + none + opposite
    if not known:
        return "Nothing can be compared yet."
    word = "Yes" if agrees == known else "Mostly" if 2 * agrees > known else "In part" if agrees > opposite else "No"
    found = f"Same direction here: {agrees}, no difference: {none}, opposite: {opposite}."
    return f"{word}. Differences of the paper that can be compared: {known}. {found}"


def meaning(sheets: Sequence[Sheet]) -> Iterator[str]:
    """What the counts mean: how many images, how many network calls, and the plain comparison beside the paper's."""
    pairs = [
        (pair, found) for sheet in sheets for pair in sheet.pairs
        if (found := pair.found) is not None and found.verdict is not Verdict.FEW
    ]  # fmt: skip
    if not pairs:
        return
    sizes = sorted(found.difference.n for _, found in pairs)
    yield (
        f"Only directions are compared, over {sizes[0]} to {sizes[-1]} images: 'agrees' and 'opposite' need a 95 % "
        "interval without zero, and 'no difference here' does not refute the paper. Of differences that do not exist "
        f"about one in twenty of the {len(pairs)} in these tables is called one by chance."
    )
    if shares := [share for sheet in sheets for share in call_shares(sheet)]:
        yield (
            f"Where no difference is found, the row with IS-Diff takes {100 * median(shares):.0f} % of the other's "
            "network calls (median)."
        )
    # A row's first comparison is with its own method without IS-Diff.
    firsts = [found for pair, found in pairs if pair.row.isdiff and pair.against.name == pair.row.against[0]]
    if plain := Counter(found.verdict for found in firsts):
        yield (
            "Against the same method at the same steps and noise, without IS-Diff or resampling (the paper prints it "
            f"in Table VI alone), IS-Diff gains in {plain[Verdict.GAIN]} of {plain.total()} columns, does not differ "
            f"in {plain[Verdict.NONE]}, and is worse in {plain[Verdict.WORSE]}."
        )


def call_shares(sheet: Sheet) -> Iterator[float]:
    """Network calls of IS-Diff's row, as a share of the other's, where the paper's difference is not found here."""
    calls = {(v.row.name, v.column.mask): v.calls for v in sheet.values if v.calls is not None}
    for pair, word in sheet.judged():
        if word is Agreement.NONE:
            mine, its = (calls[row.name, pair.column.mask] for row in (pair.row, pair.against))
            if its:
                yield mine / its
