"""The figure and the tables of docs/which-method.md, from the results of ``make methods``.

    python scripts/methods_page.py          # draws docs/methods_calls.png, writes the page's tables
    python scripts/methods_page.py --mask expand --to expand.png --results outputs/compare/methods*/table.csv

The figure has a column for each kind of image and a row for each metric. Lines are methods, bars 95 % intervals over
images, grey lines fills without a network. All points of a column are of the same images. In the page, a comment
``<!-- values: faces, 25 calls -->`` or ``<!-- gains: faces, 25 calls -->`` says which group the table below it shows.
"""

import argparse
import re
from pathlib import Path
from typing import Any

import installed  # noqa: F401
import matplotlib
import pandas as pd

from isdiff.io.files import atomic_save
from isdiff.paths import located

LINES = {"DDNM": "tab:blue", "Flower (DDNM, eta 1)": "tab:red", "Flower + IS-Diff": "tab:cyan",
         "Flower + ours": "black", "LanPaint 2.1": "tab:pink", "RePaint": "tab:brown", "SONIC": "tab:orange",
         "patches, DDNM": "tab:green"}  # fmt: skip
FLOORS = {"Telea": ":", "mean colour": "--", "PatchMatch": "-."}
COLUMNS = {"faces": "drawn faces", "landscapes": "drawn landscapes", "photographs": "photographs"}
PANELS = {"lite0_perceptual": "distance to the truth", "lite0_kid": "KID x 1000"}
MASKS = ("half", "wide", "expand")
CALLS, KID_TICKS = (25, 50, 100, 250, 500), (10, 20, 30, 50, 100, 200, 300)
LEAST = "#7a7a7a"


def read_results(paths: list[Path]) -> pd.DataFrame:
    """A row a group, method, mask and metric, with the group's ``images`` and its ``budget`` of network calls."""
    rows = pd.concat([pd.read_csv(path) for path in paths])
    rows[["images", "budget"]] = rows["group"].str.extract(r"(\w+), (\d+) calls")
    return rows.astype({"budget": int}).dropna(subset="value")


def draw_line(axis: Any, line: pd.DataFrame, label: str, shift: float) -> None:
    """One method; points are moved sideways by the factor ``shift``, so that no bar hides another."""
    bars = [line["value"] - line["low"], line["high"] - line["value"]]
    calls = shift * line["network_calls"]
    axis.errorbar(calls, line["value"], bars, color=LINES[label], label=label, marker="o", linewidth=2.5, elinewidth=1)


