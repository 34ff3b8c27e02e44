"""What a run leaves for people: metrics with intervals, a readable summary and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from isdiff import environment
from isdiff.config import build_start
from isdiff.data.images import to_uint8
from isdiff.grid import Tile, picture_grid, with_hole
from isdiff.metrics import build_metrics
from isdiff.metrics.base import Metric, Unavailable, estimate
from isdiff.seeds.base import SeededStart
from isdiff.trajectory import Stream

if TYPE_CHECKING:
    from isdiff.runner import Experiment

GRID_ROWS = 8


def configured_metrics(cfg: DictConfig) -> list[Metric]:
    return build_metrics(list(cfg.metrics.names), cfg.model_root, cfg.metrics.download, cfg.metrics.features)


def summarise(experiment: Experiment, records: list[dict[str, Any]], failed: dict[str, str]) -> dict[str, Any]:
    """Metrics with intervals, costs and the circumstances of a run."""
    cfg = experiment.cfg
    results = [experiment.store.image(r["id"]) for r in records]
    truths = [experiment.dataset.image(r["id"]) for r in records]
    prompts = [experiment.prompt(r["id"]) for r in records]
    metrics: dict[str, Any] = {}
    for metric in configured_metrics(cfg):
        try:
            measured = estimate(metric.measure(results, truths, prompts), cfg.metrics.bootstrap)
            metrics[metric.name] = measured.as_dict()
        except Unavailable as error:
            metrics[metric.name] = {"skipped": str(error)}
    seconds = sum(r["seconds"] for r in records)
    return {
        "method": experiment.label, "dataset": cfg.dataset.name, "mask": cfg.mask.name, "n": len(records),
        "seed": cfg.seed, "config_hash": experiment.store.path.name, "metrics": metrics,
        "network_calls_per_image": sum(r["network_calls"] for r in records) / len(records),
        "attempts_per_image": sum(r["attempts"] for r in records) / len(records),
        "seconds_per_image": seconds / len(records), "images_per_second": len(records) / max(seconds, 1e-9),
        "peak_memory_mib": round(environment.peak_memory_mib(experiment.device)),
        "precision": experiment.precision, "batch_size": cfg.runtime.batch_size,
        "device": environment.device_name(experiment.device), "git_commit": environment.git_commit(),
        "versions": environment.package_versions(), "failed": failed,
    }  # fmt: skip


def readable(summary: dict[str, Any], experiment: Experiment) -> str:
    """The summary as a page of Markdown."""
    s = summary
    lines = [f"# {s['method']} on {s['dataset']}, {s['mask']} mask", "", f"{s['n']} images, seed {s['seed']}.", ""]
    for name, m in s["metrics"].items():
        if "skipped" in m:
            lines.append(f"- {name}: skipped, {m['skipped']}")
        else:
            lines.append(f"- {name}: {m['value']:.4f} (95 % interval {m['low']:.4f} to {m['high']:.4f}, n = {m['n']})")
    lines += [
        f"- {s['network_calls_per_image']:.1f} network calls and {s['attempts_per_image']:.2f} attempts per image",
        f"- {s['seconds_per_image']:.3f} s per image ({s['images_per_second']:.2f} images/s), "
        f"{s['peak_memory_mib']} MiB at most, {s['precision']}, batch {s['batch_size']}, {s['device']}",
    ]
    lines += [f"- failed: {image_id}: {reason}" for image_id, reason in s["failed"].items()]
    return "\n".join([*lines, "", "![grid](grid.png)", ""])


def draw_grid(experiment: Experiment, records: list[dict[str, Any]]) -> None:
    """``grid.png``: input, seed (with IS-Diff), result and truth of the first images."""
    start = build_start(experiment.cfg)
    header = ["input", *(["seed"] if isinstance(start, SeededStart) else []), experiment.label, "truth"]
    rows: list[list[Tile]] = []
    for record in records[:GRID_ROWS]:
        image_id = record["id"]
        task, truth = experiment.ready(image_id), experiment.dataset.image(image_id)
        tiles: list[Tile] = [(with_hole(truth, task.pixel_hole[0].cpu().numpy()), image_id)]
        if isinstance(start, SeededStart):
            stream = Stream(experiment.cfg.seed, image_id, record["chosen_attempt"])
            begun = record["start_timesteps"][record["chosen_attempt"]]
            (seed,) = experiment.pictures([task.compose(start.seed.fill(task, stream))], [task])
            tiles.append((to_uint8(seed), f"start t = {begun}"))
        tiles += [(experiment.store.image(image_id), caption(record)), (truth, "")]
        rows.append(tiles)
    picture_grid(experiment.store.path / "grid.png", header, rows)


def caption(record: dict[str, Any]) -> str:
    """Costs of one image, and what DSR saw."""
    text = f"{record['network_calls']} calls"
    if record["dce"]:
        values = " ".join(f"{value:.2f}" for value in record["dce"])
        text += f", attempt {record['chosen_attempt'] + 1} of {record['attempts']}\nDCE {values}"
    return text
