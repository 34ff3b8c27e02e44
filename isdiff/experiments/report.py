"""What a run leaves for people: metrics with intervals, a readable summary and a picture."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from isdiff import environment
from isdiff.data.images import to_uint8
from isdiff.errors import UserError, summed_up
from isdiff.experiments.config import build_start
from isdiff.experiments.contact_sheet import Tile, contact_sheet, with_hole
from isdiff.experiments.experiment import Experiment
from isdiff.metrics import build_metrics
from isdiff.metrics.base import Estimate, Metric, Unavailable, estimate
from isdiff.seeds.base import SeededStart
from isdiff.trajectory import Stream

GRID_ROWS = 8


def configured_metrics(cfg: DictConfig, download: bool | None = None) -> list[Metric]:
    """
    Raises:
        UserError: ``metrics`` names what there is not.
    """
    names, bootstrap = OmegaConf.select(cfg, "metrics.names"), OmegaConf.select(cfg, "metrics.bootstrap")
    if names is not None and not isinstance(names, ListConfig):
        raise UserError(
            f"metrics.names is {names!r}; it must be a list, such as [lite0_perceptual,lpips], or null for none"
        )
    if names and not (isinstance(bootstrap, int) and not isinstance(bootstrap, bool) and bootstrap >= 1):
        raise UserError(f"metrics.bootstrap is {bootstrap!r}; it must be a whole number of at least 1")
    download = cfg.metrics.download if download is None and names else bool(download)
    return build_metrics(list(names), cfg.model_root, download, cfg.metrics.features) if names else []


def measured(experiment: Experiment, records: list[dict[str, Any]], sampled: int) -> dict[str, Any]:
    """The configured metrics. What an earlier process measured on the same pictures is taken over; what it had to skip
    is tried again, but not downloaded again."""
    cfg = experiment.cfg
    before = experiment.store.read_json("summary.json")
    same = not sampled and before.get("measured_on") == measured_on(cfg, records)
    known = before.get("metrics", {}) if same else {}
    metrics: dict[str, Any] = {}
    images: list[Any] | None = None
    for metric in configured_metrics(cfg, download=False if same else None):
        if "value" in known.get(metric.name, {}):
            metrics[metric.name] = known[metric.name]
            continue
        try:
            if images is None:
                images = [
                    [experiment.store.image(r["id"]) for r in records],
                    [experiment.dataset.image(r["id"]) for r in records],
                    [experiment.prompt(r["id"]) for r in records],
                ]
            metrics[metric.name] = estimate(metric.measure(*images), cfg.metrics.bootstrap).as_dict()
        except Unavailable as error:
            metrics[metric.name] = {"skipped": known.get(metric.name, {}).get("skipped", str(error))}
    return metrics


def measured_on(cfg: DictConfig, records: list[dict[str, Any]]) -> str:
    """16 hex digits that name the pictures and the settings of the intervals."""
    inputs = [(r["id"], r.get("image_sha"), r.get("mask_sha"), r.get("picture_sha")) for r in records]
    settings = [OmegaConf.select(cfg, "metrics.bootstrap"), OmegaConf.select(cfg, "metrics.features")]
    return hashlib.sha256(json.dumps([inputs, settings]).encode()).hexdigest()[:16]


CIRCUMSTANCES = ("peak_memory_mib", "precision", "batch_size", "device", "git_commit", "versions")


def circumstances(experiment: Experiment, sampled: int) -> dict[str, Any]:
    """Where and with what the images were made; a process that made none leaves what others said."""
    before = experiment.store.read_json("summary.json")
    if not sampled and all(key in before for key in CIRCUMSTANCES):
        return {key: before[key] for key in CIRCUMSTANCES}
    return {
        "peak_memory_mib": round(environment.peak_memory_mib(experiment.device)),
        "precision": experiment.precision, "batch_size": experiment.cfg.runtime.batch_size,
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
    cfg = experiment.cfg
    metrics = measured(experiment, records, sampled)
    seconds = sum(r["seconds"] for r in records)
    return {
        "method": experiment.label, "steps": str(experiment.setup.walk),
        "dataset": cfg.dataset.name, "mask": cfg.mask.name, "n": len(records),
        "seed": cfg.seed, "config_hash": experiment.hash, "metrics": metrics,
        "measured_on": measured_on(cfg, records),
        "network_calls_per_image": sum(r["network_calls"] for r in records) / len(records),
        "attempts_per_image": sum(r["attempts"] for r in records) / len(records),
        "seconds_per_image": seconds / len(records), "images_per_second": len(records) / max(seconds, 1e-9),
        **circumstances(experiment, sampled), "failed": failed,
    }  # fmt: skip


def readable(summary: dict[str, Any], experiment: Experiment) -> str:
    """The summary as a page of Markdown."""
    s = summary
    lines = [f"# {experiment.setup.title} on {s['dataset']}, {s['mask']} mask", ""]
    lines += [f"{s['n']} images, seed {s['seed']}; in brackets 95 % intervals.", ""]
    for name, m in s["metrics"].items():
        if "skipped" in m:
            lines.append(f"- {name}: skipped, {m['skipped']}")
        else:
            lines.append(f"- {name}: {Estimate.of(m).text('.4f')}, n = {m['n']}")
    lines += [
        f"- {s['network_calls_per_image']:.1f} network calls and {s['attempts_per_image']:.2f} attempts per image",
        f"- {s['seconds_per_image']:.3f} s per image ({s['images_per_second']:.2f} images/s), "
        f"{s['peak_memory_mib']} MiB at most, {s['precision']}, batch {s['batch_size']}, {s['device']}",
    ]
    lines += [f"- failed: {line}" for line in summed_up(s["failed"])]
    return "\n".join([*lines, "", "![grid](grid.png)", ""])


def draw_grid(experiment: Experiment, records: list[dict[str, Any]]) -> None:
    """``grid.png``: input, seed (with IS-Diff), result and truth of the first images."""
    start = build_start(experiment.cfg)
    header = ["input", *(["seed"] if isinstance(start, SeededStart) else []), experiment.label, "truth"]
    rows: list[list[Tile]] = []
    for record in records[:GRID_ROWS]:
        image_id = record["id"]
        task, truth = experiment.ready(image_id), experiment.inputs.pop(image_id).pixels
        tiles: list[Tile] = [(with_hole(truth, task.pixel_hole[0].cpu().numpy()), image_id)]
        if isinstance(start, SeededStart):
            stream = Stream(experiment.cfg.seed, image_id, record["chosen_attempt"])
            begun = record["start_timesteps"][record["chosen_attempt"]]
            (seed,) = experiment.prior.decode([task.compose(start.seed.fill(task, stream))], [task])
            tiles.append((to_uint8(seed), f"start t = {begun}"))
        tiles += [(experiment.store.image(image_id), caption(record)), (truth, "")]
        rows.append(tiles)
    contact_sheet(experiment.store.path / "grid.png", header, rows)


def caption(record: dict[str, Any]) -> str:
    """Costs of one image, and what DSR saw."""
    text = f"{record['network_calls']} calls"
    if record["dce"]:
        values = " ".join(f"{value:.2f}" for value in record["dce"])
        text += f", attempt {record['chosen_attempt'] + 1} of {record['attempts']}\nDCE {values}"
    return text
