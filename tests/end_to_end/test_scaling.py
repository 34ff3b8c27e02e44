"""What benchmarks/scaling.py counts is what the engine does."""

import sys
from itertools import takewhile

import pytest
import torch
from conftest import ROOT, Answers

from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.prediction import Prediction
from isdiff.trajectory import Task

sys.path.insert(0, str(ROOT / "benchmarks"))
import scaling


class Said:
    """A criterion that says of attempt after attempt what a test wants."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self, *_: torch.Tensor) -> float:
        return self.values.pop(0)


@pytest.mark.parametrize("method", ["ddnm+isdiff", "repaint+isdiff", "lanpaint+isdiff"])
@pytest.mark.parametrize("passing", [1, 2, 3, None])
def test_calls_are_those_that_the_engine_makes(method, passing):
    cfg = compose_run(["dataset=imagenet", f"method={method}", "isdiff/seed=mean"])
    blind = Answers(lambda images, *_: [Prediction(torch.zeros_like(x), torch.zeros_like(x)) for x in images])
    engine = Setup.of(cfg).engine(blind)
    attempts = passing or engine.refinement.attempts
    engine.refinement.criterion = Said(*[9.0] * (attempts - 1), 9.0 if passing is None else 0.0)
    hole = torch.zeros(1, 16, 16, dtype=torch.bool)
    hole[..., 8:] = True
    (result,) = engine.run([Task("a", torch.zeros(3, 16, 16), hole)])
    assert len(result.attempts) == attempts
    assert result.calls == scaling.calls_of(engine, attempts, passing is not None)
    if passing == 1:
        assert result.calls == engine.calls_expected()


def test_the_document_has_the_hours_that_were_counted():
    def rows(name: str) -> list[list[str]]:
        lines = (ROOT / name).read_text().splitlines()
        begun = next(i for i, line in enumerate(lines) if "| runs |" in line and "GB of results" in line)
        body = takewhile(lambda line: line.startswith("| "), lines[begun + 2 :])
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]

    counted = [[runs, *shared, each, size] for _, runs, *shared, _, each, size in rows("benchmarks/results/scaling.md")]
    assert [row[1:] for row in rows("docs/scaling.md")] == counted and len(counted) == 8


@pytest.mark.slow
def test_the_counts_are_of_the_tables_as_they_are():
    """After a change of rows: ``python benchmarks/scaling.py``."""
    runs = scaling.runs_of(scaling.names("table"))
    assert f"| all | {len(runs)} | " in (scaling.RESULTS / "scaling.md").read_text()
