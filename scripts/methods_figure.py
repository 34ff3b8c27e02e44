"""Quality against network calls, from the results of ``make methods``: one figure for a page or half a slide.

    python scripts/methods_figure.py
    python scripts/methods_figure.py --results outputs/compare/methods*/table.json --to docs/methods_calls.png

Lines are methods on drawn faces with half masks, bars 95 % intervals over images, dashed lines fills without a network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import installed  # noqa: F401
import matplotlib

from isdiff.io.files import atomic_save
from isdiff.paths import located

LINES = {"DDNM": "tab:blue", "DDNM + IS-Diff": "tab:cyan", "DDNM, resampling": "tab:green", "DING": "tab:purple",
         "Flower (DDNM, eta 1)": "tab:red", "Flower + ours": "black", "RePaint": "tab:brown",
         "LanPaint 2.1": "tab:pink", "SONIC": "tab:orange"}  # fmt: skip
FLOORS = ("Telea", "mean colour", "PatchMatch")
PANELS = {
    "lite0_perceptual": "distance to the truth\n(Lite0 perceptual)",
    "lite0_kid": "distance of the sets\n(Lite0 KID x1000)",
}
TICKS, KID_TICKS = (25, 50, 100, 250, 500), (30, 50, 100, 200, 300)
LEAST = "#7a7a7a"


def points(rows: Sequence[dict[str, Any]], label: str, metric: str) -> list[dict[str, Any]]:
    """The values of a method, by calls; of two groups with the same calls the first, which has more seeds."""
    found: dict[float, dict[str, Any]] = {}
    for row in rows:
        here = (row["label"], row["metric"], row["mask"]) == (label, metric, "half")
        if here and row["group"].startswith(("faces,", "IS-Diff on faces,")) and row["value"] is not None:
            found.setdefault(round(row["network_calls"] / 5), row)
    return [found[key] for key in sorted(found)]


def draw(rows: Sequence[dict[str, Any]]) -> Any:
    matplotlib.use("agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 15, "axes.spines.top": False, "axes.spines.right": False})
    picture, axes = pyplot.subplots(1, len(PANELS), figsize=(13, 6.2), constrained_layout=True)
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for place, (label, colour) in enumerate(LINES.items()):
            line = points(rows, label, metric)
            shift = 1 + 0.02 * (place - len(LINES) / 2)  # side by side, so that no bar hides another
            calls = [shift * row["network_calls"] for row in line]
            values = [row["value"] for row in line]
            bars = [[row["value"] - row["low"] for row in line], [row["high"] - row["value"] for row in line]]
            axis.errorbar(
                calls, values, bars, color=colour, label=label, marker="o", linewidth=2.5, elinewidth=1, capsize=2
            )
        for label, style in zip(FLOORS, (":", "--", "-."), strict=True):
            if line := points(rows, label, metric):
                axis.axhline(line[0]["value"], color=LEAST, linestyle=style, linewidth=1.5, label=label)
        axis.set(xscale="log", xlabel="network calls an image", title=title)
        ticks = [tick for tick in TICKS if tick < 1.1 * max(row["network_calls"] for row in rows)]
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        if metric == "lite0_kid":
            axis.set_yscale("log")
            axis.set_yticks(KID_TICKS, [str(tick) for tick in KID_TICKS])
            axis.minorticks_off()
    picture.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return picture


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    committed = sorted(located("benchmarks/results").glob("methods*.json"))
    parser.add_argument("--results", type=Path, nargs="+", default=committed)
    parser.add_argument("--to", type=Path, default=Path("docs/methods_calls.png"))
    args = parser.parse_args(argv)
    picture = draw([row for path in args.results for row in json.loads(path.read_text("utf-8"))["rows"]])
    atomic_save(args.to, lambda stream: picture.savefig(stream, format="png", dpi=110))


if __name__ == "__main__":
    main()
