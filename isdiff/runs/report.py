"""What a run leaves for people: metrics with intervals, a readable summary and a picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isdiff import environment
from isdiff.data.images import decode
from isdiff.errors import UserError, summed_up
from isdiff.io.contact_sheet import NOTE, Tile, contact_sheet, with_hole
from isdiff.io.texts import markdown_line
from isdiff.metrics.base import Metric, Unavailable
from isdiff.metrics.intervals import Estimate, estimate
from isdiff.metrics.samples import MeanStatistic
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import samples
from isdiff.seeds.base import SeededStart

GRID_ROWS = 8


def measured(experiment: Experiment, records: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Values with intervals by the metrics' names, and a hash of them and of what they were measured on.

    Where the summary has such a hash, its values stand: nothing is looked at, and no weights are asked for again.
    """
    metrics, bootstrap = experiment.setup.metrics, experiment.setup.config["metrics"].get("bootstrap")
    names = [r["id"] for r in records]
    pictures = experiment.store.picture_hashes(names) if metrics else [r["picture_sha"] for r in records]
    inputs = [names, pictures, [r["image_sha"] for r in records], [r["stamps"][-1] for r in records], bootstrap]

    def stamp(values: Any) -> str:
        return short_hash([inputs, {metric.name: version_or_none(metric) for metric in metrics}, values])

    before = summary_before(experiment)
    known = before.get("metrics")
    if isinstance(known, dict) and before.get("measured_on") == stamp(known):
        return known, before["measured_on"]
    found, skipped = samples(experiment, records, metrics)
    every: dict[str, Any] = {name: estimate(sample, bootstrap).as_dict() for name, sample in found.items()}
    every |= {name: {"skipped": reason} for name, reason in skipped.items()}
    ordered = {metric.name: every[metric.name] for metric in metrics}
    return ordered, stamp(ordered)


def short_hash(content: Any) -> str:
    """16 hex digits that name what JSON can hold."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def summary_before(experiment: Experiment) -> dict[str, Any]:
    """What the folder's summary said; nothing if it is another run's."""
    before = experiment.store.read_json("summary.json")
    return before if before.get("config_hash") == experiment.hash else {}


def version_or_none(metric: Metric) -> str | None:
    """The metric's version; None where it cannot measure here."""
    try:
        return metric.version
    except Unavailable:
        return None


CIRCUMSTANCES = ("peak_memory_mib", "precision", "batch_size", "device", "git_commit", "versions")


def circumstances(experiment: Experiment, sampled: int) -> dict[str, Any]:
    """Where and with what the images were made; a process that made none leaves what others said."""
    before = summary_before(experiment)
    if not sampled and all(key in before for key in CIRCUMSTANCES):
        return {key: before[key] for key in CIRCUMSTANCES}
    return {
        "peak_memory_mib": round(environment.peak_memory_mib(experiment.device)),
        "precision": experiment.precision, "batch_size": experiment.setup.runtime.batch_size,
        "device": environment.device_name(experiment.device), "git_commit": environment.git_commit(),
        "versions": environment.package_versions(),
    }  # fmt: skip


def summarise(
    experiment: Experiment, records: list[dict[str, Any]], failed: dict[str, str], sampled: int
) -> dict[str, Any]:
    """Metrics with intervals, costs and the circumstances of a run.

    Args:
        sampled: how many of the images this process made.
    """
    dataset, mask = experiment.setup.names
    estimates, on = measured(experiment, records)
    seconds = sum(r["seconds"] for r in records)
    return {
        "method": experiment.label, "steps": experiment.setup.steps, **experiment.network,
        "dataset": dataset, "mask": mask, "n": len(records),
        "seed": experiment.setup.seed, "config_hash": experiment.hash, "metrics": estimates, "measured_on": on,
        "network_calls_per_image": sum(r["network_calls"] for r in records) / len(records),
        "attempts_per_image": sum(r["attempts"] for r in records) / len(records),
        "seconds_per_image": seconds / len(records), "images_per_second": len(records) / max(seconds, 1e-9),
        **circumstances(experiment, sampled), "failed": failed,
    }  # fmt: skip


