"""What a run leaves for people: metrics with intervals, a readable summary and a picture."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any

import numpy as np

from isdiff import environment
from isdiff.errors import summed_up
from isdiff.io.contact_sheet import Tile, contact_sheet, with_hole
from isdiff.io.texts import csv_text, markdown_line
from isdiff.loggers.base import Images, chosen_dce
from isdiff.metrics.base import Unavailable
from isdiff.metrics.intervals import Estimate, estimate
from isdiff.metrics.samples import MeanStatistic, Statistic
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import Records, samples
from isdiff.seeds.base import SeededStart

GRID_ROWS = 8
PER_IMAGE = "per_image.csv"
COLUMNS = (
    "id", "hole", "network_calls", "seconds", "attempts", "chosen_attempt", "start_timestep", "dce", "picture",
    "picture_sha",
)  # fmt: skip
CIRCUMSTANCES = ("peak_memory_mib", "precision", "batch_size", "device", "git_commit", "versions")


def measured(experiment: Experiment, records: Records, before: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return values with intervals by metric, and a hash of them and of what they were measured on.

    Where the summary ``before`` has this hash, its values stand: nothing is looked at, and no weights are asked for.
    """
    metrics, bootstrap = experiment.setup.metrics, experiment.setup.config["metrics"].get("bootstrap")
    columns = [[r[key] for r in records] for key in ("id", "picture_sha", "image_sha")]
    inputs = [*columns, [r["stamps"][-1] for r in records], bootstrap]

    def stamp(values: Any) -> str:
        versions: dict[str, str | None] = dict.fromkeys(metric.name for metric in metrics)
        for metric in metrics:
            with suppress(Unavailable):  # it cannot measure here
                versions[metric.name] = metric.version
        return hashlib.sha256(json.dumps([inputs, versions, values]).encode()).hexdigest()[:16]

    known = before.get("metrics")
    kept = (experiment.store.path / PER_IMAGE).exists()
    if isinstance(known, dict) and before.get("measured_on") == stamp(known) and kept:
        return known, before["measured_on"]
    found, skipped = samples(experiment, records, metrics)
    every: dict[str, Any] = {name: estimate(sample, bootstrap).as_dict() for name, sample in found.items()}
    every |= {name: {"skipped": reason} for name, reason in skipped.items()}
    ordered = {metric.name: every[metric.name] for metric in metrics}
    experiment.store.write_text(PER_IMAGE, per_image(records, found, experiment.store.read_text(PER_IMAGE) or ""))
    return ordered, stamp(ordered)


def values_per_image(found: Mapping[str, Statistic]) -> dict[str, Sequence[float]]:
    """Return the images' own values by metric; a distance between sets has none."""
    return {name: sample.values.tolist() for name, sample in found.items() if isinstance(sample, MeanStatistic)}


def per_image(records: Records, found: Mapping[str, Statistic], before: str) -> str:
    """Write ``per_image.csv``; other metrics' values of the file ``before`` stay where the picture is the same."""
    values = {name: list(map(finite, each)) for name, each in values_per_image(found).items()}
    reader = csv.DictReader(io.StringIO(before))
    known = {line["picture_sha"]: line for line in reader if line.get("picture_sha")}
    for name in reader.fieldnames or ():
        if name not in (*COLUMNS, *found):
            values[name] = [finite(known.get(record["picture_sha"], {}).get(name)) for record in records]
    lines: list[Sequence[object]] = [[*COLUMNS, *values]]
    for place, record in enumerate(records):
        entry = record | {"picture": f"images/{record['id']}.png", "dce": chosen_dce(record)}
        entry |= {"start_timestep": record["start_timesteps"][record["chosen_attempt"]]}
        lines.append([*(entry.get(key, "") for key in COLUMNS), *(each[place] for each in values.values())])
    return csv_text(lines)


def finite(value: Any) -> float | str:
    with suppress(TypeError, ValueError):
        return float(value) if isfinite(float(value)) else ""
    return ""


