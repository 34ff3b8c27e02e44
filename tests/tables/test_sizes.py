"""A table of the paper's data has one size, one mask and one way to compose for every image."""

import pytest
from configured import choices
from omegaconf import OmegaConf

from isdiff.config.composing import compose_run
from isdiff.tables.plan import plan

DAILY = ("table1", "table2", "table4")  # the others are of the same datasets


@pytest.mark.parametrize(
    "table, profile",
    [pytest.param(name, "paper", marks=[] if name in DAILY else pytest.mark.slow) for name in choices("table")],
)
def test_all_rows_are_measured_on_the_same_images(table, profile):
    made = plan(table, profile)
    cells = [row.cells[0] for row in made.rows if not row.cells[0].impossible]  # other masks differ in mask= alone
    seen = set()
    for overrides in {tuple(o for o in cell.overrides if decides(o)) for cell in cells}:
        cfg = compose_run(list(overrides))
        kept = {key: OmegaConf.to_container(cfg[key], resolve=False) for key in ("mask", "output")}
        seen.add((cfg.dataset.name, cfg.dataset.size, cfg.output.scale, str(kept)))
    assert len(seen) == 1, seen
    assert next(iter(seen))[1:3] == (512 if table in ("table4", "table5") else 256, True)


def decides(override: str) -> bool:
    """Whether an override may change images, masks, sizes or what is composed."""
    return override.split("=")[0].lstrip("+").split(".")[0] in ("dataset", "mask", "model", "method", "output")