def readable(summary: dict[str, Any], experiment: Experiment) -> str:
    """The summary as a page of Markdown."""
    s = summary
    lines = [f"# {experiment.setup.title} on {s['dataset']}, {s['mask']} mask", ""]
    lines += [f"Model {s['model']}, {s['size']}, weights: {s['weights']}.", ""]
    lines += [f"{s['n']} images, seed {s['seed']}; in brackets 95 % intervals.", ""]
    for name, m in s["metrics"].items():
        if "skipped" in m:
            lines.append(f"- {name}: skipped, {m['skipped']}")
        else:
            lines.append(f"- {name}: {Estimate.of(m).text('.4f')}, n = {m['n']}")
    lines += [
        f"- {s['network_calls_per_image']:.1f} network calls and {s['attempts_per_image']:.2f} attempts per image",
        f"- {s['seconds_per_image']:.3f} s per image ({s['images_per_second']:.2f} images/s), "
        f"{s['peak_memory_mib'] or 'unknown'} MiB at most, {s['precision']}, batch {s['batch_size']}, {s['device']}",
    ]
    lines += [f"- failed: {line}" for line in summed_up(s["failed"])]
    return "\n".join([*map(markdown_line, lines), "", "![grid](grid.png)", ""])


def draw_grid(experiment: Experiment, records: list[dict[str, Any]]) -> None:
    """``grid.png``: input, seed (with IS-Diff), result and truth of the first images."""
    seeded = isinstance(experiment.setup.start, SeededStart)
    header = ["input", *(["seed"] if seeded else []), experiment.label, "truth"]
    rows: list[list[Tile]] = []
    for record in records[:GRID_ROWS]:
        image_id, attempt = record["id"], record["chosen_attempt"]
        task, inputs = experiment.ready(image_id)
        truth = inputs.pixels
        tiles: list[Tile] = [(with_hole(truth, inputs.hole), image_id)]
        if seeded:
            begun = record["start_timesteps"][attempt]
            tiles.append((experiment.seed_picture(task, attempt), f"start t = {begun}"))
        tiles += [(experiment.store.image(image_id), caption(record)), (truth, "")]
        rows.append(tiles)
    contact_sheet(experiment.store.path / "grid.png", header, rows, note=grid_note(experiment, records))


def grid_note(experiment: Experiment, records: list[dict[str, Any]]) -> str:
    """What names the pictures and captions that ``grid.png`` shows."""
    shown = [[r["id"], r["picture_sha"], caption(r)] for r in records[:GRID_ROWS]]
    return short_hash([experiment.hash, shown])


def is_grid(experiment: Experiment, records: list[dict[str, Any]]) -> bool:
    """Whether ``grid.png`` is whole and shows these."""
    try:
        return decode(experiment.store.path / "grid.png").info.get(NOTE) == grid_note(experiment, records)
    except UserError:
        return False


@dataclass(frozen=True)
class RunImages:
    """The finished images of a run for a logger that shows them: see :class:`isdiff.loggers.base.Images`."""

    experiment: Experiment
    records: Sequence[dict[str, Any]]

    def pictures(self, image_id: str) -> dict[str, np.ndarray]:
        """Input, mask, result and truth of one image."""
        given = self.experiment.read(image_id)
        return {
            "input": with_hole(given.pixels, given.hole), "mask": given.hole.astype(np.uint8) * 255,
            "result": self.experiment.store.image(image_id), "truth": given.pixels,
        }  # fmt: skip

    def values(self) -> dict[str, Sequence[float]]:
        """Each image's values, by the names of metrics that have such."""
        found, _ = samples(self.experiment, list(self.records), self.experiment.setup.metrics)
        return {name: list(sample.values) for name, sample in found.items() if isinstance(sample, MeanStatistic)}


def caption(record: dict[str, Any]) -> str:
    """Costs of one image, and what DSR saw."""
    text = f"{record['network_calls']} calls"
    if record["dce"]:
        values = " ".join(f"{value:.2f}" for value in record["dce"])
        text += f", attempt {record['chosen_attempt'] + 1} of {record['attempts']}\nDCE {values}"
    return text
