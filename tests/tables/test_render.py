"""Tables in every form: the same numbers, marked and escaped as each form needs."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from decimal import Decimal

import pytest

from isdiff.config.metrics import build_metrics
from isdiff.metrics.intervals import Contrast, Estimate, Verdict
from isdiff.tables.plan import CellPlan, RowPlan, TablePlan
from isdiff.tables.render import comma_separated, comparison_entries, html, latex, markdown, part_of, show
from isdiff.tables.report import answer
from isdiff.tables.sheet import Agreement, Column, Gaps, Measure, Pair, Sheet, Value, printed_difference

NAMES = ["DDNM & Co_1", "DDNM + IS-Diff", "RePaint <50 %>", "SI"]


def around(value: float) -> Estimate:
    return Estimate(value, 0.9 * value, 1.1 * value, 48)


@pytest.fixture
def sheet():
    lpips, kid, ssim = build_metrics(["lpips", "lite0_kid", "ssim"])
    columns = [
        Column("half", lpips, "lpips", True), Column("half", kid, "fid", False), Column("expand", ssim, "ssim", True),
    ]  # fmt: skip
    values = [[0.2, 14.0, 0.5], [0.13, 12.25, 0.7], [0.1, 150.0, 0.6], [None, None, None]]
    cells, rows = [], []
    for i, (name, row) in enumerate(zip(NAMES, values, strict=True)):
        rows.append(RowPlan(name.lower(), name, (), ("ddnm & co_1",), Decimal(4) if i == 1 else None, isdiff=i == 1))
        for column, value in zip(columns, row, strict=True):
            cell = (
                Value(rows[-1], column, missing="weights x.safetensors") if value is None else Value(rows[-1], column)
            )
            if value is not None:
                cell.ours, cell.calls, cell.seconds = around(value), 100, 1.5
                cell.protocol = "photos64, fp32, batch 16" if i < 2 else "celeba_hq, bf16, batch 16"
            if column is columns[0]:
                cell.paper, cell.seed_sd = Decimal("0.25"), 0.01 if row[0] else None
            cells.append(cell)
    found = Contrast(Estimate(-0.07, -0.1, -0.04, 48), 0.002, -35.0, Verdict.GAIN)
    pairs = [
        Pair(rows[1], rows[0], columns[0], found, Decimal("-0.005")),
        Pair(rows[1], rows[0], columns[2], found, Decimal("-0.012")),
    ]  # of SSIM the paper says the opposite
    sheet = Sheet(
        TablePlan("table1", "Table I: 100 % & more", "demo", "shipped data", ("half", "expand"), {}, tuple(rows)),
        columns, cells, pairs,
        Gaps({"weights x.safetensors: get them": ["SI, half", "SI, expand"]}), "photos, 64x64",
        ["A note_with {braces}."],
    )  # fmt: skip
    sheet.rank()
    return sheet


def test_best_and_second_best_follow_the_direction(sheet):
    marks = [[value.mark for value in sheet.values[first::3]] for first in range(3)]
    assert marks == [["", "second", "best", ""], ["second", "best", "", ""], ["", "best", "second", ""]]
    assert sheet.columns[2].metric.higher_is_better


def test_marks_are_among_rows_of_as_many_images(sheet):
    """A distance between sets depends on their size, and fewer images are other images."""
    first = sheet.values[::3]
    first[2].ours = Estimate(0.01, 0.0, 0.1, 16)
    for value in first:
        value.mark = ""
    sheet.rank()
    assert [value.mark for value in first] == ["", "best", "", ""]
    assert "marked, among the rows with the most images." in markdown(part_of(sheet))


def test_markdown(sheet):
    lines = markdown(part_of(sheet)).splitlines()
    half, expand = [line for line in lines if line.startswith("| DDNM + IS-Diff")]
    assert "| *0.130* [0.117, 0.143], SD 0.010; paper 0.25 (-0.120) | **12.25** [11.03, 13.48] | 48 | 100 |" in half
    assert "**0.700** [0.630, 0.770]" in expand and "*0.130*" not in expand, "a table for every mask"
    pairs = [line for line in lines if line.startswith("| against DDNM & Co_1 |")]
    assert len(pairs) == 2 and lines.index(pairs[0]) == lines.index(half) + 1, "the verdict stands below its row"
    gain = "**gain confirmed** -0.070 [-0.100, -0.040], -35.0 %, p 0.002; "
    assert f"| {gain}**paper -0.005: agrees** |  | 48 |" in pairs[0]
    assert f"| {gain}**paper -0.012: opposite** | 48 |" in pairs[1]
    assert "- Waits for weights x.safetensors: get them: SI, half, SI, expand" in lines
    assert "Here: shipped data: photos, 64x64." in lines


def test_seconds_of_two_networks_are_told_apart(sheet):
    text = markdown(part_of(sheet))
    assert "[1] photos64, fp32, batch 16; [2] celeba_hq, bf16, batch 16. Those of two networks are not to be" in text
    seconds = {line.split(" | ")[0]: line.split(" | ")[-1] for line in text.splitlines() if line.startswith("| ")}
    assert seconds[r"| RePaint \<50 %>"] == "1.50 [2] |" and seconds["| DDNM + IS-Diff"] == "1.50 [1]; paper 4 |"


@pytest.mark.parametrize(
    "printed, verdict, higher, word",
    [
        ("0.1", Verdict.GAIN, True, "agrees"), ("0.1", Verdict.WORSE, False, "agrees"),
        ("0.1", Verdict.GAIN, False, "opposite"), ("0.1", Verdict.NONE, False, "no difference here"),
        ("0.1", Verdict.FEW, False, "not comparable"), ("0.000", Verdict.GAIN, False, "not comparable"),
    ],
)  # fmt: skip
def test_a_word_says_whether_ours_points_where_the_papers_does(printed, verdict, higher, word):
    found = verdict and Contrast(Estimate(0.0, 0.0, 0.0, 48), 0.5, 0.0, verdict)
    row, column = RowPlan("a", "a", ()), Column("half", Measure("m", "m", "m", higher))
    assert Pair(row, row, column, found, printed and Decimal(printed)).agreement == word


def test_the_papers_differences_are_exact_and_of_one_paper():
    first = RowPlan("a", "a", (CellPlan("half", (), (0,), "", (Decimal("0.351"), Decimal("143.00"))),))
    second = RowPlan("b", "b", (CellPlan("half", (), (0,), "", (Decimal("0.3"), Decimal("42.95"))),))
    assert [str(printed_difference(second, first, "half", i)) for i in (0, 1)] == ["-0.051", "-100.05"]
    assert printed_difference(second, first, "wide", 0) is None
    assert printed_difference(second, replace(first, source="another paper"), "half", 0) is None


def test_the_answer_counts_words_and_says_what_they_mean(sheet):
    found = answer([sheet])
    assert found["tables"] == [("table1", [1, 0, 1, 0])]
    assert found["headline"] == (
        "No. Differences of the paper that can be compared: 2. Same direction here: 1, no difference: 0, opposite: 1."
    )
    assert found["said"][0].startswith("The paper prints 2 differences for its method; 0 cannot be compared")
    assert "half 1 of 1, expand 0 of 1" in found["said"][1]
    assert "over 48 to 48 images" in found["said"][2] and "of the 2 in these tables" in found["said"][2]
    assert "gains in 2 of 2 columns" in found["said"][-1]
    few = Contrast(Estimate(-0.07, -0.1, -0.04, 2), 0.002, -35.0, Verdict.FEW)
    sheet.pairs = [replace(pair, found=None if place else few) for place, pair in enumerate(sheet.pairs)]  # no verdict
    found = answer([sheet], [Agreement.AGREES])
    assert found["tables"] == [("table1", [0, 0, 0, 2]), ("table3", [1, 0, 0, 0])] and len(found["said"]) == 1
    assert found["headline"].startswith("Yes")


def test_csv_has_full_numbers(sheet):
    rows = list(csv.DictReader(io.StringIO(comma_separated(part_of(sheet).entries))))
    assert len(rows) == 12
    assert (rows[3]["value"], rows[3]["n"], rows[3]["paper"], rows[3]["seed_sd"]) == ("0.13", "48", "0.25", "0.01")
    assert rows[9]["missing"] == "weights x.safetensors" and rows[9]["value"] == ""
    first, second = comparison_entries(sheet)
    assert (first["paper"], first["agreement"], second["agreement"]) == (-0.005, "agrees", "opposite")


@pytest.mark.parametrize("sign", "=+-@")
def test_labels_of_others_are_no_formulas_and_no_markup(sheet, sign, capsys):
    label = f"{sign}1|2 <img src=x> ![x](http://example.org/x.png) a < b \\| *c* \x1b[31m"
    first, *rest = sheet.plan.rows
    renamed = replace(first, label=label)
    sheet.plan = replace(sheet.plan, rows=(renamed, *rest))
    for value in sheet.values[:3]:
        value.row = renamed
    cells = [row["label"] for row in csv.DictReader(io.StringIO(comma_separated(part_of(sheet).entries)))]
    assert cells[0] == f"'{label}" and cells[-1] == NAMES[-1]
    row = next(line for line in markdown(part_of(sheet)).splitlines() if "img" in line)
    whole = r"1\|2 \<img src=x> ![x\](http://example.org/x.png) a < b \\\| *c*"
    assert f"| {sign}{whole}" in row and len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 7
    show(part_of(sheet))
    assert "\x1b" not in capsys.readouterr().out


def test_latex_compiles(sheet, tmp_path):
    text = latex(part_of(sheet))
    for part in (r"DDNM \& Co\_1", r"\toprule", r"\underline{0.130}", r"note\_with \{braces\}"):
        assert part in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n" + text + "\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_html_escapes_and_stands_alone(sheet):
    page = html(part_of(sheet))
    assert "RePaint &lt;50 %&gt;" in page and "<style>" in page
    assert "http://" not in page and "https://" not in page and "src=" not in page
    assert page.count('class="best"') == 3 + 2  # a best value each column, and two confirmed gains
    assert page.count('class="word best"') == page.count('class="word bad"') == 1 and "<details" not in page


def test_a_narrow_terminal_cuts_nothing(sheet, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    part = part_of(sheet)
    show(part)
    text = capsys.readouterr().out
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    words = {word.strip(";") for word in text.split()}
    for grid in part.grids:
        cells = [*grid.heads, *(t for row in grid.rows for cell in row for t in (cell.value, cell.detail, cell.note))]
        assert {word for cell in cells for word in cell.split()} <= words
