"""The documentation builds without a warning, and its pages need nothing from elsewhere."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra docs)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there_and_none_fetches_anything(site):
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    for page in site.glob("*.html"):
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]+)"', page.read_text("utf-8"))
        assert fetched == [], page.name


def test_formulas_are_mathml(site):
    text = (site / "algorithm.html").read_text("utf-8")
    assert text.count("<math") >= 10 and "arithmatex" not in text and "\\bar" not in text


def test_the_reference_shows_signatures_and_arguments(site):
    text = (site / "reference.html").read_text("utf-8")
    for name in ("isdiff.pictures.inpaint.inpaint", "isdiff.engine.Engine", "isdiff.seeds.base.Seed"):
        assert f'id="{name}"' in text
    assert "Raises" in text and "overrides" in text
