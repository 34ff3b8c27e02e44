"""Runs from Python, and their results as tables: the same numbers as the commands'."""

import csv
import sys

import pandas as pd
import pytest

import isdiff
from isdiff.cli import main
from isdiff.runs.store import RunFolder

COMMON = ["dataset=avatars", "mask=wide", "limit=3", "sampler.steps=3", "sampler.repeat=1"]
METRICS = "lite0_perceptual,lite0_kid"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def runs(place):
    measured = [f"output_root={place}", "metrics.names=[lite0_perceptual,perceptual,frechet]"]
    rows = ["method=ddnm", "method=ddnm+isdiff"], ["method=ddnm", "sampler.eta=0.5"], ["method=telea"]
    return [isdiff.run([*COMMON, *measured, *row]) for row in rows]


def test_a_run_has_a_row_for_each_image(runs):
    run, frame = runs[0], runs[0].frame()
    records = RunFolder(run.folder).records()
    assert list(frame["id"]) == list(records) and len(frame) == run.summary["n"] == 3
    for record, row in zip(records.values(), frame.to_dict("records"), strict=True):
        assert (row["network_calls"], row["attempts"]) == (record["network_calls"], record["attempts"])
        assert row["hole"] == record["hole"] and 0 < row["hole"] < 1
        assert row["start_timestep"] == record["start_timesteps"][row["chosen_attempt"]]
        assert row["picture"] == str(run.folder / "images" / f"{row['id']}.png")
    for metric in ("lite0_perceptual", "perceptual"):
        assert frame[metric].mean() == pytest.approx(run.summary["metrics"][metric]["value"])
    assert "frechet" not in frame, "a distance between sets has no values of images"
    assert set(frame["method"]) == {"ddnm+isdiff"} and set(frame["steps"]) == {3}


def test_what_differs_between_runs_of_one_name_is_a_column(runs, place, capsys):
    other = isdiff.run(" ".join([*COMMON, f"output_root={place}", "sampler.eta=0.25", "metrics.names=[]"]))
    assert capsys.readouterr().err == "", "it is quiet"
    filled = isdiff.run([*COMMON, f"output_root={place}", "method=telea", "method.fill.radius=9", "metrics.names=[]"])
    frame = isdiff.results(place)
    assert frame.groupby("run").size().to_dict() == {each.summary["config_hash"]: 3 for each in [*runs, other, filled]}
    assert list(frame.columns[:7]) == ["dataset", "mask", "method", "model", "seed", "steps", "run"]
    assert set(frame.columns[7 : list(frame).index("id")]) == {"sampler.eta", "start.seed.radius"}
    assert {9, 3} == set(frame[frame["method"] == "telea"]["start.seed.radius"])
    assert set(frame[frame["method"] == "ddnm"]["sampler.eta"]) == {0.5, 0.25}
    assert frame[frame["method"] == "telea"]["steps"].isna().all()
    with pytest.raises(isdiff.UserError, match="has no finished run"):
        isdiff.results(place / "nowhere")


def test_comparisons_equal_those_of_the_command(runs, place, capsys):
    words = ["ddnm+isdiff", "ddnm sampler.eta=0.5", "telea", *COMMON, f"output_root={place}"]
    assert main(["compare", *words, f"metrics.names=[{METRICS}]"]) == 0
    printed = capsys.readouterr().out
    with open(next(place.glob("compare/*/table.csv"))) as stream:
        said = list(csv.DictReader(stream))
    found = isdiff.compare(runs, METRICS.split(","))
    assert [line["label"] for line in said[::2]] == words[:3] and len(found) == len(said) == 6
    for line, row in zip(said, found.to_dict("records"), strict=True):
        assert line["metric"] == row["metric"]
        for key in ("value", "low", "high", "n", "difference", "difference_low", "difference_high", "p"):
            assert float(line[key] or "nan") == pytest.approx(row[key], nan_ok=True), key
    row = found.iloc[-2]
    text = f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"
    assert "| against ddnm+isdiff |" in printed and text in printed
    assert runs[0].frame()["perceptual"].notna().all(), "values that others measured stay"
    assert set(isdiff.compare(runs[:2])["metric"]) == {"lite0_perceptual", "perceptual", "frechet"}


def test_the_command_writes_the_same_rows(runs, place, tmp_path, monkeypatch, capsys):
    assert main(["results", str(place), "--csv", str(tmp_path / "images.csv")]) == 0
    written, frame = pd.read_csv(tmp_path / "images.csv"), isdiff.results(place)
    assert list(written.columns) == list(frame.columns)
    assert written["lite0_perceptual"].tolist() == pytest.approx(frame["lite0_perceptual"].tolist(), nan_ok=True)
    monkeypatch.setattr("isdiff.cli.results.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    for words, said in ((["--parquet", "x"], "package pyarrow"), (["--csv", "x"], "isdiff[notebook]")):
        capsys.readouterr()
        assert main(["results", str(place), *words]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "words, said",
    [
        (["ddm"], "no method 'ddm'"), (["ddnm", "ddnm limit=3"], "the same in all rows"),
        (["ddnm 'a"], "No closing quotation"), (["ddnm", "limit=0"], "at least 1"),
        (["ddnm", "telea", "mask=no"], "there is no mask 'no'"), (["ddnm", "telea x.y=3"], "there is no key 'x.y'"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_compared_are_one_sentence(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not list(tmp_path.iterdir())
