"""The report in a real browser: on a desk and on a phone, nothing that decides has to be looked for sideways."""

import pytest
from browser_parts import browser, needs_browser
from conftest import ROOT

from isdiff.cli.command import call

pytestmark = [pytest.mark.slow, needs_browser]
__all__ = ["browser"]
OUTSIDE = """width => [...document.querySelectorAll('main *')].filter(found => {
    const box = found.getBoundingClientRect(), style = getComputedStyle(found);
    return box.right > width || box.left < 0 || (found.scrollWidth > found.clientWidth + 1 && /auto|scroll|hidden/.test(style.overflowX));
}).map(found => found.outerHTML.slice(0, 100))"""  # noqa: E501


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A report of small real runs: long labels, two metrics, strips, verdicts, and people's votes."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        small = ["limit=1", "seeds=0", "masks=half", "rows=ddnm*,repaint*", "sampler.steps=2", "sampler.repeat=1",
                 "output_root=runs", f"data_root={ROOT}/data", f"model_root={ROOT}/models"]  # fmt: skip
        assert call("table", ["report", "table1", "table3", *small]) == 0
    return next(folder.glob("outputs/tables/*/report.html"))


@pytest.mark.parametrize("width, height", [(1280, 800), (390, 844)])
def test_nothing_lies_sideways_and_the_truth_stays_in_view(page_file, browser, width, height):
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE, width) == []
    assert page.locator("tr.pair").count() >= 6 and all(row.is_visible() for row in page.locator("tr.pair").all())
    for selector in (".headline", ".answer"):
        box = page.locator(selector).bounding_box()
        assert box["y"] + box["height"] <= height, "the answer is on the first screen"
    for tile in page.locator(".results figure").all():
        tile.scroll_into_view_if_needed()
        truth = page.locator(".strip", has=page.locator(".results")).first.locator(".given figure").first.bounding_box()
        assert truth["y"] >= 0 and truth["y"] + truth["height"] <= height, "the truth is beside every result"
    context.close()
