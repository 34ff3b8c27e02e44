"""A workspace of Weights & Biases for runs that :mod:`isdiff.loggers.weights_and_biases` reports.

Bars are means over the runs of a ``cell`` (dataset, mask, and a table's row or a method with its steps), which differ
in their seeds. The workspace is a specification; it can be written to a file without any account.
"""

from collections.abc import Sequence
from typing import Any

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.errors import UserError, explained
from isdiff.loggers.base import Logger
from isdiff.loggers.weights_and_biases import WandbLogger, has_key
from isdiff.metrics.base import Metric

COSTS = {
    "cost/seconds_per_image": "Seconds per image", "cost/network_calls_per_image": "Network calls per image",
    "cost/peak_memory_mib": "Peak memory, MiB",
}  # fmt: skip
LIVE = {
    "progress/images": "Images done", "progress/seconds_left": "Seconds left",
    "progress/seconds_per_image": "Seconds per image", "progress/network_calls": "Network calls",
}  # fmt: skip
HISTOGRAMS = {"dce": "DCE of kept attempts", "attempts": "Attempts per image"}


def sections(panels: Any, metrics: Sequence[Metric]) -> dict[str, list[Any]]:
    """The panels by the names of their sections: a bar a cell, and a line a run."""

    def bars(titles: dict[str, str]) -> list[Any]:
        return [
            panels.BarPlot(
                title=title, metrics=[key], groupby=panels.Config("cell"), groupby_aggfunc="mean",
                groupby_rangefunc="stddev", max_bars_to_show=50, max_runs_to_show=200,
            )
            for key, title in titles.items()
        ]  # fmt: skip

    histograms = [
        panels.CustomChart(
            query={"summaryTable": {"tableKey": "images"}}, chart_name="wandb/histogram/v0",
            chart_fields={"value": column}, chart_strings={"title": title},
        )
        for column, title in HISTOGRAMS.items()
    ]  # fmt: skip
    lines = [
        panels.LinePlot(title=title, x="RelativeTime(Process)", y=[key], title_x="seconds")
        for key, title in LIVE.items()
    ]
    tables = [panels.WeavePanelSummaryTable(table_name=name) for name in ("table", "comparisons", "images")]
    sheet = panels.MediaBrowser(title="First images", media_keys=["contact_sheet"], num_columns=1)
    return {
        "Quality": [*bars({f"quality/{metric.name}": metric.heading for metric in metrics}), *tables[:2]],
        "Cost": bars(COSTS),
        "DSR": [*bars({"dsr/attempts_per_image": HISTOGRAMS["attempts"]}), *histograms],
        "Pictures": [sheet, tables[2]],
        "Progress": lines,
    }


def workspace(logger: WandbLogger, metrics: Sequence[Metric], table: str | None = None) -> Any:
    """The workspace of a logger's project.

    Args:
        table: only runs of this table (or another group).
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError:
        what = "a dashboard needs the packages wandb and wandb-workspaces: pip install 'isdiff[wandb]'"
        raise UserError(what) from None
    group = logger.group or table
    found = sections(panels, metrics)
    for place, panel in enumerate(panel for each in found.values() for panel in each):
        panel._id = f"isdiff{place:02d}"  # the library draws lots; the same dashboard is to be the same file
    shown = [f"summary:quality/{metric.name}" for metric in metrics]
    shown += ["summary:cost/seconds_per_image", "summary:cost/network_calls_per_image"]
    made = workspaces.Workspace(
        entity=logger.entity or "",
        project=logger.project,
        name=f"isdiff: {group or 'all runs'}",
        sections=[workspaces.Section(name=name, panels=each, is_open=True) for name, each in found.items()],
        settings=workspaces.WorkspaceSettings(x_axis="RelativeTime(Process)", max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            filters=f"Metric('Group') == {group!r}" if group else "",  # Python, which the library parses
            pinned_columns=["run:displayName", "run:group", "run:jobType", *shown],
        ),
    )
    made._internal_runset_id = "isdiffruns"
    return made


def specification(made: Any) -> dict[str, Any]:
    """What a workspace is, ready for JSON."""
    view = made._to_model()
    return {
        "name": view.display_name, "entity": view.entity, "project": view.project,
        "spec": view.spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }  # fmt: skip


def build_logger(overrides: Sequence[str]) -> WandbLogger:
    """The logger of the runs to be shown, with whatever keys of it are given."""
    logger = build(compose_run(["logger=wandb", *overrides]).logger, Logger)
    if not isinstance(logger, WandbLogger):
        raise UserError("a dashboard is for runs that were reported with logger=wandb")
    return logger


def save(logger: WandbLogger, made: Any) -> str:
    """Make the workspace in the project; returns its address."""
    import wandb

    if not has_key():
        what = "isdiff dashboard needs a key of Weights & Biases"
        raise UserError(f"{what}: run wandb login, or write it to a file with --out FILE")
    try:
        made.entity = logger.entity or str(wandb.Api().default_entity)
        return str(made.save().url)
    except Exception as error:  # whatever wandb and its transport raise
        reason = " ".join(explained(error).split())
        raise UserError(f"wandb did not take the dashboard of {logger.project} ({reason})") from None
