"""Comparisons: tables with paired differences from real runs."""

import json
import re

import pytest
from conftest import ROOT
from omegaconf import OmegaConf

from isdiff.cli import main
from isdiff.config.composing import compose_run
from isdiff.config.search_path import config_names
from isdiff.errors import UserError
from isdiff.tables.compare import compare, narrow, read_plan, swept_plan, table_of


@pytest.mark.slow
def test_the_demo_at_a_small_size(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = read_plan(ROOT / "configs" / "compare" / "demo.yaml")
    plan.folder, plan.seeds, plan.bootstrap = str(tmp_path), [0, 1], 50
    for group in plan.groups:
        group.limit = 3
    plan.groups[0].common = ["dataset=photos"]  # of 64 pixels
    folder, gaps = compare(plan, [f"output_root={tmp_path}", "sampler.steps=5"])
    found = json.loads((folder / "table.json").read_text())
    rows = found["rows"]
    assert [row["label"] for row in rows] == [row.label for group in plan.groups for row in group.rows]
    assert [row["network_calls"] for row in rows[:3]] == [0, 0, 5] and not gaps.failed
    for row, paired in zip(rows[1:3], found["comparisons"][:2], strict=True):
        assert (paired["method"], paired["against"], paired["group"]) == (row["label"], rows[0]["label"], row["group"])
        assert paired["difference"] == pytest.approx(row["value"] - rows[0]["value"])
        assert paired["low"] <= paired["difference"] <= paired["high"] and paired["n"] == 3
    text = (folder / "summary.md").read_text()
    assert "## photographs, mask wide, limit 3" in text and "SD: standard deviation" in text and "| DDNM" in text
    assert (folder / "wide_3_photographs.png").stat().st_size > 10_000
    # A second run finds everything and says the same.
    assert (compare(plan, [f"output_root={tmp_path}", "sampler.steps=5"])[0] / "summary.md").read_text() == text


def test_plans_are_narrowed():
    plan = read_plan(ROOT / "configs" / "compare" / "photos.yaml")
    small = narrow(plan, limit=50, seeds=[0, 2], masks=["half"])
    assert [group.limit for group in small.groups] == [min(group.limit, 50) for group in plan.groups]
    assert list(small.seeds) == [0, 2] and list(small.masks) == ["half"]
    assert small.folder == f"{plan.folder}_limit_50_seeds_0_2_masks_half", "a fuller result stays where it is"
    seeds = [table_of(small, group, []).rows[0].cells[0].seeds for group in small.groups]
    assert seeds == [(0,), *[(0, 2)] * 4, (0,)]
    assert [list(group.seeds) for group in narrow(plan, seeds=[5]).groups if group.seeds] == [[5], [5]]
    assert narrow(plan) == plan and plan.groups[0].limit == 200
    with pytest.raises(UserError, match="must be at least 1"):
        narrow(plan, limit=0)


OWN = re.search(r"```yaml\n(# configs/compare/mine.*?)```", (ROOT / "docs/experiments.md").read_text("utf-8"), re.S)[1]


def test_a_row_names_the_row_that_it_is_compared_with(tmp_path):
    """Otherwise it is the first; a name that no row has is refused."""
    row = "  - {label: %s, overrides: [method=ddnm]%s}\n"
    text = (
        "groups:\n- limit: 1\n  rows:\n" + row % ("a", ", against: c") + row % ("b", "") + row % ("c", ", against: b")
    )
    (tmp_path / "own.yaml").write_text(text)
    plan = read_plan(tmp_path / "own.yaml")
    assert [row.against for row in table_of(plan, plan.groups[0], []).rows] == [("c",), ("a",), ("b",)]
    for wrong in "cd":
        (tmp_path / "own.yaml").write_text(text.replace("against: b", f"against: {wrong}"))
        plan = read_plan(tmp_path / "own.yaml")
        with pytest.raises(UserError, match=f"row c is compared with {wrong}, which is no other row of its group"):
            table_of(plan, plan.groups[0], [])


def test_a_file_of_ones_own_needs_no_more_than_its_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/compare").mkdir(parents=True)
    (tmp_path / "configs/compare/mine.yaml").write_text(OWN)
    assert main(["compare", "mine"]) == 0
    found = json.loads((tmp_path / "outputs/compare/mine/table.json").read_text())
    assert [row["label"] for row in found["rows"]] == ["Telea", "mean colour"] and len(found["comparisons"]) == 1
    assert "# mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    "before, after, said",
    [
        ("label: mean colour", "label: Telea", "two rows with the same label"),
        ("limit: 1 ", "title: a ", "groups[0].limit is missing"),
        ("overrides: [method=telea]", "overide: []", "Key 'overide' not in 'PlannedRow'"),
        ("method=mean_color", "method=mean_color, sampler.steps=0", "sampler.steps is 0"),
    ],
)
def test_a_file_that_is_no_comparison_is_one_sentence_before_any_run(
    before, after, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs/compare").mkdir(parents=True)
    (tmp_path / "configs/compare/mine.yaml").write_text(OWN.replace(before, after))
    assert main(["compare", "mine"]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "outputs").exists()


COMPOSED: set[str] = set()


@pytest.mark.parametrize("path", config_names("compare").values(), ids=lambda path: path.stem)
def test_shipped_comparisons_are_read(path):
    plan, given = read_plan(path), OmegaConf.load(path)
    assert OmegaConf.merge(plan, given) == plan
    for row in [row for group in plan.groups for row in table_of(plan, group, []).rows]:
        if not COMPOSED.issuperset(overrides := row.cells[0].overrides):  # each choice and setting once
            COMPOSED.update(overrides)
            compose_run(overrides)


def test_a_multirun_ends_with_the_table_of_compare(tmp_path, capsys):
    """The same numbers; nothing is sampled for it. Rows that cannot stand in a table leave it out."""
    words = ["dataset=avatars", "limit=2", f"output_root={tmp_path}", "metrics.names=[ssim]"]
    swept = ["mask=half", "seed=0,1"]
    assert main(["run", "-m", "method=mean_color,telea", *swept, *words]) == 0
    printed = capsys.readouterr().out.rpartition("# Comparison: dataset=avatars")[2]
    assert main(["compare", "mean_color", "telea", *swept, *words]) == 0
    asked = capsys.readouterr().out.rpartition("# Comparison: dataset=avatars")[2]
    rows = [line for line in asked.splitlines() if line.startswith("|")]
    assert len(rows) > 3 and rows == [line for line in printed.splitlines() if line.startswith("|")]
    one = [["method=telea", *words, "mask=half", f"seed={seed}"] for seed in (0, 1)]
    assert swept_plan(one) is None, "one row is no comparison"
    jobs = [
        [f"method={method}", *words, "mask=half", f"seed={seed}"] for method, seed in (("telea", 0), ("mean_color", 1))
    ]
    assert swept_plan(jobs) is None, "each row must have all seeds"
    datasets = [[f"method={method}", "mask=half", f"dataset={name}", *words[1:]]
                for method in ("telea", "mean_color") for name in ("avatars", "drawings")]  # fmt: skip
    assert [group.title for group in swept_plan(datasets).groups] == ["dataset=avatars", "dataset=drawings"]
