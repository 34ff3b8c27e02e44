"""The paper's tables as data, and one of them run for real."""

import csv
import json
import shutil
from functools import cache
from itertools import pairwise

import pytest
from conftest import ROOT
from omegaconf import OmegaConf
from PIL import Image

from isdiff.cli.table import read_options
from isdiff.config.composing import compose_run
from isdiff.config.search_path import config_names
from isdiff.config.setup import Setup
from isdiff.errors import UserError
from isdiff.tables import votes
from isdiff.tables.cells import cell_config, cell_setups, configs_of, fill
from isdiff.tables.figures import (
    Panel,
    as_table,
    count,
    draw,
    figure_names,
    line_points,
)
from isdiff.tables.make import folder_of, plans_of, table_names
from isdiff.tables.plan import load, plan

PROFILES = ("paper", "demo", "smoke")


@cache
def all_plans(profile: str):
    return [plan for its in plans_of([*table_names(), *figure_names()], profile).values() for plan in its]


def figure_plans(name: str, dataset: str = "imagenet", profile: str = "demo", **options):
    return plan(name, profile, table=as_table(load("figure", name), dataset, profile), **options)


@pytest.mark.parametrize("profile", ["paper", "demo", pytest.param("smoke", marks=pytest.mark.slow)])
def test_every_cell_composes(profile):
    """Every choice and every setting of every cell, in cells enough to have had each: composing takes its time."""
    seen: set[str] = set()
    count = 0
    # The smoke profile differs from the paper's in its datasets: a row of every kind shows that they compose.
    shown = [plan("table1", profile), plan("table5", profile)] if profile == "smoke" else all_plans(profile)
    for table in shown:
        assert {name for row in table.rows for name in row.against} <= {row.name for row in table.rows}
        for row in table.rows:
            cell = row.cells[-1]
            if not cell.impossible and not seen.issuperset(cell.overrides):
                seen.update(cell.overrides)
                Setup.of(compose_run(cell.overrides))
                count += 1
    assert count > 10


def test_every_printed_row_stands_in_its_table():
    """With as many values as the table has metrics; no value without a row.

    IS-Diff is compared first of all with the same method at the same noise, without IS-Diff and resampling.
    """
    for table in [table for table in all_plans("paper") if table.name in config_names("table")]:
        printed = OmegaConf.load(ROOT / "configs" / "paper_values.yaml").get(table.name, {})
        rows = {row.name: row for row in table.rows}
        assert set(printed) <= set(rows)
        for cell, values in [(cell, values) for key, values in printed.items() for cell in rows[key].cells]:
            assert [value and float(value) for value in cell.paper] == list(values.get(cell.mask, []))
            assert not cell.paper or len(cell.paper) == len(table.metrics)
        given = {row.name: dict(each.split("=", 1) for each in row.overrides) for row in load("table", table.name).rows}
        for row in [row for row in table.rows if row.isdiff]:
            mine, other = given[row.name], given[row.against[0]]
            assert other["method"].removesuffix("+isdiff") == mine["method"].removesuffix("+isdiff"), row.name
            assert other.get("isdiff") == "off" or not other["method"].endswith("+isdiff")
            assert mine.get("sampler.eta") == other.get("sampler.eta"), row.name


def rows_of(*tables: str):
    """Every row of these tables in every profile, with the values that its runs are given by key."""
    for profile in PROFILES:
        for name in tables:
            table = plan(name, profile)
            for row, config in zip(table.rows, load("table", name).rows, strict=True):
                given = next((cell.overrides for cell in row.cells if not cell.impossible), ())
                yield profile, row, config, dict(each.split("=", 1) for each in given)


