"""Runs, tables and dashboards in Weights & Biases: offline, read back from what was written."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run_script
from PIL import Image
from wandb_parts import Logged, logged

from isdiff.loggers.base import Images, Subject
from isdiff.loggers.weights_and_biases import WandbLogger

pytestmark = pytest.mark.slow  # each run of it starts processes

SMALL = [
    "dataset=avatars", "model=avatars64", "mask=half", "method=ddnm+isdiff", "sampler.steps=6", "metrics.bootstrap=20",
    "metrics.names=[perceptual]",
]  # fmt: skip


def run(out: Path, *overrides: str, **options) -> tuple[Path, str]:
    """The folder of a run, and what it said on standard error."""
    done = run_script(*SMALL, f"output_root={out}", *overrides, **options)
    return Path(done.stdout.rsplit("results: ", 1)[1].strip()), done.stderr


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "per_image.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Where wandb keeps artifacts until they are synchronised; nothing goes to the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_DATA_DIR", str(tmp_path_factory.mktemp("wandb-data")))
        patch.setenv("WANDB_MODE", "offline")
        yield


@pytest.fixture(scope="module")
def resumed(data, tmp_path_factory) -> tuple[Path, Logged]:
    """One image without a logger, then two more in two processes with one."""
    out = tmp_path_factory.mktemp("resumed")
    run(out, "limit=1")
    given = ["limit=3", "runtime.workers=2", "logger=wandb", "logger.pictures=2", "logger.group=mine"]
    folder, said = run(out, *given)
    assert "wandb" not in said
    (found,) = logged(folder)  # the sampling processes report nothing themselves
    again, _ = run(out, *given)
    assert again == folder and len(logged(folder)) == 1, "what has been reported is not reported again"
    return folder, found


def test_a_run_says_what_it_is(resumed):
    folder, found = resumed
    assert (found.run.project, found.run.run_group, found.run.job_type) == ("isdiff", "mine", "ddnm+isdiff")
    assert set(found.run.tags) == {"avatars", "half", "ddnm+isdiff"} and found.exit_code == 0
    assert found.config["sampler"]["steps"] == 6 and found.config["cell"] == "avatars, half: ddnm+isdiff, 6 steps"
    assert folder.name.endswith(found.config["result_hash"])
    lines = [line for line in found.lines if "progress/images" in line]
    assert [lines[0]["progress/images"], lines[-1]["progress/images"]] == [1, 3]  # one was there before
    assert lines[-1]["progress/network_calls"] == sum(r["network_calls"] for r in records(folder)[1:])
    assert lines[-1]["progress/seconds_left"] == 0
    assert lines[-1]["progress/seconds_per_image"] > 0


def test_numbers_and_histograms_are_the_summarys(resumed):
    folder, found = resumed
    summary = json.loads((folder / "summary.json").read_text())
    metric = summary["metrics"]["perceptual"]
    assert found.value("quality/perceptual") == metric["value"] and found.value("n") == 3
    assert found.value("quality/perceptual_low") == metric["low"]
    for name in ("network_calls_per_image", "seconds_per_image"):
        assert found.value(f"cost/{name}") == summary[name]
    assert found.value("dsr/attempts_per_image") == summary["attempts_per_image"]
    assert found.summary["config_hash"] == summary["config_hash"]
    kept = [r["dce"][r["chosen_attempt"]] for r in records(folder)]
    assert sum(found.value("dsr/dce/values")) == 3
    assert [found.value("dsr/dce/bins")[i] for i in (0, -1)] == [min(kept), max(kept)]
    attempts = [r["attempts"] for r in records(folder)]
    assert found.value("dsr/attempts/values") == [attempts.count(n) for n in range(1, max(attempts) + 1)]
    assert (found.folder / "files" / found.value("contact_sheet/path")).read_bytes()[1:4] == b"PNG"


def test_the_table_has_all_images_and_pictures_of_the_first(resumed):
    folder, found = resumed
    rows = found.table("images")
    for row, record in zip(rows, records(folder), strict=True):
        assert [row[name] for name in ("id", "attempts", "network_calls", "seconds")] == [
            record[name] for name in ("id", "attempts", "network_calls", "seconds")
        ]
        assert row["dce"] == record["dce"][record["chosen_attempt"]] and row["perceptual"] > 0
    mean = json.loads((folder / "summary.json").read_text())["metrics"]["perceptual"]["value"]
    assert np.mean([row["perceptual"] for row in rows]) == pytest.approx(mean)
    for row in rows[:2]:
        hole = row["mask"] > 0
        assert 0 < hole.sum() < hole.size
        assert np.array_equal(row["result"], np.asarray(Image.open(folder / "images" / f"{row['id']}.png")))
        assert np.array_equal(row["truth"][~hole], row["input"][~hole])
        assert not np.array_equal(row["truth"][hole], row["input"][hole])
    assert rows[2]["result"] is rows[2]["input"] is None


def test_nothing_is_lost_where_logging_fails_at_the_end(data, tmp_path, capsys):
    """The picture that is to be sent is not there: one sentence, and the next time all of it, as the same run."""
    summary = {"metrics": {}, "n": 1, "attempts_per_image": 1.0, "network_calls_per_image": 5.0} | dict.fromkeys(
        ("seconds_per_image", "images_per_second", "peak_memory_mib"), 1.0
    )

    record = {"id": "a", "dce": [], "chosen_attempt": 0, "attempts": 1, "network_calls": 5, "seconds": 1.0}
    images = Images([record], lambda image_id: {}, dict)
    subject = Subject("run", tmp_path, {"seed": 0}, job_type="ddnm")
    for _ in range(2):
        with WandbLogger().session(subject) as session:
            session.progress({"done": 1, "total": 2, "steps": 3})
            session.finish(summary, images)
        said = capsys.readouterr().err
        (entry,) = json.loads((tmp_path / "wandb" / "reported.json").read_text()).values()
        if not (tmp_path / "grid.png").exists():
            assert said.count("\n") == 1 and "grid.png" in said and "nothing is lost in" in said
            assert entry["sent"] == ""
            Image.new("RGB", (8, 8)).save(tmp_path / "grid.png")
    assert not said and entry["sent"]
    first, second = logged(tmp_path)
    assert (first.exit_code, second.exit_code) == (1, 0) and first.run.run_id == second.run.run_id == entry["id"]
    assert first.lines[0]["progress/images"] == 1 and second.value("cost/network_calls_per_image") == 5


@pytest.mark.long
def test_a_run_whose_server_is_gone_ends_well(data, tmp_path):
    env = os.environ | {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "local-" + 40 * "a"}
    env |= {"HOME": str(tmp_path), "WANDB_INIT_TIMEOUT": "2"}
    folder, said = run(tmp_path, "limit=1", "logger=wandb", "logger.mode=online", env=env)
    assert (folder / "summary.json").exists() and len(records(folder)) == 1
    assert said.count("isdiff: wandb did not get all of") == 1 and "Traceback" not in said


@pytest.fixture(scope="module")
def tabled(data, tmp_path_factory) -> tuple[Path, list[Logged]]:
    """A small table with its runs, as in ``isdiff table table4 logger=wandb``."""
    from isdiff.cli import main

    here = tmp_path_factory.mktemp("table")
    small = ["profile=demo", "limit=2", "seeds=0", "masks=half", "rows=ddnm_eta0+isdiff", "sampler.steps=2",
             f"output_root={here}/runs", f"data_root={ROOT}/data", f"model_root={ROOT}/models"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("WANDB_RUN_ID", "mine")
        assert main(["table", "table4", *small]) == 0
        assert not logged(here)
        for _ in range(2):
            assert main(["table", "table4", *small, "logger=wandb"]) == 0
    return here, logged(here)


def test_a_table_is_a_group_of_runs(tabled):
    here, runs = tabled
    assert len(list(here.glob("outputs/tables/*/table4.csv"))) == 1, "a logger makes no other table"
    assert {found.run.run_group for found in runs} == {"table4"}
    assert len({found.run.run_id for found in runs} - {"mine"}) == 3, "WANDB_RUN_ID is that of one run"
    assert sorted(found.run.job_type for found in runs) == ["ddnm_eta0", "ddnm_eta0+isdiff", "table"]
    rows = [found for found in runs if found.run.job_type != "table"]
    assert all({"landscapes", "half"} < set(found.run.tags) for found in rows)
    assert {found.config["cell"] for found in rows} == {f"landscapes, half: {found.run.job_type}" for found in rows}
    assert all(len(found.table("images")) == 2 for found in rows)
    (found,) = [found for found in runs if found.run.job_type == "table"]
    (path,) = here.glob("outputs/tables/*/table4.csv")
    lines = list(csv.DictReader(path.open()))
    values = found.table("values")
    assert [(v["row"], v["mask"], v["metric"], v["n"]) for v in values] == [
        (x["row"], x["mask"], x["metric"], int(x["n"])) for x in lines
    ]
    assert [v["value"] for v in values] == pytest.approx([float(x["value"]) for x in lines])
    overview = found.table("table")
    assert [row["method"] for row in overview] == ["DDNM, eta 0", "DDNM + IS-Diff, eta 0"]
    assert [value for row in overview for key, value in row.items() if key.startswith("half: ")] == [
        v["value"] for v in values
    ]
    (first, *_) = found.table("comparisons")
    assert first["difference"] == pytest.approx(values[2]["value"] - values[0]["value"], abs=1e-5)
    assert first["verdict"] and first["n"] == 2


def dashboard(*args: str) -> int:
    from isdiff.cli import main

    return main(["dashboard", *args])


def test_a_dashboard_asks_for_what_runs_report(tabled, resumed, tmp_path, capsys):
    """Every key, column and table of its panels is one that a run has, and the library reads its own specification."""
    from wandb_workspaces.workspaces import Workspace
    from wandb_workspaces.workspaces.internal import View, WorkspaceViewspec

    path = tmp_path / "new" / "dashboard.json"
    given = ["table4", "logger.entity=us", "logger.project=ours"]
    assert dashboard(*given, "--out", str(path)) == 0 and str(path) in capsys.readouterr().out
    whole = json.loads(path.read_text())
    spec = WorkspaceViewspec.model_validate(whole["spec"])
    made = Workspace._from_model(View(entity="us", project="ours", display_name="x", name="", id="", spec=spec))
    assert [section.name for section in made.sections] == ["Quality", "Cost", "DSR", "Pictures", "Progress"]
    assert "table4" in str(made.runset_settings.filters)
    runs = [resumed[1], *tabled[1]]
    there = {key for found in runs for line in found.lines for key in line} | {"dsr/dce", "dsr/attempts"}
    panels = [panel for section in spec.section.panel_bank_config.sections for panel in section.panels]
    asked = {key for panel in panels for key in getattr(panel.config, "metrics", None) or ()}
    assert {"quality/lite0_perceptual", "cost/seconds_per_image", "progress/seconds_left"} <= asked
    assert {key for key in asked if key not in there} == set()
    charts = [panel.config.field_settings["value"] for panel in panels if panel.view_type == "Vega2"]
    assert charts == ["dce", "attempts"] and set(charts) <= set(resumed[1].table("images")[0])
    text = path.read_text()
    assert all(f'"{key}"' in text for key in ("contact_sheet", "images", "comparisons"))
    before = path.read_bytes()
    assert dashboard(*given, "--out", str(path)) == 0 and path.read_bytes() == before
    assert dashboard("""logger.group="it's mine\"""", "--out", str(path)) == 0
    filters = json.loads(path.read_text())["spec"]["section"]["runSets"][0]["filters"]["filters"]
    assert [each["value"] for each in filters] == ["it's mine"]
