"""What a trained pixel model leaves for others: weights, samples, the loss curve and the numbers behind its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from isdiff.environment import device_name, package_versions
from isdiff.io.files import atomic_open, atomic_save
from isdiff.io.models import save_weights
from isdiff.paths import placed
from isdiff.training.health import LEVELS
from isdiff.training.loop import Trainer
from isdiff.training.preview import save_samples


def export(net: nn.Module, trainer: Trainer, cfg) -> None:
    """Write averaged weights in fp16, ``samples.png``, ``loss.png`` and ``training.json`` into ``cfg.export``."""
    folder = placed(cfg.export)
    save_weights(folder / "unet.safetensors", net, {"net": json.dumps(entries(cfg.net))})
    curve, held_out = (read_lines(trainer.folder / name) for name in ("loss.jsonl", "dev.jsonl"))
    draw_curve(curve, folder / "loss.png", held_out)
    tail = curve[-max(1, len(curve) // 10) :]
    facts = {
        "samples_seen": trainer.samples,
        "steps": trainer.step,
        "seconds": round(trainer.seconds),
        "parameters": sum(p.numel() for p in net.parameters()),
        "last_tenth_loss": round(sum(point["loss"] for point in tail) / len(tail), 5),
        "exported": min(held_out, key=lambda point: point["dev"], default={}),
        "configuration": settings(cfg),
        "device": device_name(trainer.params[0].device),
        "versions": package_versions(),
    }
    with atomic_open(folder / "training.json") as stream:
        json.dump(facts, stream, indent=1)
    save_samples(net, folder / "samples.png", cfg, count=cfg.samples, columns=16, steps=cfg.sample_steps, eta=0.85)


PLACES = ("folder", "export", "data_root", "logger", "workers", "device")  # where it ran, not what was trained


def entries(node) -> dict[str, Any]:
    """A mapping of the configuration in plain Python, its references filled in."""
    found = OmegaConf.to_container(node, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def settings(cfg) -> dict[str, Any]:
    """What a training depends on."""
    return {key: value for key, value in entries(cfg).items() if key not in PLACES}


def read_lines(path: Path) -> list[dict]:
    """The objects of a ``.jsonl`` file; none where there is no file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def draw_curve(curve: list[dict], path: Path, held_out: list[dict] | None = None) -> None:
    """The training loss and, beside it, the held-out errors: all together, and noise levels one by one."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, 2 if held_out else 1, figsize=(10 if held_out else 6, 3.4), layout="constrained", squeeze=False
    )
    axes = panels[0, 0]
    axes.plot([p["samples"] / 1000 for p in curve], [p["loss"] for p in curve], linewidth=0.8, label="training loss")
    axes.set(xlabel="thousand samples", yscale="log", title="velocity error (training loss: with bound)")
    if held_out:
        at = [p["samples"] / 1000 for p in held_out]
        for name, title in (
            ("train", "training images, averaged weights"),
            ("dev", "held-out images, averaged weights"),
        ):
            axes.plot(at, [p[name] for p in held_out], linewidth=1.2, label=title)
        for i, level in enumerate(LEVELS):
            panels[0, 1].plot(at, [p[f"dev_{level}"] for p in held_out], color=f"C{i}", label=f"t = {level}")
            panels[0, 1].plot(at, [p[f"train_{level}"] for p in held_out], color=f"C{i}", linestyle=":")
        panels[0, 1].set(
            xlabel="thousand samples", yscale="log", title="noise error: held-out (lines), training (dots)"
        )
        panels[0, 1].legend(fontsize="x-small")
    axes.legend(fontsize="x-small")
    atomic_save(path, lambda stream: figure.savefig(stream, dpi=110, format="png"))
    pyplot.close(figure)
