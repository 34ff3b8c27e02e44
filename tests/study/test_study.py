"""The human study: blind, balanced and repeatable to build; whole and honest to collect."""

import json
import re
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from study_parts import IMAGES, MASKS, METHODS, answer_file, overrides, plan_of, study_runs, write_plan

from isdiff.cli.command import call
from isdiff.errors import UserError
from isdiff.runs.store import RunFolder
from isdiff.study.build import build_study
from isdiff.study.collect import KeyCell, answer_files, cell_shares, collect, equal_shares, read_key
from isdiff.study.plan import read_plan

main = partial(call, "study")
__all__ = ["study_runs"]


@pytest.fixture(scope="module")
def study(study_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return build_study(read_plan(write_plan(folder / "plan.yaml", plan_of(study_runs))), folder / "study")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_study_is_balanced_in_every_cell(study):
    assert len(study.questions) == IMAGES * len(MASKS)
    for mask in MASKS:
        asked = [q for q in study.questions if q.source.cell.mask == mask]
        assert len({q.image for q in asked}) == IMAGES
        for place in range(3):
            counts = Counter(list(q.choices.values())[place] for q in asked)
            assert set(counts) == set(METHODS) and set(counts.values()) <= {2, 3}
    masks = [q.source.cell.mask for q in study.questions]
    assert masks not in (sorted(masks), sorted(masks, reverse=True)), "the cells are mixed"


def test_nothing_in_the_folder_says_whose_a_picture_is(study, study_runs):
    files = contents(study.folder)
    words = [*METHODS, "isdiff", "gmm", "avatars", "faces", "half", "expand", str(study_runs), "outputs"]
    words += [q.image for q in study.questions]
    words += [run.path.name for q in study.questions for run in q.source.runs.values()]
    for name, content in files.items():
        found = [word for word in words if word.lower() in name.lower() or word.lower().encode() in content.lower()]
        assert not found, (name, found)
    names = [name for name in files if name.startswith("pictures/")]
    assert sorted(files) == sorted(["index.html", *names]) and len(names) == 4 * len(study.questions)
    for name in names:
        assert len(bytes.fromhex(Path(name).stem)) == 8
        assert chunks(files[name]) <= {b"IHDR", b"IDAT", b"IEND"}, "pixels and nothing else"
    assert study.key.parent == study.folder.parent and study.folder not in study.key.parents
    assert b"http" not in files["index.html"].replace(b"http-equiv", b""), "nothing is loaded from elsewhere"


def chunks(png: bytes) -> set[bytes]:
    found, at = set(), 8
    while at < len(png):
        found.add(png[at + 4 : at + 8])
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    return found


def test_the_key_knows_every_picture(study, study_runs):
    key = json.loads(study.key.read_text())
    pictures = study.folder / "pictures"
    for question in key["questions"].values():
        cell = key["cells"][question["cell"]]
        given = np.asarray(Image.open(pictures / f"{question['given']}.png"))
        for name, method in question["choices"].items():
            made = RunFolder(Path(cell["runs"][method])).image(question["image"])
            assert (np.asarray(Image.open(pictures / f"{name}.png")) == made).all()
            known = np.zeros((64, 64), bool)
            known[:, :32] = cell["mask"] == "half"
            known[24:40, 24:40] |= cell["mask"] == "expand"
            assert (given[known] == made[known]).all()
            assert set(np.unique(given[~known])) == {172, 196}, "the hole is hatched"


def test_another_study_is_not_overwritten_unasked(study_runs, tmp_path, capsys):
    plan = str(write_plan(tmp_path / "plan.yaml", plan_of(study_runs, n=2, masks=["half"])))
    build = ["build", plan, "--out", str(tmp_path / "study")]
    assert main(build) == 0
    before = contents(tmp_path)
    assert main(build) == 0 and contents(tmp_path) == before, "the same seed gives the same study to the byte"
    assert main([*build, "--seed", "1"]) == 1 and contents(tmp_path) == before
    assert "holds another study" in capsys.readouterr().err
    assert main([*build, "--seed", "1", "--overwrite"]) == 0
    assert len(contents(tmp_path / "study")) == 9 and set(contents(tmp_path)) & set(before) == {
        "plan.yaml", "study/index.html", "study.key.json"
    }  # fmt: skip
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert main(["build", plan, "--out", str(tmp_path / "mine"), "--overwrite"]) == 1
    assert contents(tmp_path / "mine") == {"notes.txt": b"mine"}


def made(root: Path, method: str, mask: str) -> dict:
    return {"overrides": overrides(root, method, mask)}


def altered(content: dict, **changes) -> dict:
    return {**content, "cells": [{**content["cells"][0], **changes}, *content["cells"][1:]]}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p, r: {**p, "n": 8}, r"faces, half: .* share 7 images, n is 8; .*limit=8"),
        (lambda p, r: {**p, "seeds": 1}, "Key 'seeds'"),
        (lambda p, r: altered(p, mask="expand"), "has a cell twice"),
        (lambda p, r: altered(p, runs={"ddnm": "x"}), "cell faces, half: give at least two methods"),
        (lambda p, r: altered(p, runs={"a": "outputs/run", "b": "x"}), "a is 'outputs/run'; give {overrides"),
        (lambda p, r: altered(p, table="table1", runs={"a": {"row": "d*"}, "b": "x"}), "no run of row 'd[*]'"),
        (lambda p, r: altered(p, runs=dict.fromkeys("ab", made(r, "ddnm", "half"))), "a and b have the same run"),
    ],
)
def test_plans_that_cannot_be_are_refused_in_a_sentence(change, message, study_runs, tmp_path, capsys):
    plan = write_plan(tmp_path / "plan.yaml", change(plan_of(study_runs), study_runs))
    assert main(["build", str(plan), "--out", str(tmp_path / "study")]) == 1
    said = capsys.readouterr().err
    assert re.search(message, said) and said.startswith("isdiff: ") and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["plan.yaml"]


