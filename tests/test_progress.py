"""What a person reads of progress."""

import pytest

from isdiff.progress import Reporter


def test_steps_move_the_estimate_and_units_complete_it(capsys):
    report = Reporter("sampling", 4)
    report.expect(10)
    report.work(5)
    assert report.estimate() == pytest.approx(0.5) and "left" in report.text()
    report.work(15)
    report.finish(12)
    assert report.done == 1 and report.estimate() == pytest.approx(1.8)
    for _ in range(3):
        report.work(10)
        report.finish(10)
    assert report.done == 4 and "4/4 images" in report.text() and "left" not in report.text()
    report.work(1000)
    assert report.estimate() == 4
    report.warm = report.warm[0] + 1000, 0.0
    assert "/s" not in report.text(), "of no time there is no speed"
    assert "unknown" in Reporter("idle", 3).text()
