"""A real browser for the tests of pages; they skip where there is none."""

import os
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here (chromium, chromium-browser or google-chrome)"
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tools:
        as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        found = tools.chromium.launch(executable_path=BROWSER, args=as_root)
        yield found
        found.close()
