"""A table, a figure or the whole report of a profile, from plan to files."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.search_path import config_names
from isdiff.environment import git_commit, package_versions
from isdiff.io.files import atomic_save
from isdiff.loggers.base import Logger, Subject
from isdiff.paths import placed
from isdiff.tables import votes
from isdiff.tables.cells import Row, fill
from isdiff.tables.figures import Drawn, as_table, draw, figure_names
from isdiff.tables.plan import NothingChosen, TablePlan, load, plan
from isdiff.tables.render import Part, logged_tables, part_of, template, write
from isdiff.tables.report import answer, spent
from isdiff.tables.sheet import Agreement, Gaps, Sheet
from isdiff.tables.strips import page_strips


def table_names() -> list[str]:
    """The paper's tables in its order, with that of people's votes."""
    return sorted([*config_names("table"), votes.NAME])


def plans_of(asked: Sequence[str], profile: str, **options: Any) -> dict[str, list[TablePlan]]:
    """What is asked for by name: one plan of a table, and of a figure one for each dataset.

    With ``report`` all but figures that stand alone, without what the ``options`` of
    :func:`isdiff.tables.plan.plan` leave nothing of.
    """
    only, whole = [name for name in asked if name != "report"], "report" in asked
    found: dict[str, list[TablePlan]] = {}
    nothing: list[str] = []
    for name in [name for name in (*table_names(), *figure_names()) if name in only or (whole and not only)]:
        tables: list[Any] = [None] if name != votes.NAME else []
        if name in figure_names():
            figure = load("figure", name)
            if whole and not only and figure.get("alone"):
                continue
            tables = [as_table(figure, dataset, profile) for dataset in figure.datasets]
        try:
            found[name] = [plan(name, profile, table=table, **options) for table in tables]
        except NothingChosen as error:
            nothing.append(str(error))
    if nothing and not (whole and any(found.values())):
        raise NothingChosen("; ".join(nothing))
    return found


def is_logging(override: str) -> bool:
    """Whether an override says how runs are reported, which no result depends on."""
    return override.lstrip("+~").partition("=")[0].split(".")[0] == "logger"


def logger_of(overrides: Sequence[str]) -> Logger:
    return build(compose_run([each for each in overrides if is_logging(each)]).logger, Logger)


def folder_of(profile: str, options: dict[str, Any]) -> Path:
    """Narrowed tables lie apart, so that no fuller one is overwritten. How runs are reported narrows nothing."""
    options = options | {"extra": [each for each in options.get("extra", ()) if not is_logging(each)]}
    narrowed = [f"{k}-{v}" for k, v in sorted(options.items()) if v not in (None, [], ())]
    if not narrowed:
        return placed("outputs/tables") / profile
    whole = "_".join(narrowed)
    readable = "".join(letter if letter.isalnum() else "-" for letter in whole)[:60]
    return placed("outputs/tables") / f"{profile}_{readable}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


@dataclass
class Maker:
    """Makes tables, figures and the report of a profile; ``known`` rows are read and measured once."""

    profile: str
    run: bool
    options: dict[str, Any]
    known: dict[object, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = folder_of(self.profile, self.options)

    def table(self, name: str, plans: Sequence[TablePlan]) -> tuple[Part, Sheet | None]:
        """Run a table, write it, and report it to the logger of its runs, in their group; votes have no sheet."""
        if name == votes.NAME:
            part, sheet = votes.table_part(self.profile), None
        else:
            (table,) = plans
            sheet, cells = fill(table, self.run, self.known)
            part = part_of(sheet, {mask: page_strips(table, cells, mask) for mask in table.masks})
            config = {"table": name, "profile": self.profile, "title": table.title, "setting": table.setting}
            about: dict[str, Any] = {"job_type": "table", "tags": ("table", self.profile)}
            subject = Subject(f"{name}-{self.profile}", self.folder, config, name, **about)
            logger_of(self.options.get("extra", ())).tables(subject, logged_tables(sheet))
        write(part, self.folder)
        return part, sheet

    def figure(self, name: str, plans: Sequence[TablePlan]) -> Drawn:
        return draw(name, plans, self.folder, self.run, self.options.get("limit"), self.known)

    def report(self, plans: dict[str, list[TablePlan]], only: Sequence[str], command: str) -> tuple[Path, Gaps]:
        """One page with all ``plans``, or ``only`` those asked for by name; returns its path, and what it lacks.

        It opens offline and shows the ``command`` that makes it. Beside it lies, as JSON, what comes of the paper, what
        was spent, and facts.
        """
        sheets, parts, figures, gaps = [], [], [], Gaps()
        for name, its in plans.items():
            if name in figure_names():
                figures.append(self.figure(name, its))
                gaps.add(figures[-1].gaps, name)
                continue
            part, sheet = self.table(name, its)
            parts.append(part)
            if sheet:
                sheets.append(sheet)
                gaps.add(sheet.gaps, name)
        voted = votes.vote_agreements(votes.read_cells(self.profile)) if votes.NAME in plans else []
        cost, facts = spent(self.known.values()), {"commit": git_commit(), **package_versions()}
        content = {"answer": answer(sheets, voted), "facts": facts, "spent": cost}
        said = (
            f"All runs: {cost['network_calls']:,} network calls for {cost['images']:,} pictures, "
            f"{cost['seconds'] / 3600:.1f} hours of one worker."
        )
        page = template("report.html").render(
            content, parts=parts, figures=[figure for figure in figures if figure.svg], words=list(Agreement),
            titles={part.name: part.title for part in parts}, spent_text=said,
            title=f"Does IS-Diff do what its paper says? Here: {load('profile', self.profile).title}",
            command=command,
        )  # fmt: skip
        path = folder_of(self.profile, self.options | {"only": list(only)}) / "report.html"
        atomic_save(path, page)
        atomic_save(path.with_suffix(".json"), json.dumps(content, indent=1))
        print(said, file=sys.stderr)
        return path, gaps