def test_labels_say_where_a_profile_runs_other_values_than_they_name():
    other = set()
    for profile, row, config, given in rows_of(*config_names("table")):
        own = dict(each.split("=", 1) for each in config.overrides if "." in each.split("=")[0])
        if given and any(given[key] != value for key, value in own.items()):
            assert "(here " in row.label, (profile, row.name)
            other.add((profile, row.label))
    assert ("demo", "RePaint, eta 0, 250 steps (here 62 steps)") in other
    assert ("demo", "LanPaint, calls of plain DDNM (here 5 steps, 4 iterations)") in other
    assert ("smoke", "LanPaint, 10 iterations (here 1 iteration)") in other
    extra = ["sampler.eta=0.5", "sampler.repeat=1"]
    labels = [row.label for row in plan("table1", "demo", rows=["ddnm", "ddnm_eta0"], extra=extra).rows]
    assert labels == ["DDNM, eta 0.85, resampling (here eta 0.5, 1 repeat)", "DDNM, eta 0 (here eta 0.5)"]
    assert not [row.label for table in all_plans("paper") for row in table.rows if "(here " in row.label]


def test_narrowing():
    table = plan(
        "table1", "demo", limit=4, masks=["h*"], rows=["repaint_eta1+isdiff"], seeds=[7], extra=["sampler.steps=3"]
    )
    assert [row.name for row in table.rows] == ["repaint_eta1", "repaint_eta1+isdiff"]  # with what it is compared with
    given = {text: read_options([f"seeds={text}"])["seeds"] for text in ("3", "0", "0,2", "[5]")}
    assert given == {"3": [0, 1, 2], "0": [0], "0,2": [0, 2], "[5]": [5]}
    (cell,) = table.rows[0].cells
    assert folder_of("demo", {"only": []}) != folder_of("demo", {"only": ["table1"]}), "no fuller one is overwritten"
    assert cell.mask == "half" and cell.seeds == (7,)
    assert {"limit=4", "sampler.steps=3", "mask=half"} <= set(cell.overrides)
    assert "sampler.steps=25" not in cell.overrides


def make(capsys, *args: str) -> tuple[int, str, str]:
    from isdiff.cli import main

    code = main(["table", *args])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize("extra, masks", [([], [0, 0]), (["mask.seed=${seed}"], [0, 1])])
def test_the_runs_of_a_cell_are_those_of_a_runner(extra, masks):
    """Also where another value follows the seed."""
    table = plan("table1", "demo", masks=["wide"], rows=["ddnm_plain"], seeds=[0, 1], extra=extra)
    (cell,) = table.rows[0].cells
    setups = cell_setups(cell_config(cell, list(table.metrics.values()), table.name, table.rows[0].name), cell)
    assert [setup.masks.seed for setup in setups] == masks
    theirs = [Setup.of(cfg).fingerprint("fp32") for _, cfg in configs_of([table], strict=True)]
    assert [setup.fingerprint("fp32") for setup in setups] == theirs


def test_a_table_runs_goes_on_and_is_written(tmp_path, monkeypatch, capsys):
    small = ["profile=demo", "limit=2", "seeds=0,1", "masks=half", "rows=ddnm_eta0+isdiff", "sampler.steps=2",
             f"output_root={tmp_path}/runs", f"data_root={ROOT}/data", f"model_root={ROOT}/models"]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    code, out, err = make(capsys, "table4", "--no-run", *small)
    assert code == 2 and not list(tmp_path.glob("runs/**/*.png"))  # nothing was run
    assert "isdiff: 2 cells wait: runs, which the same command makes without --no-run" in err
    code, out, err = make(capsys, "table4", *small)
    assert code == 0 and "Table IV" in out and "too few images" in out and "cell 2/2" in err
    (path,) = tmp_path.glob("outputs/tables/*/table4.csv")
    rows = list(csv.DictReader(path.open()))
    assert [(r["row"], r["n"]) for r in rows] == [("ddnm_eta0", "2")] * 2 + [("ddnm_eta0+isdiff", "2")] * 2
    assert all(float(r["value"]) == float(r["value"]) and float(r["seed_sd"]) >= 0 for r in rows)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/**/images/*.png")}
    assert len(before) == 8  # two rows, two seeds, two images
    assert make(capsys, "table4", "--no-run", *small)[0] == 0
    again = make(capsys, "table4", *small)
    assert again[0] == 0 and {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/**/images/*.png")} == before
    assert list(csv.DictReader(path.open())) == rows
    code, out, err = make(capsys, "report", "table4", *small)
    assert "All runs: " in err
    page = next(tmp_path.glob("outputs/tables/*/report.html")).read_text()
    assert code == 0 and page.count("data:image/webp;base64,") == 2 * 4, "two images: truth, input and two rows"
    assert "http" not in page.replace("http-equiv", "")
    assert "isdiff table report table4 profile=demo limit=2 seeds=0,1" in page
    told = json.loads(next(tmp_path.glob("outputs/tables/*/report.json")).read_text())
    records = [
        json.loads(line) for p in tmp_path.glob("runs/**/per_image.jsonl") for line in p.read_text().splitlines()
    ]
    calls = sum(record["network_calls"] for record in records)
    assert told["answer"]["headline"] == "Nothing can be compared yet.", "two images are too few to say"
    assert "landscapes, 64x64; networks drawings64; half masks, seed 0: the first 2 images" in page
    assert told["spent"]["images"] == len(records) == 8 and told["spent"]["network_calls"] == calls > 16
    assert told["spent"]["seconds"] == pytest.approx(sum(record["seconds"] for record in records))
    assert f"<p>All runs: {calls} network calls for 8 pictures, 0.0 hours of one worker.</p>" in page


