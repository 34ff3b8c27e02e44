"""What a trained pixel model leaves for others: weights, samples, the loss curve and the numbers behind its card."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import OmegaConf
from torch import nn

from isdiff.environment import device_name, package_versions
from isdiff.files import atomic_open, atomic_save
from isdiff.models import save_weights
from isdiff.training.loop import Trainer
from isdiff.training.preview import save_samples


def export(net: nn.Module, trainer: Trainer, cfg) -> None:
    """Write averaged weights in fp16, ``samples.png``, ``loss.png`` and ``training.json`` into ``cfg.export``."""
    folder = Path(cfg.export)
    save_weights(folder / "unet.safetensors", net, {"net": json.dumps(OmegaConf.to_container(cfg.net, resolve=True))})
    curve = [json.loads(line) for line in (trainer.folder / "loss.jsonl").read_text("utf-8").splitlines()]
    draw_curve(curve, folder / "loss.png")
    tail = curve[-max(1, len(curve) // 10) :]
    facts = {
        "samples_seen": trainer.samples,
        "steps": trainer.step,
        "seconds": round(trainer.seconds),
        "parameters": sum(p.numel() for p in net.parameters()),
        "last_tenth_loss": round(sum(point["loss"] for point in tail) / len(tail), 5),
        "configuration": OmegaConf.to_container(cfg, resolve=True),
        "device": device_name(trainer.params[0].device),
        "versions": package_versions(),
    }
    with atomic_open(folder / "training.json") as stream:
        json.dump(facts, stream, indent=1)
    save_samples(net, folder / "samples.png", cfg, count=cfg.samples, columns=16, steps=100, eta=0.85)


def draw_curve(curve: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
    axes.plot([p["samples"] / 1000 for p in curve], [p["loss"] for p in curve], linewidth=0.8)
    axes.set(xlabel="thousand samples", ylabel="loss", yscale="log", title="training loss (velocity MSE + bound)")
    atomic_save(path, lambda stream: figure.savefig(stream, dpi=110, format="png"))
    pyplot.close(figure)
