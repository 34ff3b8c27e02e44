"""What a study is made from: a YAML file with cells, each with a run of every method over the same images and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from isdiff.config.search_path import config_names
from isdiff.config.setup import build
from isdiff.errors import UserError
from isdiff.io.files import plain
from isdiff.masks.base import MaskSource
from isdiff.masks.files import FileMask
from isdiff.paths import located
from isdiff.runs.store import RunFolder
from isdiff.study.named import Named, require_runs, row_run, run_folder

QUESTION = "Which picture is filled in best?"
PLAN_KEYS = {"cells", "n", "seed", "question", "profile"}
CELL_KEYS = {"dataset", "mask", "runs", "masks", "table"}


@dataclass(frozen=True)
class Cell:
    """A dataset and a mask, in the words of the table, and a run of every method.

    Attributes:
        runs: from a method's label to its run folder, to a folder with one run in it, or to what the run is made of.
        masks: mask files (white = hole), where the runs' own masks are no longer where they were.
    """

    dataset: str
    mask: str
    runs: dict[str, Path | Named]
    masks: Path | None = None

    @property
    def label(self) -> str:
        return f"{self.dataset}, {self.mask}"

    def folders(self) -> dict[str, RunFolder]:
        """The runs by method, methods in alphabetical order.

        Raises:
            UserError: one is not there, or two methods have the same.
        """
        found = {method: run_folder(self.runs[method], f"cell {self.label}") for method in sorted(self.runs)}
        counts = Counter(run.path.resolve() for run in found.values())
        if twice := [method for method, run in found.items() if counts[run.path.resolve()] > 1]:
            raise UserError(f"cell {self.label}: {' and '.join(twice)} have the same run; give each method its own")
        return found

    def mask_source(self, run: RunFolder) -> MaskSource:
        """The masks that ``run`` was made with.

        Raises:
            UserError: its configuration does not say, or they are no longer there.
        """
        try:
            node = OmegaConf.load(plain(run.path / "config.yaml")).mask
            kept = {str(key): value for key, value in node.items()}
            if self.masks is not None:
                return FileMask(str(self.masks), kept.get("invert", False))
            kept["_target_"] = target_of(str(kept.pop("class", "")))
            return build(OmegaConf.create(kept), MaskSource)
        except (OSError, YAMLError, OmegaConfBaseException, AttributeError, ValueError, UserError) as error:
            reason = " ".join(str(error).split())
            advice = f"give cell {self.label} a folder of its mask files as masks: FOLDER"
            raise UserError(f"the masks of {run.path} cannot be made again ({reason}); {advice}") from None


def target_of(name: str) -> str:
    """Where the class of masks is that a fingerprint names: a configuration of masks says so."""
    targets = [str(OmegaConf.select(OmegaConf.load(path), "_target_")) for path in config_names("mask").values()]
    return next((target for target in targets if target.rpartition(".")[2] == name.rpartition(":")[2]), name)


@dataclass(frozen=True)
class StudyPlan:
    """
    Attributes:
        n: sets of pictures for each cell.
        seed: chooses the sets, who stands where, the order of the questions and the names of the pictures.
        question: what people are asked.
    """

    cells: tuple[Cell, ...]
    n: int = 20
    seed: int = 0
    question: str = QUESTION

    def require_runs(self) -> None:
        """
        Raises:
            UserError: runs that the plan names by a row or overrides are not there; with the commands that make them.
        """
        require_runs(
            (f"{method} ({cell.label})", run)
            for cell in self.cells
            for method, run in cell.runs.items()
            if isinstance(run, Named)
        )


def read_plan(path: str | Path, extra: Sequence[str] = (), **changes: Any) -> StudyPlan:
    """The plan in a YAML file.

    Args:
        extra: overrides of the runs that are named by a row or by overrides.
        changes: values of ``n`` and ``seed`` in the place of the file's; None leaves the file's.
    Raises:
        UserError: the file is missing or says something that cannot be.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(plain(path)), resolve=True)
    except FileNotFoundError:
        raise UserError(f"there is no study plan {path}; configs/study/table3.yaml shows one") from None
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    given = checked_keys(content, PLAN_KEYS, f"{path}")
    cells = given.get("cells")
    if not isinstance(cells, list) or not cells:
        raise UserError(f"{path} lists no cells; configs/study/table3.yaml shows how")
    profile = given.get("profile", "demo")
    read = tuple(read_cell(cell, f"{path}, cell {i + 1}", profile, extra) for i, cell in enumerate(cells))
    if twice := [label for label, count in Counter(cell.label for cell in read).items() if count > 1]:
        raise UserError(f"{path} has the cell {twice[0]} twice; leave one of them")
    rest = {key: given[key] for key in PLAN_KEYS - {"cells", "profile"} if key in given}
    plan = replace(StudyPlan(read), **rest | {k: v for k, v in changes.items() if v is not None})
    for name, least in (("n", 1), ("seed", 0)):
        value = getattr(plan, name)
        if type(value) is not int or value < least:
            raise UserError(f"{path}: {name} is {value!r}; it must be a whole number, {least} or more")
    if not isinstance(plan.question, str) or not plan.question.strip():
        raise UserError(f"{path}: question is {plan.question!r}; it must be a sentence")
    return plan


def checked_keys(content: Any, known: set[str], where: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{where} must have the keys {', '.join(sorted(known))}")
    if unknown := [str(key) for key in content if key not in known]:
        raise UserError(f"{where}: {unknown[0]} is no key of it, which are {', '.join(sorted(known))}")
    return content


def read_cell(content: Any, where: str, profile: Any, extra: Sequence[str]) -> Cell:
    given = checked_keys(content, CELL_KEYS, where)
    for name in ("dataset", "mask"):
        if not isinstance(given.get(name), str) or not given[name].strip():
            raise UserError(f"{where}: {name} is {given.get(name)!r}; give the name that the table is to show")
    runs = given.get("runs")
    if not isinstance(runs, dict) or len(runs) < 2:
        raise UserError(f"{where}: runs must give at least two methods a run each, as in ddnm: outputs/...")
    masks = given.get("masks")
    if masks is not None and not isinstance(masks, str):
        raise UserError(f"{where}: masks is {masks!r}; give a folder of mask files")
    found = {str(method): read_run(run, given, f"{where}, {method}", profile, extra) for method, run in runs.items()}
    return Cell(given["dataset"], given["mask"], found, None if masks is None else located(masks))


def read_run(content: Any, cell: Mapping[str, Any], where: str, profile: Any, extra: Sequence[str]) -> Path | Named:
    """A run as a cell gives it: a folder, ``{row: NAME}`` of the cell's table, or ``{overrides: [...]}``.

    Raises:
        UserError: it is none of these, or names what there is not.
    """
    if isinstance(content, str) and content:
        return located(content)
    refusal = UserError(f"{where}: the run is {content!r}; give a folder, {{row: NAME}} or {{overrides: [KEY=VALUE]}}")
    if not isinstance(content, dict) or len(content) != 1:
        raise refusal
    kind, value = next(iter(content.items()))
    if kind == "overrides" and isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return Named((*value, *extra), extra=tuple(extra))
    if kind != "row" or not isinstance(value, str):
        raise refusal
    if not isinstance(cell.get("table"), str) or not isinstance(profile, str):
        raise UserError(f"{where}: a row needs its table, as in table: table1 beside runs, and a profile of the plan")
    try:
        return row_run(cell["table"], profile, value, cell["mask"], extra)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