def test_what_a_table_waits_for_is_named_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    small = ["profile=paper", "limit=1", "masks=half,wide", "rows=ddnm_plain"]
    small += [f"model_root={tmp_path}", f"data_root={tmp_path}"]
    code, _, err = make(capsys, "table2", *small)
    assert code == 2
    waits = [line for line in err.splitlines() if " cells wait: " in line]
    named = ("celeba_hq", "images of celeba", "weights get alexnet", "weights get inception")
    assert all("2 cells wait" in line for line in waits) and all(map(str.__contains__, waits, named))
    assert len(waits) == len(named)
    assert "waits for" in next(tmp_path.glob("outputs/tables/*/table2.md")).read_text().lower()


WRONG = {
    "table1 seeds=0,0": "seeds=0,0", "table1 lmit=3": "'lmit'", "table1 sampler.stepz=3": "'sampler.stepz'",
    "tabel1": "'tabel1'", "table1 profile=best": "'best'", "table6 rows=dps*": "'dps*'",
}  # fmt: skip


@pytest.mark.parametrize("words, key", WRONG.items())
def test_wrong_arguments_are_told(tmp_path, monkeypatch, capsys, words, key):
    monkeypatch.chdir(tmp_path)
    code, _, err = make(capsys, *words.split())
    assert code == 1 and key in err and err.startswith("isdiff: ") and err.count("\n") == 1
    assert not list(tmp_path.rglob("*.csv"))


def test_points_of_a_line_are_rows_of_their_own():
    figure = load("figure", "fig_calls")
    table = figure_plans("fig_calls", masks=["half"])
    overrides = {row.name: row.cells[0].overrides for row in table.rows}
    assert {"method=lanpaint", "sampler.steps=20", "sampler.inner_steps=9", "mask=half"} <= set(overrides["lanpaint_4"])
    assert {"sampler.steps=900", "sampler.eta=0"} <= set(overrides["ddnm_eta0_6"])
    assert len(overrides) == sum(len(line.points) for line in figure.lines)
    one_of_a_kind = ("ddnm", "repaint_resampled", "lanpaint")
    for line in (line for line in figure.lines if line.name in one_of_a_kind):
        calls = [network_calls(overrides[f"{line.name}_{place}"]) for place in range(1, len(line.points) + 1)]
        assert calls == sorted(calls)
        for asked, given in zip((25, 50, 100, 200, 400, 900), calls, strict=True):
            assert 0.75 * asked < given < 1.2 * asked, "each line is about where the others are"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Overrides of short runs in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return ["sampler.steps=2", f"output_root={tmp_path}/runs", f"data_root={ROOT}/data", f"model_root={ROOT}/models"]


