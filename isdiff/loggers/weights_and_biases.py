"""Weights & Biases as a logger: live progress, metrics, images with pictures, histograms of the refinement."""

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from isdiff.checks import check_choice, check_text, check_whole
from isdiff.errors import UserError, explained
from isdiff.io.files import atomic_save, read_json
from isdiff.loggers.base import Images, Logger, Session, Subject, Tables, chosen_dce
from isdiff.packages import import_extra

SECONDS_BETWEEN_LINES = 5.0
PICTURES = ("input", "mask", "result", "truth")
NUMBERS = ("attempts", "network_calls", "seconds")
COSTS = ("network_calls_per_image", "seconds_per_image", "images_per_second", "peak_memory_mib")
LIVE = {  # of a Reporter's numbers, by their names in wandb
    "done": "images", "steps": "network_calls", "seconds_each": "seconds_per_image", "seconds_left": "seconds_left",
}  # fmt: skip
UPLOAD_SECONDS = 900.0  # most that the end of a run waits for a slow line


@dataclass(eq=False)
class WandbLogger(Logger):
    project: str = "isdiff"
    entity: str | None = None
    mode: str = "offline"  # to be synchronised later, without an account; or online, shared, disabled
    group: str | None = None  # runs that belong together; tables give their own
    job_type: str | None = None  # what a run is in its group
    pictures: int = 16  # images that are shown, the first of the dataset

    def __post_init__(self) -> None:
        check_choice("mode (or WANDB_MODE)", self.mode, ("offline", "online", "disabled", "shared"))
        check_text("project", self.project)
        for key in ("entity", "group", "job_type"):
            if getattr(self, key) is not None:
                check_text(key, getattr(self, key))
        check_whole("pictures", self.pictures, low=0)

    def prepare(self) -> None:
        import_wandb()
        if self.mode == "online" and not has_key():
            raise UserError("logger=wandb in online mode needs a key: run wandb login, or give logger.mode=offline")

    def session(self, subject: Subject) -> Session:
        return Session() if self.mode == "disabled" else WandbSession(self, subject)

    def tables(self, subject: Subject, tables: Tables) -> None:
        if self.mode != "disabled":
            with (session := WandbSession(self, subject)):
                session.send(tables, lambda: {name: table_of(rows) for name, rows in tables.items() if rows}, {})