def test_runs_are_found_by_rows_and_by_overrides(study, study_runs, tmp_path, capsys):
    """The same runs, the same study; what is not there is named with the command that makes it."""
    extra = overrides(study_runs, "", "")[3:]
    content = plan_of(study_runs)
    for cell in content["cells"]:
        ours = {"overrides": ["dataset=avatars", "method=ddnm+isdiff", f"mask={cell['mask']}"]}
        cell |= {"table": "table2", "runs": {"ddnm": {"row": "ddnm"}, "repaint": {"row": "repaint"}, "ours": ours}}
    plan = str(write_plan(tmp_path / "plan.yaml", content))
    build = ["build", plan, "--out", str(tmp_path / "study"), *(word for each in extra for word in ("--set", each))]
    assert main(build) == 0, capsys.readouterr().err
    assert contents(tmp_path / "study") == contents(study.folder)
    capsys.readouterr()
    assert main([*build, "--set", "seed=5"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("isdiff: 6 runs are not there") and said.count("\n") == 1
    assert "isdiff table table2 profile=demo rows=ddnm,repaint masks=half sampler.steps=2" in said
    assert "isdiff run dataset=avatars method=ddnm+isdiff mask=half sampler.steps=2" in said


def test_the_shipped_studies_are_whole():
    papers = read_plan(ROOT / "configs" / "study" / "table3.yaml")
    for cell in papers.cells:
        assert cell.table == ({"celeba": "table2", "imagenet": "table1"}[cell.dataset], "profile=paper")
        rows = {method: run.row for method, run in cell.runs.items()}
        assert rows == {"ddnm": "ddnm_eta0_resampled", "repaint": "repaint", "isdiff": "ddnm_eta0+isdiff"}
    plan = read_plan(ROOT / "configs" / "study" / "demo.yaml")
    assert {cell.dataset for cell in plan.cells} == {"photos", "avatars"} and len(plan.cells) == 6
    paths = [run.experiment.store.path for cell in plan.cells[1:5:3] for run in cell.runs.values()]
    assert [path.parts[-4:-1] for path in paths] == [
        (dataset, "half", method) for dataset in ("photos", "avatars") for method in ("ddnm", "repaint", "ddnm+isdiff")
    ]


@pytest.fixture
def copied(study_runs, tmp_path):
    """Runs that a test may damage, and their plan."""
    root = tmp_path / "runs"
    shutil.copytree(study_runs / "avatars" / "half", root / "avatars" / "half")
    return root, read_plan(write_plan(tmp_path / "plan.yaml", plan_of(root, masks=["half"])))


def one_run(root: Path) -> RunFolder:
    return RunFolder(next((root / "avatars" / "half" / "ddnm").iterdir()))


def test_pictures_that_would_give_a_method_away_are_refused_and_missing_ones_not_asked_about(copied, tmp_path):
    root, plan = copied
    run = one_run(root)
    image, *rest = run.records()
    pixels = run.image(image).copy()
    pixels[3, 3] ^= 1
    Image.fromarray(pixels).save(run.image_path(image))
    with pytest.raises(UserError, match=rf"image {image}: the runs differ outside the hole; .*composite=paste"):
        build_study(plan, tmp_path / "study")
    Image.fromarray(pixels[:32]).save(run.image_path(image))
    with pytest.raises(UserError, match="pictures of different sizes"):
        build_study(plan, tmp_path / "study")
    assert not (tmp_path / "study").exists() and not list(tmp_path.glob(".*")) and not list(tmp_path.glob("*.key.json"))
    run.image_path(image).unlink()
    with pytest.raises(UserError, match=r"\(ddnm 6, ours 7, repaint 7\) share 6 images, n is 7"):
        build_study(plan, tmp_path / "study")
    study = build_study(read_plan(tmp_path / "plan.yaml", n=6), tmp_path / "study")
    assert sorted(q.image for q in study.questions) == sorted(rest)
    for path in root.rglob("per_image.jsonl"):
        records = [json.loads(line) | {"mask_sha": "0" * 16} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with pytest.raises(UserError, match="its mask is not the one that the runs were made with"):
        build_study(read_plan(tmp_path / "plan.yaml", n=6), tmp_path / "other")


def chosen(study, method: str, count: int | None = None, mask: str | None = None) -> dict[str, str]:
    """Someone's answers, who always likes the same method."""
    asked = [q for q in study.questions if mask in (None, q.source.cell.mask)][:count]
    return {q.id: next(name for name, m in q.choices.items() if m == method) for q in asked}


def test_votes_are_counted_by_method(study, tmp_path):
    key = read_key(study.key)
    answer_file(tmp_path, study.id, "a" * 16, chosen(study, "ours"))
    answer_file(tmp_path, study.id, "b" * 16, chosen(study, "ddnm", mask="half"))
    answers = collect(key, answer_files([str(tmp_path)]))
    assert [cell.methods for cell in key.cells] == [("ddnm", "ours", "repaint")] * 2
    assert answers.votes(key, 0).tolist() == [[0, 7, 0], [7, 0, 0]]
    assert answers.votes(key, 1).tolist() == [[0, 7, 0]], "who said nothing is not counted there"
    assert answers.complete(key) == 1 and not answers.refused
    # Files of one participant are merged, and the newest answer counts.
    early = answer_file(tmp_path / "a", study.id, "a" * 16, chosen(study, "ddnm", count=9), at=10)
    late = answer_file(tmp_path / "b", study.id, "a" * 16, chosen(study, "ours", count=4), at=20)
    for files in ([early, late], [late, early]):
        answers = collect(key, files)
        assert len(answers.given) == 1
        assert sum(answers.votes(key, cell).sum(0) for cell in (0, 1)).tolist() == [5, 4, 0]


def test_files_that_cannot_be_used_are_named_and_the_others_count(study, tmp_path, capsys):
    answer_file(tmp_path, study.id, "a" * 16, chosen(study, "ours"))
    good = json.loads((tmp_path / f"answers-{'a' * 16}.json").read_text())
    question = next(iter(good["answers"]))

    def answers(**change):
        return {**good, "answers": {**good["answers"], question: {**good["answers"][question], **change}}}

    bad = {
        "torn": good, "other": {**good, "study": "0123456789abcdef"}, "format": {**good, "format": 2},
        "nobody": {**good, "participant": "../x"}, "choice": answers(choice="0" * 16), "odd": answers(choice=["x"]),
        "when": answers(at=float("nan")), "question": {**good, "answers": {"ffff": {"choice": "x", "at": 1}}},
    }  # fmt: skip
    for name, content in bad.items():
        (tmp_path / f"answers-{name}.json").write_text(json.dumps(content)[: 500 if name == "torn" else None])
    found = collect(read_key(study.key), answer_files([str(tmp_path / "*.json")]))
    assert list(found.given) == ["a" * 16] and len(found.given["a" * 16]) == 14
    assert {Path(path).stem for path in found.refused} == {f"answers-{name}" for name in bad}
    assert "belongs to another study" in found.refused[str(tmp_path / "answers-other.json")]
    assert main(["collect", str(study.key), str(tmp_path), "--out", str(tmp_path / "out")]) == 3
    said = capsys.readouterr()
    assert said.err.count("is left out") == len(bad) and "8 of 9 files" in said.err
    assert "100.0" in said.out and "1 participant, 1 of them with all 14 answers" in said.out
    assert "8 files could not be used" in (tmp_path / "out" / "table3.md").read_text()
    for key in (tmp_path / "none.key.json", tmp_path / "answers-torn.json"):
        with pytest.raises(UserError, match=rf"no whole key of a study in .*{key.stem}"):
            read_key(key)


def test_without_answers_one_sentence_says_what_to_do(study, tmp_path, capsys):
    answer_file(tmp_path / "some", study.id, "a" * 16, {})
    for places in ([], [str(tmp_path)]):
        assert main(["collect", str(study.key), *places]) == 1
        said = capsys.readouterr().err
        assert said.startswith("isdiff: there are no answer files") and said.count("\n") == 1
        assert "make table3 ANSWERS=FOLDER" in said
    answer_file(tmp_path, "0" * 16, "a" * 16, {})
    assert main(["collect", str(study.key), str(tmp_path)]) == 1
    assert "none of the files holds an answer" in capsys.readouterr().err


CELL = KeyCell("faces", "half", ("a", "b"))


def test_intervals_and_p_values_are_the_textbook_s():
    found = cell_shares(CELL, np.array([[3, 2], [2, 3]]))
    assert found["participants"] == 2 and found["votes"] == 10 and found["methods"]["a"]["bootstrap"] is None
    assert found["methods"]["a"]["wilson"] == pytest.approx((0.236593, 0.763407), abs=1e-6)
    assert equal_shares(np.array([9, 1])) == pytest.approx(22 / 1024)
    assert equal_shares(np.array([20, 10, 30])) == pytest.approx(np.exp(-5)), "chi-squared of 10 with 2 degrees"
    assert equal_shares(np.array([4, 4, 4])) is None, "too few for the approximation"
    assert cell_shares(CELL, np.zeros((0, 2), int)) is None
    for votes, drawn in (
        (np.tile([[3, 1], [1, 3]], (5, 1)), True),
        (np.tile([[3, 1], [1, 3], [2, 2]], (3, 1)), False),  # nine people
        (np.tile([[4, 0]], (12, 1)), False),  # alike, which is not [1, 1]
    ):
        assert bool(cell_shares(CELL, votes)["methods"]["a"]["bootstrap"]) == drawn


def test_the_bootstrap_knows_that_a_participant_s_votes_go_together():
    rng = np.random.default_rng(0)
    hits = {"wilson": 0, "bootstrap": 0}
    for _ in range(50):
        liking = rng.beta(1, 1, size=30)  # of one person for method a: 0.5 on average, but everyone has a taste
        votes = rng.binomial(20, liking)
        found = cell_shares(CELL, np.stack([votes, 20 - votes], 1))["methods"]["a"]
        for kind in hits:
            low, high = found[kind]
            hits[kind] += low <= 0.5 <= high
    assert hits["bootstrap"] >= 42 and hits["wilson"] <= 35, hits


def test_tables_stand_beside_the_paper_s_numbers(tmp_path, capsys):
    key = {"format": 1, "study": "0" * 16, "cells": [], "questions": {}}
    for i, (dataset, mask) in enumerate([("celeba", "wide"), ("photos", "half")]):
        key["cells"].append({"dataset": dataset, "mask": mask, "runs": {"ddnm": "", "repaint": "", "ddnm+isdiff": ""}})
        for n in range(2):
            choices = {f"{i}{n}{j}": m for j, m in enumerate(key["cells"][0]["runs"])}
            key["questions"][f"q{i}{n}"] = {"cell": i, "choices": choices}
    (tmp_path / "s.key.json").write_text(json.dumps(key))
    for person in range(12):
        choices = {f"q{i}{n}": f"{i}{n}{2 if person % 3 else 0}" for i in range(2) for n in range(2)}
        answer_file(tmp_path / "answers", "0" * 16, f"{person:016x}", choices)
    assert main(["collect", str(tmp_path / "s.key.json"), str(tmp_path / "answers")]) == 0
    assert "66.7" in capsys.readouterr().out
    results = tmp_path / "s.results"
    text = (results / "table3.md").read_text()
    rows = {line.split(" | ")[0].lstrip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "celeba:\n" in text and "| wide % |" in text and "photos:\n" in text and "| half % |" in text
    assert text.count("**66.7** [") == 2 and text.count("33.3 [") == 2
    assert text.count("; paper 48.8 |") == 1
    assert rows["votes"].startswith("| votes | 24 |") and rows["people"].startswith("| people | 12 |")
    assert "bootstrap over participants" in text and "12 participants, 12 of them with all 4" in text
    ours = json.loads((results / "table3.json").read_text())["cells"][0]["methods"]["ddnm+isdiff"]
    assert ours["votes"] == 16 and ours["share"] == pytest.approx(2 / 3) and ours["paper_percent"] == 48.8
    assert ours["bootstrap"][1] - ours["bootstrap"][0] > ours["wilson"][1] - ours["wilson"][0]
    assert (results / "table3.csv").read_text().splitlines()[1].startswith("celeba,wide,ddnm,8,24,12,33.3333,")