def test_figures_are_drawn_and_say_what_they_show(tmp_path, small):
    options = {"limit": 2, "seeds": [0], "extra": small}
    every, some = (figure_plans("fig4", rows=rows, **options) for rows in (None, ["noise", "oracle"]))
    assert not draw("fig4", [every], tmp_path, run=False).svg, "there is nothing yet"
    made = draw("fig4", [some], tmp_path, limit=2)
    assert made.caption.startswith("Fig. 4: ") and "95 % intervals" in made.caption
    assert "runs are not there" not in made.caption and made.svg.startswith("<svg")
    rows = list(csv.DictReader((tmp_path / "fig4.csv").open()))
    kl = {row["row"]: float(row["value"]) for row in rows if row["metric"] == "kl"}
    assert 0 <= kl["oracle"] < 0.5 < kl["noise"], "true colours are nearer than noise"
    part = draw("fig4", [every], tmp_path, run=False, limit=7)  # two of the four are there
    assert part.caption.endswith("2 of its runs are not there yet: make fig4 profile=demo.")
    assert Image.open(tmp_path / "fig4.png").size[0] > 1000
    sizes = {r["metric"]: r["n"] for r in csv.DictReader((tmp_path / "fig4.csv").open()) if r["row"] == "noise"}
    assert sizes["kl"] == "7" and sizes["lite0_kid"] == "2", "seeds are looked at in more images than have results"


@pytest.mark.slow
def test_lines_may_be_confined_and_have_another_resolution(small):
    figure = load("figure", "figS")
    for dataset, profile in (("celeba", "demo"), ("imagenet", "paper")):
        assert not [row.name for row in as_table(figure, dataset, profile).rows if "side" in row.name]
    table = figure_plans("figS", rows=["side32_0.75", "side128_0.75"], limit=1, extra=small)
    sheet, cells = fill(table)
    sides = {name: row.experiment.store.image(row.ids[0]).shape[0] for (name, _), row in cells.items()}
    assert sides == {"side32_0.75": 32, "plain_side32": 32, "side128_0.75": 128, "plain_side128": 128}
    assert {mask for _, mask in cells} == {"half"} and not sheet.gaps.failed
    assert any(note.startswith("with half masks alone: ") for note in sheet.notes)
    panel = Panel("photos", table, cells)
    assert count([panel]) == "Seeds: 1; images a line: 1 of photos."
    points = [line_points(figure, line, panel, "half", "lite0_perceptual") for line in figure.lines]
    assert [[x for x, _ in found] for found in points] == [[], [], [0.75], [0.75]]


def test_a_narrowed_report_leaves_out_what_has_nothing_of_it():
    asked = plans_of(["report"], "demo", masks=["half"], rows=["ddnm_eta0*"]).keys()
    assert {"table1", "table2", "table4"} <= asked and not asked & {"table5", "table8", "fig4"}
    assert [len(plans_of(["figS"], "demo")["figS"]), len(plans_of(["table1"], "demo")["table1"])] == [3, 1]
    with pytest.raises(UserError, match="'round' is none of the masks"):
        plans_of(["report"], "demo", masks=["round"])
    with pytest.raises(
        UserError, match=r"^'zzz' is none of the rows of table1: .*; 'zzz' is none of the rows of fig10"
    ):
        plans_of(["report"], "demo", rows=["zzz"])
    with pytest.raises(UserError, match="'half' is none of the masks of table8"):
        plans_of(["table8"], "demo", masks=["half"])


def network_calls(overrides):
    setup = Setup.of(compose_run(overrides))
    way = setup.steps.plan(setup.steps.steps)
    return sum(after < before for before, after in pairwise(way)) * setup.sampler.calls_per_step


def test_the_papers_numbers_are_shown_as_printed_and_its_rows_can_be_had_alone():
    table = plan("table1", "paper", rows=["printed"])
    assert [row.name for row in table.rows] == [
        "si", "hd_painter", "si+isdiff", "powerpaint", "powerpaint+isdiff", "ddnm_eta0_resampled", "ddnm_eta0+isdiff",
        "repaint", "repaint+isdiff",
    ]  # fmt: skip
    assert all(set(row.against) <= {other.name for other in table.rows} for row in table.rows)
    shown = {(row.name, cell.mask): [str(value) for value in cell.paper] for row in table.rows for cell in row.cells}
    assert shown["repaint", "expand"] == ["0.777", "143.00"]