class WandbSession(Session):
    """A run of wandb's that begins when there is something to say; an error costs the report alone.

    It is one run in wandb however often the command is given, and nothing is sent twice: ``wandb/reported.json`` in the
    run's folder has, for each place in wandb, the run's id there and a hash of what was sent.
    """

    def __init__(self, logger: WandbLogger, subject: Subject) -> None:
        self.logger, self.subject, self.lost, self.next_line = logger, subject, False, 0.0
        self.run: Any = None
        self.now: Mapping[str, float] = {}
        self.ledger = subject.folder / "wandb" / "reported.json"
        self.group, self.job_type = logger.group or subject.group, logger.job_type or subject.job_type
        names = (logger.mode, logger.entity, logger.project, self.group, self.job_type)
        self.key = " / ".join(name or "-" for name in names)

    def __exit__(self, *exc: object) -> None:
        if self.run is not None:  # it did not come to its end
            self.attempt(self.show_progress)
            with suppress(Exception):
                self.run.finish(exit_code=1)

    def attempt(self, action: Callable[[], object]) -> None:
        if self.lost:
            return
        try:
            action()
        except Exception as error:  # whatever wandb raises, or a full disk
            self.lost = True
            reason = " ".join(explained(error).split())
            print(
                f"isdiff: wandb did not get all of {self.subject.name} ({reason}); nothing is lost in "
                f"{self.subject.folder}, and the same command reports it again (as a new run without its folder wandb)",
                file=sys.stderr,
            )

    def reported(self, name: str) -> Any:
        return read_json(self.ledger).get(self.key, {}).get(name)

    def note(self, run_id: str, sent: str = "") -> None:
        entries = read_json(self.ledger) | {self.key: {"id": run_id, "sent": sent}}
        atomic_save(self.ledger, json.dumps(entries, indent=1))

    def open(self) -> None:
        """Begin the run, beside whatever others this process has."""
        if self.run is not None:
            return
        wandb, logger, subject = import_wandb(), self.logger, self.subject
        subject.folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(console="off", silent=True, finish_timeout=UPLOAD_SECONDS, finish_timeout_raises=True)
        self.run = wandb.init(
            project=logger.project, entity=logger.entity, mode=logger.mode, name=subject.name,
            dir=str(subject.folder.absolute()),  # its service may have begun in another working folder
            config=dict(subject.config), group=self.group, job_type=self.job_type,
            tags=[tag[:64] for tag in subject.tags],  # at most
            id=self.reported("id"), resume="allow" if logger.mode == "online" else None,
            reinit="create_new", settings=settings,
        )  # fmt: skip
        self.note(self.run.id)

    def progress(self, now: Mapping[str, float]) -> None:
        self.now = now
        if time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            self.attempt(self.show_progress)

    def show_progress(self) -> None:
        self.open()
        if self.now:
            self.run.log({f"progress/{LIVE[name]}": value for name, value in self.now.items() if name in LIVE})
        self.now = {}

    def finish(self, summary: Mapping[str, Any], images: Images) -> None:
        shown = self.logger.pictures

        def content() -> dict[str, Any]:
            sheet = import_wandb().Image(str(self.subject.folder / "grid.png"))
            tables = {"images": table_of(image_rows(images, shown)), "contact_sheet": sheet}
            return {**numbers(summary), **histograms(images.records), **tables}

        facts = {key: value for key, value in summary.items() if isinstance(value, str)}
        self.send([summary, list(images.records), shown], content, facts)

    def send(self, identity: Any, content: Callable[[], Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
        """Send all at the end of a run, unless content of this ``identity`` was; ``facts`` go to its summary."""
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

        def everything() -> None:
            if self.run is None and self.reported("sent") == digest:
                return
            self.show_progress()
            self.run.log(content())
            self.run.summary.update(facts)
            run, self.run = self.run, None
            run.finish(exit_code=0)
            self.note(run.id, digest)

        self.attempt(everything)


def import_wandb() -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    return import_extra("wandb", "logger=wandb needs", "wandb")


def has_key() -> bool:
    """Whether wandb would be let in, as far as this machine knows."""
    wandb = import_wandb()
    return bool(wandb.setup().settings.api_key or wandb.api.api_key)


def table_of(rows: Sequence[Mapping[str, Any]]) -> Any:
    return import_wandb().Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])


def numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    """Name what a run is compared by, so that wandb puts it into sections: quality, cost, dsr."""
    ends = {"value": "", "low": "_low", "high": "_high"}
    every = [(f"quality/{name}", metric) for name, metric in summary["metrics"].items() if "value" in metric]
    found = {f"{name}{end}": metric[key] for name, metric in every for key, end in ends.items()}
    found |= {f"cost/{name}": summary[name] for name in COSTS}
    found |= {"dsr/attempts_per_image": summary["attempts_per_image"], "n": summary["n"]}
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def histograms(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Histograms of what the refinement (DSR) saw and did; none where nothing was judged."""
    judged = [record for record in records if chosen_dce(record) is not None]
    if not judged:
        return {}
    wandb = import_wandb()
    attempts = [record["attempts"] for record in judged]
    edges = np.arange(0.5, max(attempts) + 1)  # one bar a number
    return {
        "dsr/dce": wandb.Histogram([chosen_dce(record) for record in judged], num_bins=min(32, len(judged))),
        "dsr/attempts": wandb.Histogram(np_histogram=np.histogram(attempts, bins=edges)),
    }


def image_rows(images: Images, shown: int) -> list[dict[str, Any]]:
    """Make a row for every image, with pictures of the first ``shown``."""
    wandb, values, rows = import_wandb(), images.values(), []
    for place, record in enumerate(images.records):
        pictures: Mapping[str, np.ndarray] = {}
        if place < shown:
            with suppress(UserError):
                pictures = images.pictures(record["id"])
        row = {"id": record["id"]} | {n: wandb.Image(pictures[n]) if n in pictures else None for n in PICTURES}
        row |= {"dce": chosen_dce(record)} | {name: record[name] for name in NUMBERS}
        rows.append(row | {name: float(each[place]) for name, each in values.items()})
    return rows