def summarise(experiment: Experiment, records: Records, failed: dict[str, str], sampled: int) -> dict[str, Any]:
    """Metrics with intervals, costs and circumstances; these stay as they were where no image was ``sampled`` now."""
    before = experiment.store.read_json("summary.json")
    before = before if before.get("config_hash") == experiment.hash else {}
    if not sampled and all(key in before for key in CIRCUMSTANCES):
        circumstances = {key: before[key] for key in CIRCUMSTANCES}
    else:
        circumstances = {
            "peak_memory_mib": round(environment.peak_memory_mib(experiment.device)),
            "precision": experiment.precision, "batch_size": experiment.setup.runtime.batch_size,
            "device": environment.device_name(experiment.device), "git_commit": environment.git_commit(),
            "versions": environment.package_versions(),
        }  # fmt: skip
    dataset, mask = experiment.setup.names
    estimates, on = measured(experiment, records, before)
    seconds = sum(r["seconds"] for r in records)
    return {
        "method": experiment.setup.label, "steps": experiment.setup.length, **experiment.network,
        "dataset": dataset, "mask": mask, "n": len(records),
        "seed": experiment.setup.seed, "config_hash": experiment.hash, "metrics": estimates, "measured_on": on,
        "network_calls_per_image": sum(r["network_calls"] for r in records) / len(records),
        "attempts_per_image": sum(r["attempts"] for r in records) / len(records),
        "seconds_per_image": seconds / len(records), "images_per_second": len(records) / max(seconds, 1e-9),
        **circumstances, "failed": failed,
    }  # fmt: skip


def readable(summary: dict[str, Any], experiment: Experiment) -> str:
    s = summary
    lines = [
        f"# {experiment.setup.title} on {s['dataset']}, {s['mask']} mask", "",
        f"Model {s['model']}, {s['size']}, weights: {s['weights']}.", "",
        f"{s['n']} images, seed {s['seed']}; in brackets 95 % intervals.", "",
    ]  # fmt: skip
    for name, m in s["metrics"].items():
        said = f"skipped, {m['skipped']}" if "skipped" in m else f"{Estimate.of(m).text('.4f')}, n = {m['n']}"
        lines.append(f"- {name}: {said}")
    lines += [
        f"- {s['network_calls_per_image']:.1f} network calls and {s['attempts_per_image']:.2f} attempts per image",
        f"- {s['seconds_per_image']:.3f} s per image ({s['images_per_second']:.2f} images/s), "
        f"{s['peak_memory_mib'] or 'unknown'} MiB at most, {s['precision']}, batch {s['batch_size']}, {s['device']}",
    ]
    lines += [f"- failed: {line}" for line in summed_up(s["failed"])]
    return "\n".join([*map(markdown_line, lines), "", "![grid](grid.png)", ""])


def draw_grid(experiment: Experiment, records: Records) -> None:
    """Draw ``grid.png``: input, seed (with IS-Diff), result and truth of the first images."""
    seeded = isinstance(experiment.setup.start, SeededStart)
    rows: list[list[Tile]] = []
    for record in records[:GRID_ROWS]:
        image_id, attempt = record["id"], record["chosen_attempt"]
        task, inputs = experiment.ready(image_id)
        tiles: list[Tile] = [(with_hole(inputs.pixels, inputs.hole), image_id)]
        if seeded:
            tiles.append((experiment.seed_picture(task, attempt), f"start t = {record['start_timesteps'][attempt]}"))
        text = f"{record['network_calls']} calls"
        if record["dce"]:
            values = " ".join(f"{value:.2f}" for value in record["dce"])
            text += f", attempt {attempt + 1} of {record['attempts']}\nDCE {values}"
        rows.append([*tiles, (experiment.store.image(image_id), text), (inputs.pixels, "")])
    header = ["input", *["seed"] * seeded, experiment.setup.label, "truth"]
    contact_sheet(experiment.store.path / "grid.png", header, rows)


def logged_images(experiment: Experiment, records: Records) -> Images:
    def pictures(image_id: str) -> dict[str, np.ndarray]:
        given = experiment.read(image_id)
        return {
            "input": with_hole(given.pixels, given.hole), "mask": given.hole.astype(np.uint8) * 255,
            "result": experiment.store.image(image_id), "truth": given.pixels,
        }  # fmt: skip

    def values() -> dict[str, Sequence[float]]:
        return values_per_image(samples(experiment, records, experiment.setup.metrics)[0])

    return Images(records, pictures, values)
