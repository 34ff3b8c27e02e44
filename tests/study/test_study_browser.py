"""The study's page in a real browser: clicked through, reloaded, saved, collected."""

import json
from functools import partial
from pathlib import Path

import pytest
from browser_parts import browser, needs_browser
from study_parts import MASKS, METHODS, plan_of, study_runs, write_plan

from isdiff.cli.command import call
from isdiff.study.build import build_study
from isdiff.study.plan import read_plan

pytestmark = [pytest.mark.slow, needs_browser]
READY = "#ask[data-ready=yes]"
main = partial(call, "study")
__all__ = ["browser", "study_runs"]


@pytest.fixture(scope="module")
def study(study_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return build_study(read_plan(write_plan(folder / "plan.yaml", plan_of(study_runs, n=3))), folder / "study")


@pytest.fixture
def visit(browser):
    """``visit(folder, **options of the browser's context)``: the study's page; errors and foreign requests fail."""
    contexts, troubles = [], []

    def opened(folder: Path, script: str = "", **options):
        context = browser.new_context(**options)
        context.set_default_timeout(20_000)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "blob:")) or troubles.append(request.url))
        page.goto((folder / "index.html").as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


def picture_names(page) -> list[str]:
    return page.eval_on_selector_all(".choice", "buttons => buttons.map(button => button.dataset.picture)")


def answer(page, i: int, key: bool = False) -> tuple[str, str]:
    """Choose the picture at place ``i`` with the mouse or a key; returns the question and the picture's name."""
    page.wait_for_selector(READY)
    question, name = page.get_attribute("#ask", "data-question"), picture_names(page)[i]
    if key:
        page.keyboard.press(str(i + 1))
    else:
        page.locator(".choice").nth(i).click()
    page.wait_for_function("q => document.getElementById('ask').dataset.question !== q || "
                           "document.getElementById('ask').hidden", arg=question)  # fmt: skip
    return question, name


def saved(page, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click(button)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def marked(page) -> list[str]:
    return page.eval_on_selector_all(".choice[aria-pressed=true]", "found => found.map(b => b.dataset.picture)")


def test_a_study_from_start_to_table(study, visit, tmp_path, capsys):
    page = visit(study.folder)
    assert page.is_visible("#intro") and "6 sets of pictures" in page.inner_text("#intro")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(READY)
    assert page.evaluate("document.activeElement.id") == "question", "a screen reader hears the question"
    assert page.inner_text("#count") == "1 of 6"
    for i in range(3):
        assert page.get_by_role("button", name=f"Filled in, picture {i + 1}", exact=True).count() == 1
    clicked = dict([answer(page, 0), answer(page, 1, key=True), answer(page, 2)])
    assert page.inner_text("#count") == "4 of 6" and len(clicked) == 3

    page.reload()
    page.wait_for_selector(READY)
    assert page.inner_text("#count") == "4 of 6", "it goes on where it was"
    assert page.get_attribute("#ask", "data-question") not in clicked

    page.click("#back")
    page.wait_for_selector(READY)
    question = page.get_attribute("#ask", "data-question")
    assert marked(page) == [clicked[question]], "the earlier choice is shown"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(READY)
    assert page.get_attribute("#ask", "data-question") == question
    _, changed = answer(page, 0)
    assert changed != clicked[question]
    clicked[question] = changed

    early = saved(page, "#save", tmp_path / "early")
    assert len(json.loads(early.read_text())["answers"]) == 3
    clicked |= dict([answer(page, 1), answer(page, 1, key=True), answer(page, 2)])
    assert page.is_visible("#end") and page.inner_text("#count") == "6 of 6 answered"
    page.reload()
    assert page.is_visible("#end"), "the end survives too"
    late = saved(page, "#finish", tmp_path / "late")
    told = json.loads(late.read_text())
    assert late.name == f"answers-{told['participant']}.json" == early.name
    assert late.name in page.inner_text("#saved")
    assert {i: said["choice"] for i, said in told["answers"].items()} == clicked
    assert all(said["seconds"] >= 0 for said in told["answers"].values())
    assert set(told) == {"format", "study", "participant", "started", "order", "answers"}

    out = tmp_path / "out"
    assert main(["collect", str(study.key), str(early), str(late), "--out", str(out)]) == 0
    results = json.loads((out / "table3.json").read_text())
    assert results["participants"] == results["complete"] == 1
    votes = {(c["mask"], m): v["votes"] for c in results["cells"] for m, v in c["methods"].items()}
    wanted = dict.fromkeys(((mask, method) for mask in MASKS for method in METHODS), 0)
    for question in study.questions:
        wanted[question.source.cell.mask, question.choices[clicked[question.id]]] += 1
    assert votes == wanted and sum(votes.values()) == 6
    assert "Wilson" in capsys.readouterr().out


def test_another_person_on_the_same_machine(study, visit, tmp_path):
    page = visit(study.folder)
    people = []
    for _ in range(2):
        page.click("#start")
        for i in range(6):
            answer(page, i % 3, key=True)
        people.append(json.loads(saved(page, "#finish", tmp_path).read_text()))
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("#another")
        page.wait_for_selector("#intro:not([hidden])")
    assert people[0]["participant"] != people[1]["participant"] and people[0]["order"] != people[1]["order"]
    assert main(["collect", str(study.key), str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "table3.json").read_text())["participants"] == 2


def test_a_saved_file_is_gone_on_from_elsewhere(study, visit, tmp_path):
    here = visit(study.folder)
    here.click("#start")
    clicked = dict([answer(here, 0), answer(here, 1)])
    path = saved(here, "#save", tmp_path)
    there = visit(study.folder)
    (tmp_path / "wrong.json").write_text(json.dumps({**json.loads(path.read_text()), "study": "0" * 16}))
    there.set_input_files("#restore", tmp_path / "wrong.json")
    there.wait_for_selector("#warning:not([hidden])")
    assert "no answers to this study" in there.inner_text("#warning") and there.is_visible("#intro")
    there.set_input_files("#restore", path)
    there.wait_for_selector(READY)
    assert there.inner_text("#count") == "3 of 6" and there.is_hidden("#warning")
    for i in range(4):
        clicked |= dict([answer(there, i % 3)])
    told = json.loads(saved(there, "#finish", tmp_path / "late").read_text())
    assert told["participant"] == json.loads(path.read_text())["participant"]
    assert {i: said["choice"] for i, said in told["answers"].items()} == clicked


def test_held_keys_and_double_clicks_answer_one_question(study, visit):
    page = visit(study.folder)
    page.click("#start")
    page.wait_for_selector(READY)
    page.keyboard.down("1")
    for _ in range(30):
        page.keyboard.down("1")  # the browser marks these as repeats
    page.wait_for_function("document.getElementById('count').textContent === '2 of 6'")
    page.keyboard.up("1")
    page.wait_for_selector(READY)
    page.locator(".choice").first.dblclick()
    page.wait_for_function("document.getElementById('count').textContent === '3 of 6'")
    page.wait_for_selector(READY)
    for key in ("4", "9", "0", "a"):
        page.keyboard.press(key)
    assert page.evaluate("Object.keys(state.answers).length") == 2


@pytest.mark.parametrize("width, height, columns", [(390, 844, 1), (1280, 800, 3)])
def test_pages_fit_phones_and_desktops(study, visit, width, height, columns):
    page = visit(study.folder, viewport={"width": width, "height": height})
    page.click("#start")
    answer(page, 0)  # so that every button of the header is there
    page.click("#back")
    page.wait_for_selector(READY)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing to scroll sideways"
    boxes = [choice.bounding_box() for choice in page.locator(".choice").all()]
    shown = page.locator("#set img").all()
    sides = [image.bounding_box() for image in shown]
    assert all(abs(box["width"] - box["height"]) < 1 and box["width"] >= 190 for box in sides)
    assert len({box["y"] for box in boxes}) == (len(boxes) if columns == 1 else 1), "stacked on a phone, else a row"
    assert all(box["width"] % 64 == 0 for box in sides), "enlarged by whole numbers"
    if width == 1280:
        assert all(box["y"] + box["height"] <= height for box in boxes), "all in view"
        assert len({round(box["width"]) for box in sides}) == 1, "the given picture is as large as the others"
