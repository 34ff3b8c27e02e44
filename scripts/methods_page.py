"""The figure and the tables of docs/which-method.md, from the results of ``make methods``.

    python scripts/methods_page.py          # draws docs/methods_calls.png, writes the page's tables
    python scripts/methods_page.py --mask expand --to expand.png --results outputs/compare/methods*/table.json

The figure has a column for each kind of image and a row for each metric. Lines are methods, bars 95 % intervals over
images, grey lines fills without a network. All points of a column are of the same images. In the page, a comment
``<!-- values: faces, 25 calls -->`` or ``<!-- gains: faces, 25 calls -->`` says which group the table below it shows.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import installed  # noqa: F401
import matplotlib

from isdiff.io.files import atomic_save
from isdiff.paths import located

LINES = {"DDNM": "tab:blue", "Flower (DDNM, eta 1)": "tab:red", "Flower + IS-Diff": "tab:cyan",
         "Flower + ours": "black", "LanPaint 2.1": "tab:pink", "RePaint": "tab:brown", "SONIC": "tab:orange",
         "patches, DDNM": "tab:green"}  # fmt: skip
FLOORS = {"Telea": ":", "mean colour": "--", "PatchMatch": "-."}
COLUMNS = {"faces": "drawn faces", "landscapes": "drawn landscapes", "photographs": "photographs"}
PANELS = {"lite0_perceptual": "distance to the truth", "lite0_kid": "KID x 1000"}
MASKS = ("half", "wide", "expand")
CALLS = (25, 50, 100, 250, 500)
LEAST = "#7a7a7a"


def read_points(results: Sequence[dict[str, Any]], mask: str) -> dict[tuple[str, str, str], dict[int, dict[str, Any]]]:
    """Values by (images, metric, label) and calls; of two groups with the same calls, the one with fewer images."""
    found: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = {}
    for row in (row for result in results for row in result["rows"]):
        if row["mask"] == mask and row["value"] is not None:
            images, budget = row["group"].split(", ")[:2]
            line = found.setdefault((images, row["metric"], row["label"]), {})
            calls = int(budget.split()[0])
            if calls not in line or row["n"] < line[calls]["n"]:
                line[calls] = row
    return found


def draw_line(axis: Any, line: dict[int, dict[str, Any]], label: str, shift: float) -> None:
    """One method; points are moved sideways by the factor ``shift``, so that no bar hides another."""
    rows = [line[calls] for calls in sorted(line)]
    values = [row["value"] for row in rows]
    bars = [[row["value"] - row["low"] for row in rows], [row["high"] - row["value"] for row in rows]]
    calls = [shift * row["network_calls"] for row in rows]
    axis.errorbar(calls, values, bars, color=LINES[label], label=label, marker="o", linewidth=2.5, elinewidth=1)


def draw(points: dict[tuple[str, str, str], dict[int, dict[str, Any]]]) -> Any:
    matplotlib.use("agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 15, "axes.spines.top": False, "axes.spines.right": False})
    columns = [images for images in COLUMNS if any(key[0] == images for key in points)]
    picture, grid = pyplot.subplots(
        2, len(columns), figsize=(6 * len(columns), 10), layout="constrained", squeeze=False
    )
    for axes, (metric, title) in zip(grid, PANELS.items(), strict=True):
        for axis, images in zip(axes, columns, strict=True):
            for place, label in enumerate(LINES):
                if line := points.get((images, metric, label)):
                    draw_line(axis, line, label, 1 + 0.015 * (place - len(LINES) / 2))
            for label, style in FLOORS.items():
                for row in points.get((images, metric, label), {}).values():
                    axis.axhline(row["value"], color=LEAST, linestyle=style, linewidth=1.5, label=label)
            axis.set(xscale="log", yscale="log" if metric == "lite0_kid" else "linear")
            axis.set_xticks(CALLS, [str(calls) for calls in CALLS])
            axis.xaxis.minorticks_off()
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("{x:g}" if metric == "lite0_kid" else "")
            axis.set_title(COLUMNS[images] if axes is grid[0] else "")
            axis.set_xlabel("network calls an image" if axes is grid[-1] else "")
        axes[0].set_ylabel(title)
    named = {}
    for axis in grid.flat:
        named |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    picture.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False)
    return picture


def in_brackets(entry: dict[str, Any], key: str, digits: str) -> str:
    return f"{entry[key]:{digits}} [{entry['low']:{digits}}, {entry['high']:{digits}}]"


def table_of_values(results: Sequence[dict[str, Any]], group: str) -> str:
    """Markdown of a group: distance, KID and edge error; nearest to the truth on half masks first."""
    cells: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for row in (row for result in results for row in result["rows"]):
        if row["group"] == group and row["value"] is not None:
            cells.setdefault(row["label"], {}).setdefault(row["mask"], {})[row["metric"]] = row
    lines = ["| method | half | wide | expand | calls |", "|---|---|---|---|---|"]
    for label, masks in sorted(cells.items(), key=lambda item: item[1]["half"]["lite0_perceptual"]["value"]):
        texts = [
            f"{in_brackets(masks[mask]['lite0_perceptual'], 'value', '.2f')}; "
            f"{in_brackets(masks[mask]['lite0_kid'], 'value', '.0f')}; {masks[mask]['edge_error']['value']:.1f}"
            for mask in MASKS
        ]
        calls = [masks[mask]["edge_error"]["network_calls"] for mask in MASKS]
        lines.append(f"| {label} | {' | '.join(texts)} | {span(calls)} |")
    return "\n".join(lines)


def table_of_gains(results: Sequence[dict[str, Any]], group: str) -> str:
    """Markdown of paired differences: distance; KID. Bold intervals do not contain zero."""
    cells: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for entry in (entry for result in results for entry in result["comparisons"]):
        if entry["group"] == group and entry["method"].startswith(f"{entry['against'].split(' (')[0]} + "):
            cells.setdefault(entry["method"], {}).setdefault(entry["mask"], {})[entry["metric"]] = entry
    lines = ["| method | half | wide | expand |", "|---|---|---|---|"]
    for label, masks in cells.items():
        texts = []
        for mask in MASKS:
            found = ((masks[mask]["lite0_perceptual"], "+.2f"), (masks[mask]["lite0_kid"], "+.0f"))
            pair = [(in_brackets(entry, "difference", digits), entry) for entry, digits in found]
            texts.append("; ".join(f"**{text}**" if entry["low"] * entry["high"] > 0 else text for text, entry in pair))
        lines.append(f"| {label} | {' | '.join(texts)} |")
    return "\n".join(lines)


def span(values: Sequence[float]) -> str:
    low, high = round(min(values)), round(max(values))
    return str(low) if low == high else f"{low}-{high}"


TABLES = {"values": table_of_values, "gains": table_of_gains}
PLACE = re.compile(r"(<!-- (values|gains): (.+?) -->\n\n)(?:\|.*\n)*")


def write_tables(page: str, results: Sequence[dict[str, Any]]) -> str:
    """The page with its tables made anew."""
    return PLACE.sub(lambda place: place[1] + TABLES[place[2]](results, place[3]) + "\n", page)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    committed = sorted(located("benchmarks/results").glob("methods*.json"))
    parser.add_argument("--results", type=Path, nargs="+", default=committed)
    parser.add_argument("--mask", default="half", choices=MASKS)
    parser.add_argument("--to", type=Path, default=Path("docs/methods_calls.png"))
    parser.add_argument("--page", type=Path, default=Path("docs/which-method.md"))
    args = parser.parse_args(argv)
    results = [json.loads(path.read_text("utf-8")) for path in args.results]
    picture = draw(read_points(results, args.mask))
    atomic_save(args.to, lambda stream: picture.savefig(stream, format="png", dpi=100))
    atomic_save(args.page, write_tables(args.page.read_text("utf-8"), results))


if __name__ == "__main__":
    main()
