"""The page of make methods shows what its results say."""

import methods_page
import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "which-method.md").read_text("utf-8")


@pytest.fixture
def rows():
    return methods_page.read_results(sorted((ROOT / "benchmarks" / "results").glob("methods*.csv")))


def test_tables_are_those_of_the_results(rows):
    assert len(methods_page.PLACE.findall(PAGE)) >= 6
    assert methods_page.write_tables(PAGE, rows) == PAGE
    rows["value"] += 1
    assert methods_page.write_tables(PAGE, rows) != PAGE


def test_points_of_a_panel_are_of_the_same_images(rows):
    shown = rows[rows["mask"] == "half"]
    assert len(methods_page.draw(shown).axes) == 2 * len(methods_page.COLUMNS)
    images = shown.groupby(["images", "label", "budget"])["n"].min()
    assert all(images[each].nunique() == 1 for each in methods_page.COLUMNS)
