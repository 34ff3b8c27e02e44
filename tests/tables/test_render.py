"""Tables in every form: the same numbers, marked and escaped as each form needs."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from rich.console import Console

from isdiff.config.metrics import build_metrics
from isdiff.metrics.contrast import Contrast, Verdict
from isdiff.metrics.intervals import Estimate
from isdiff.tables.plan import RowPlan, TablePlan
from isdiff.tables.render import comma_separated, html, latex, markdown
from isdiff.tables.report import write_page
from isdiff.tables.sheet import Column, Comparison, Cost, Gaps, Line, Sheet, Value

NAMES = ["DDNM & Co_1", "DDNM + IS-Diff", "RePaint <50 %>", "SI"]


def terminal(sheet, width: int | None = None):
    return [table for grid in sheet.grids() for table in grid.terminal(width)]


def around(value: float) -> Estimate:
    return Estimate(value, 0.9 * value, 1.1 * value, 48)


@pytest.fixture
def sheet():
    lpips, kid, ssim = build_metrics(["lpips", "lite0_kid", "ssim"])
    columns = [
        Column("half", lpips, "lpips", True), Column("half", kid, "fid", False), Column("expand", ssim, "ssim", True),
    ]  # fmt: skip
    values = [[0.2, 14.0, 0.5], [0.13, 12.25, 0.7], [0.1, 150.0, 0.6], [None, None, None]]
    lines = []
    for i, (name, row) in enumerate(zip(NAMES, values, strict=True)):
        cells = [Value(missing="weights x.safetensors") if v is None else Value(around(v)) for v in row]
        cells[0].paper = 0.25
        cells[0].seed_sd = 0.01 if row[0] else None
        protocol = "photos64, fp32, batch 16" if i < 2 else "celeba_hq, bf16, batch 16"
        planned = RowPlan(name.lower(), name, (), paper_time=4.0 if i == 1 else None, isdiff=i == 1)
        lines.append(Line(planned, cells, Cost(100, 1.5, protocol) if row[0] else None))
    found = Contrast(Estimate(-0.07, -0.1, -0.04, 48), 0.002, -35.0, Verdict.GAIN)
    rows = tuple(line.row for line in lines)
    sheet = Sheet(
        TablePlan("table1", "Table I: 100 % & more", "demo", "shipped data", ("half", "expand"), {}, rows),
        columns, lines, [Comparison(rows[1], rows[0], (found, None, found))],
        Gaps({"weights x.safetensors: get them": ["SI, half", "SI, expand"]}), ["A note_with {braces}."],
    )  # fmt: skip
    sheet.rank()
    return sheet


def test_best_and_second_best_follow_the_direction(sheet):
    assert [line.values[0].mark for line in sheet.lines] == ["", "second", "best", ""]
    assert [line.values[1].mark for line in sheet.lines] == ["second", "best", "", ""]
    assert [line.values[2].mark for line in sheet.lines] == ["", "best", "second", ""]  # higher is better


def test_marks_are_among_rows_of_as_many_images(sheet):
    """A distance between sets depends on their size, and fewer images are other images."""
    sheet.lines[2].values[0].ours = Estimate(0.01, 0.0, 0.1, 16)
    for line in sheet.lines:
        line.values[0].mark = ""
    sheet.rank()
    assert [line.values[0].mark for line in sheet.lines] == ["", "best", "", ""]
    assert "marked, among the rows with the most images." in markdown(sheet)


def test_markdown(sheet):
    lines = markdown(sheet).splitlines()
    row = next(line for line in lines if line.startswith("| DDNM + IS-Diff"))
    assert "*0.130* [0.117, 0.143], SD 0.010, paper 0.25 (-0.120)" in row
    assert "**12.25** [11.03, 13.48]" in row
    assert any("gain confirmed" in line and "-35.0 %" in line and "0.002" in line for line in lines)
    assert "- Waits for weights x.safetensors: get them: SI, half, SI, expand" in lines
    assert {line.count("|") for line in lines if line.startswith("| ")} == {10}  # both tables happen to have 9 columns


def test_seconds_of_two_networks_stand_in_two_columns(sheet):
    head = next(line for line in markdown(sheet).splitlines() if line.startswith("| method"))
    assert "| s/image [1] | s/image [2] |" in head
    assert "[1] photos64, fp32, batch 16; [2] celeba_hq, bf16, batch 16." in markdown(sheet)
    row = next(line for line in markdown(sheet).splitlines() if line.startswith("| RePaint"))
    assert row.rstrip(" |").endswith("|  | 1.50")  # nothing under the first network


def test_a_report_says_how_many_comparisons_it_makes(sheet, tmp_path):
    few = Contrast(Estimate(-0.07, -0.1, -0.04, 2), 0.002, -35.0, Verdict.FEW)
    sheet.comparisons.append(Comparison(sheet.lines[3].row, sheet.lines[0].row, (few, None, few)))  # gives no verdict
    text = write_page(tmp_path / "report.html", "Report", [sheet], {}).read_text()
    assert (
        "All tables make 2 such comparisons, one by one: of those without a true difference about one in twenty" in text
    )


def test_csv_has_full_numbers(sheet):
    rows = list(csv.DictReader(io.StringIO(comma_separated(sheet))))
    assert len(rows) == 12
    assert (rows[3]["value"], rows[3]["n"], rows[3]["paper"], rows[3]["seed_sd"]) == ("0.13", "48", "0.25", "0.01")
    assert rows[9]["missing"] == "weights x.safetensors" and rows[9]["value"] == ""


@pytest.mark.parametrize("sign", "=+-@")
def test_labels_of_others_are_no_formulas_and_no_markup(sheet, sign):
    label = f"{sign}1|2 <img src=x> ![x](http://example.org/x.png) a < b \\| *c* \x1b[31m"
    sheet.lines[0].row = replace(sheet.lines[0].row, label=label)
    cells = [row["label"] for row in csv.DictReader(io.StringIO(comma_separated(sheet)))]
    assert cells[0] == f"'{label}" and cells[-1] == sheet.lines[-1].row.label
    row = next(line for line in markdown(sheet).splitlines() if "img" in line)
    whole = r"1\|2 \<img src=x> ![x\](http://example.org/x.png) a < b \\\| *c*"
    assert f"| {sign}{whole}" in row and len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 10
    console = Console(width=400, file=io.StringIO())
    console.print(*terminal(sheet))
    assert "\x1b" not in console.file.getvalue()


def test_latex_compiles(sheet, tmp_path):
    text = latex(sheet)
    assert (
        r"DDNM \& Co\_1" in text
        and r"\toprule" in text
        and r"\underline{0.130}" in text
        and r"note\_with \{braces\}" in text
    )
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here")
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n" + text + "\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_html_escapes_and_stands_alone(sheet):
    page = html(sheet)
    assert "RePaint &lt;50 %&gt;" in page and "<style>" in page
    assert "http://" not in page and "https://" not in page and "src=" not in page
    assert page.count('class="best"') == 3 + 2  # a best value each column, and two confirmed gains


def test_a_narrow_terminal_cuts_nothing(sheet):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*terminal(sheet, 80))
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    words = set(text.replace("│", " ").replace("┃", " ").split())
    grid = sheet.grids()[0]
    cells = [*grid.heads, *(f"{cell.value} {cell.detail}" for row in grid.rows for cell in row)]
    assert {word for cell in cells for word in cell.split()} <= words
