"""Runs from Python, and their results as tables of pandas: ``isdiff.run``, ``isdiff.results``, ``isdiff.compare``."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics
from isdiff.errors import Missing, UserError
from isdiff.metrics.intervals import contrast, estimate
from isdiff.metrics.samples import Statistic
from isdiff.packages import import_extra
from isdiff.paths import placed
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import absent, samples
from isdiff.runs.report import PER_IMAGE
from isdiff.runs.run import execute
from isdiff.runs.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

NAMED = ("dataset", "mask", "method", "model", "seed")  # of a summary, which every row of a frame has
LAST = ("picture", "picture_sha")
ENDS = {"": "value", "_low": "low", "_high": "high"}


@dataclass(frozen=True)
class Run:
    """A finished run; ``summary`` is its ``summary.json``: metrics with intervals, costs, and failed images."""

    folder: Path
    summary: dict[str, Any] = field(repr=False)
    experiment: Experiment = field(repr=False)

    def frame(self) -> "pd.DataFrame":
        return results(self.folder)


def run(overrides: Sequence[str] | str, progress: bool = False) -> Run:
    """Make a run, as ``isdiff run`` does; images that its folder already has are kept.

    Args:
        overrides: as behind ``isdiff run``: ``["dataset=photos", "method=ddnm", "limit=4"]``, or all in one text.
        progress: show how far it is.

    Raises:
        UserError: the configuration does not work, files are missing (:class:`isdiff.Missing`), or no image could be
            made. Images that failed beside others are in the summary.
    """
    words = shlex.split(overrides) if isinstance(overrides, str) else overrides
    outcome = execute(compose_run(words), quiet=not progress)
    return Run(outcome.experiment.store.path.absolute(), outcome.summary, outcome.experiment)


def results(folder: str | Path = "outputs") -> "pd.DataFrame":
    """Every finished run in ``folder`` and below: one row an image.

    Returns:
        Columns: ``dataset``, ``mask``, ``method``, ``model``, ``seed``, ``steps``, ``run`` (the hash of its
        configuration), other keys of ``config.yaml`` in which runs differ that are alike in all these; then the columns
        of ``per_image.csv``, with a column for each metric that has values of images, and whole paths of pictures.
    """
    pandas, place = import_extra("pandas", "tables of results need", "notebook"), placed(folder).absolute()
    facts, kept = [], []
    frames: list[Any] = []
    for path in sorted(file.parent for file in place.rglob(PER_IMAGE)):
        store = RunFolder(path)
        summary = store.read_json("summary.json")
        if "config_hash" not in summary:
            continue
        frame = pandas.read_csv(path / PER_IMAGE, dtype={"id": str}, keep_default_na=False, na_values=[""])
        frame["id"] = frame["id"].str.replace("^'(?=[=+@-])", "", regex=True)  # see csv_text
        frame["picture"] = [str(path / "images" / f"{image_id}.png") for image_id in frame["id"]]
        frames.append(frame.assign(number=len(frames)))
        facts.append({key: summary.get(key) for key in NAMED})
        kept.append({"run": summary["config_hash"], **(yaml.safe_load(store.read_text("config.yaml") or "") or {})})
    if not frames:
        raise UserError(f"{place} has no finished run with a {PER_IMAGE}; isdiff run writes one, again if need be")
    runs = pandas.json_normalize(kept).rename(columns={"steps.steps": "steps"})
    runs = pandas.concat([pandas.DataFrame(facts), runs.drop(columns=list(NAMED), errors="ignore")], axis=1)
    names = [*NAMED, *(["steps"] if "steps" in runs else [])]
    differing = runs.astype(str).fillna("").groupby(names).nunique().max() > 1
    runs = runs[[*names, "run", *(key for key, differs in differing.items() if differs and key != "run")]]
    for key in runs.columns[len(names) + 1 :]:
        if runs[key].dtype == object:  # lists, or values of several kinds
            runs[key] = runs[key].where(runs[key].isna(), runs[key].map(str))
    images = pandas.concat(frames, ignore_index=True)
    images = images[[*(key for key in images if key not in LAST), "picture"]]
    return pandas.concat([runs.iloc[images.pop("number")].reset_index(drop=True), images], axis=1)


def compare(runs: Sequence[Run], metrics: Sequence[str] | None = None, bootstrap: int = 1000) -> "pd.DataFrame":
    """Values of runs with 95 % intervals, and their paired differences to the first run on the images that both have.

    Args:
        metrics: names of ``configs/metric``; by default those that were measured in all runs.
        bootstrap: resamples of an interval.

    Returns:
        One row a run and metric: ``value``, ``low``, ``high``, ``n``; of all but the first run also ``difference`` with
        ``difference_low`` and ``difference_high``, ``relative_percent``, ``p`` and ``verdict``, as
        :class:`isdiff.metrics.intervals.Contrast` has them.
    """
    pandas = import_extra("pandas", "tables of results need", "notebook")
    if not runs:
        raise UserError("there is no run to compare")
    if metrics is None:
        every = [{name for name, found in each.summary["metrics"].items() if "value" in found} for each in runs]
        metrics = [name for name in runs[0].summary["metrics"] if all(name in found for found in every)]
    rows: list[dict[str, Any]] = []
    first: dict[str, tuple[Statistic, list[str]]] = {}  # what the first run has of each metric, and its images
    for each in runs:
        experiment, records = each.experiment, each.experiment.store.records()
        ids = [image_id for image_id in experiment.ids() if image_id in records]
        built = build_metrics(metrics, experiment.setup.config)
        if missing := absent(built):
            raise Missing(missing)
        measured, skipped = samples(experiment, [records[image_id] for image_id in ids], built)
        for metric in built:
            if metric.name in skipped:
                raise UserError(f"{metric.name} of {experiment.setup.title}: {skipped[metric.name]}")
            sample, named = measured[metric.name], {key: each.summary[key] for key in NAMED}
            row = named | {"run": experiment.hash, "metric": metric.name, **vars(estimate(sample, bootstrap))}
            if metric.name in first:
                base, others = first[metric.name]
                try:
                    against = contrast(base, sample, bootstrap, (others, ids), metric.higher_is_better)
                except ValueError as error:
                    raise UserError(f"{experiment.setup.title} cannot be compared: {error}") from None
                row |= {f"difference{end}": getattr(against.difference, key) for end, key in ENDS.items()}
                row |= {"relative_percent": against.relative, "p": against.p, "verdict": str(against.verdict)}
            else:
                first[metric.name] = sample, ids
            rows.append(row)
    return pandas.DataFrame(rows)
