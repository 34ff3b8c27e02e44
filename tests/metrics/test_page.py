"""docs/metrics.md names every metric."""

from configured import choices
from conftest import ROOT


def test_every_metric_stands_on_the_page():
    rows = [
        line.split("`")[1] for line in (ROOT / "docs/metrics.md").read_text().splitlines() if line.startswith("| `")
    ]
    assert sorted(rows) == choices("metric")
