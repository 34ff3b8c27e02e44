"""The documentation builds without a warning, and its pages need nothing from elsewhere."""

import importlib
import inspect
import os
import re
import subprocess
import sys

import pytest
from browser_parts import browser, needs_browser  # noqa: F401
from conftest import ROOT

import isdiff


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_there_and_none_fetches_anything(site):
    """Formulas are MathML, and the reference shows signatures and arguments."""
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    for page in site.glob("*.html"):
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]+)"', page.read_text("utf-8"))
        assert fetched == [], page.name
    text = (site / "algorithm.html").read_text("utf-8")
    assert text.count("<math") >= 10 and "arithmatex" not in text and "\\bar" not in text
    text = (site / "reference.html").read_text("utf-8")
    for name in ("isdiff.pictures.inpaint.inpaint", "isdiff.engine.Engine", "isdiff.seeds.base.Seed"):
        assert f'id="{name}"' in text
    assert "Raises" in text and "overrides" in text


@pytest.mark.slow
@needs_browser
def test_the_search_works_on_pages_that_are_opened_from_a_disk(site, browser):  # noqa: F811
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((site / "faq.html").as_uri())
    page.locator(".md-search__input").click()
    page.keyboard.type("resampling", delay=20)
    page.wait_for_selector(".md-search-result__item", timeout=20_000)
    found = page.locator(".md-search-result__link").first
    assert not errors
    page.goto(found.evaluate("link => link.href"))
    assert page.url.startswith("file:") and "resampling" in page.locator("article").inner_text().lower()
    page.close()


def first_line(thing) -> str:
    """The summary of a docstring, as Markdown."""
    text = " ".join(inspect.getdoc(thing).split("\n\n")[0].split()).replace("``", "`")
    return re.sub(r":\w+:`[~\w.]*?(\w+)`", r"`\1`", text)


def test_each_name_of_the_reference_has_the_first_line_of_its_docstring():
    """The page is read on code hosts, where ``:::`` stays as it is; names of ``isdiff`` are all there."""
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    listed = dict(re.findall(r"^- \[`\w+`\]\(#([\w.]+)\): (.+)$", text, re.M))
    assert [*listed] == re.findall(r"^::: ([\w.]+)$", text, re.M)
    for path, said in listed.items():
        module, _, name = path.rpartition(".")
        assert said == first_line(getattr(importlib.import_module(module), name)), path
    assert {f"isdiff.{place}.{name}" for name, place in isdiff.PLACES.items()} <= listed.keys()