def draw(rows: pd.DataFrame) -> Any:
    """Figure of one mask's rows. Of two groups with the same budget, the one with fewer images counts."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 15, "axes.spines.top": False, "axes.spines.right": False})
    rows = rows.sort_values(["budget", "n"]).drop_duplicates(["images", "label", "metric", "budget"])
    columns = [images for images in COLUMNS if images in set(rows["images"])]
    size = (6 * len(columns), 10)
    picture, grid = pyplot.subplots(2, len(columns), figsize=size, layout="constrained", squeeze=False)
    named = {}
    for (metric, title), axes in zip(PANELS.items(), grid, strict=True):
        for axis, images in zip(axes, columns, strict=True):
            here = rows[(rows["metric"] == metric) & (rows["images"] == images)]
            for place, label in enumerate(LINES):
                if label in set(here["label"]):
                    draw_line(axis, here[here["label"] == label], label, 1 + 0.015 * (place - len(LINES) / 2))
            for label, style in FLOORS.items():
                for value in here[here["label"] == label]["value"]:
                    axis.axhline(value, color=LEAST, linestyle=style, linewidth=1.5, label=label)
            axis.set(xscale="log", yscale="log" if metric == "lite0_kid" else "linear")
            axis.set_xticks(CALLS, [str(calls) for calls in CALLS])
            if metric == "lite0_kid":
                axis.set_yticks([tick for tick in KID_TICKS if axis.get_ylim()[0] < tick < axis.get_ylim()[1]])
            axis.yaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
            named |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        axes[0].set_ylabel(title)
    for axis, images in zip(grid[0], columns, strict=True):
        axis.set_title(COLUMNS[images])
    for axis in grid[-1]:
        axis.set_xlabel("network calls an image")
    shown = [label for label in (*LINES, *FLOORS) if label in named]
    picture.legend([named[label] for label in shown], shown, loc="outside lower center", ncols=4, frameon=False)
    return picture


def bracketed(row: pd.Series, keys: tuple[str, str, str], digits: str) -> str:
    value, low, high = (format(row[key], digits) for key in keys)
    return f"{value} [{low}, {high}]"


def table_of_values(rows: pd.DataFrame) -> str:
    """Markdown of a group: distance, KID and edge error; nearest to the truth on half masks first."""
    keys = ("value", "low", "high")
    cells = rows.set_index(["metric", "mask", "label"]).sort_index()
    order = cells.loc["lite0_perceptual", MASKS[0]].sort_values("value").index
    lines = [f"| method | {' | '.join(MASKS)} | calls |", f"|{'---|' * (len(MASKS) + 2)}"]
    for label in order:
        texts = []
        for mask in MASKS:
            distance, kid, edge = (cells.loc[metric, mask, label] for metric in (*PANELS, "edge_error"))
            texts.append(f"{bracketed(distance, keys, '.2f')}; {bracketed(kid, keys, '.0f')}; {edge['value']:.1f}")
        calls = rows[rows["label"] == label]["network_calls"].round().astype(int)
        span = f"{calls.min()}" if calls.nunique() == 1 else f"{calls.min()}-{calls.max()}"
        lines.append(f"| {label} | {' | '.join(texts)} | {span} |")
    return "\n".join(lines)


def table_of_gains(rows: pd.DataFrame) -> str:
    """Markdown of paired differences by another start: distance; KID. Bold intervals do not contain zero."""
    keys = ("difference", "difference_low", "difference_high")
    cells = rows.set_index(["metric", "mask", "label"]).sort_index()
    lines = [f"| method | {' | '.join(MASKS)} |", f"|{'---|' * (len(MASKS) + 1)}"]
    for label in [label for label in rows["label"].unique() if label.endswith((" + IS-Diff", " + ours"))]:
        texts = []
        for mask in MASKS:
            pair = []
            for metric, digits in zip(PANELS, ("+.2f", "+.0f"), strict=True):
                row = cells.loc[metric, mask, label]
                bold = "**" if row[keys[1]] * row[keys[2]] > 0 else ""
                pair.append(f"{bold}{bracketed(row, keys, digits)}{bold}")
            texts.append("; ".join(pair))
        lines.append(f"| {label} | {' | '.join(texts)} |")
    return "\n".join(lines)


TABLES = {"values": table_of_values, "gains": table_of_gains}
PLACE = re.compile(r"(<!-- (values|gains): (.+?) -->\n)(?:\n(?:\|.*\n)+)?")


def write_tables(page: str, rows: pd.DataFrame) -> str:
    """The page with its tables made anew; those of groups without results stay as they are."""

    def table(place: re.Match[str]) -> str:
        group = rows[rows["group"] == place[3]]
        return place[0] if group.empty else f"{place[1]}\n{TABLES[place[2]](group)}\n"

    return PLACE.sub(table, page)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    committed = sorted(located("benchmarks/results").glob("methods*.csv"))
    parser.add_argument("--results", type=Path, nargs="+", default=committed)
    parser.add_argument("--mask", default="half", choices=MASKS)
    parser.add_argument("--to", type=Path, default=Path("docs/methods_calls.png"))
    parser.add_argument("--page", type=Path, default=Path("docs/which-method.md"))
    args = parser.parse_args(argv)
    rows = read_results(args.results)
    picture = draw(rows[rows["mask"] == args.mask])
    atomic_save(args.to, lambda stream: picture.savefig(stream, format="png", dpi=100))
    atomic_save(args.page, write_tables(args.page.read_text("utf-8"), rows))


if __name__ == "__main__":
    main()