def test_failed_cells_are_said_at_the_end_and_the_others_are_there(tmp_path, monkeypatch, capsys):
    """One of two photographs is damaged, and a start below the checkpoint stops the rows with IS-Diff."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "data" / "photos" / "test", tmp_path / "data" / "photos" / "test")
    shutil.copy(ROOT / "data" / "photos" / "test.csv", tmp_path / "data" / "photos")
    damaged = next(csv.DictReader((tmp_path / "data" / "photos" / "test.csv").read_text().splitlines()))
    (tmp_path / "data" / "photos" / "test" / damaged["file"]).write_bytes(b"no picture")
    small = ["profile=demo", "limit=2", "masks=half", "rows=repaint_eta1+isdiff", "seeds=0", "sampler.steps=2",
             f"data_root={tmp_path}/data", f"model_root={ROOT}/models", f"output_root={tmp_path}/runs"]  # fmt: skip
    code, out, err = make(capsys, "table1", *small, "isdiff.start.step=0.3")
    said = [line for line in err.splitlines() if line.startswith("isdiff: ")]
    assert code == 3 and "Table I" in out and len(said) == 2 and "Traceback" not in err
    assert said[0].startswith("isdiff: RePaint, eta 1 (half): without 1 of its images: ") and damaged["id"] in said[0]
    assert said[1].startswith("isdiff: RePaint + IS-Diff, eta 1 (half): the last of ")
    (path,) = tmp_path.glob("outputs/tables/*/table1.csv")
    rows = list(csv.DictReader(path.open()))
    assert [(r["row"], r["n"]) for r in rows] == [("repaint_eta1", "1")] * 2 + [("repaint_eta1+isdiff", "")] * 2
    notes = path.with_suffix(".md").read_text()
    assert f"{said[0].partition(': without')[2]}" in notes and "the last of" in notes
    code, _, err = make(capsys, "table1", *small, "runtime.device=cuda:99")
    assert (
        code == 3 and err.count("isdiff: ") == 1 and "RePaint, eta 1 (half), RePaint + IS-Diff, eta 1 (half): " in err
    )


def test_table_iii_shows_the_papers_shares_and_ours_when_there_are_some(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = make(capsys, "table3")
    assert code == 0 and out.count("nobody has voted yet") == 6 and "34.4" in out and "celeba (here avatars)" in out
    text = (tmp_path / "outputs/tables/demo/table3.md").read_text()
    assert "Nobody has voted yet." in text and "isdiff study build configs/study/demo.yaml" in text
    assert votes.vote_agreements(votes.read_cells("demo")) == ["not comparable"] * 6

    def cell(mask: str, ours: int, p: float | None):
        counts = {"ddnm": 40 - ours, "isdiff": ours}
        methods = {m: {"votes": n, "share": n / 40, "wilson": (0.1, 0.9), "bootstrap": None} for m, n in counts.items()}
        return {"dataset": "photos", "mask": mask, "votes": 40, "participants": 4, "p_equal_shares": p} | {
            "methods": methods
        }

    collected = tmp_path / votes.COLLECTED
    collected.parent.mkdir(parents=True)
    cells = [cell("wide", 30, 0.01), cell("half", 5, 0.01), cell("expand", 21, 0.4)]
    collected.write_text(json.dumps({"cells": cells}))
    words = votes.vote_agreements(votes.read_cells("demo"))
    assert words == ["not comparable"] * 3 + ["agrees", "opposite", "no difference here"]
    code, out, _ = make(capsys, "table3")
    assert code == 0 and "75.0" in out and "56.9" in out and out.count("nobody has voted yet") == 3
    rows = list(csv.DictReader((tmp_path / "outputs/tables/demo/table3.csv").open()))
    assert [row["paper"] for row in rows[-2:]] == ["22.6", "52.3"] and rows[-1]["share"] == "52.5"
    collected.write_text("{}")
    assert make(capsys, "table3")[0] == 1
