"""Train the attribute classifier on a drawn dataset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isdiff.io.files import atomic_open
from isdiff.io.models import save_weights
from isdiff.nets.drawings import AttributeNet
from isdiff.paths import placed
from training.data import leading, rendered_split, split_attributes, to_batch, train_images
from training.loop import autocast, trained


def train_attribute_model(cfg) -> None:
    """Train, measure on held-out drawings and write ``classifier.safetensors`` with its accuracies."""
    torch.manual_seed(cfg.seed)
    pixels = train_images(cfg)
    rows = split_attributes(cfg.dataset, "train", cfg.labelled_images, cfg.workers)
    places = leading(cfg.dataset, cfg.labelled_images, cfg.train_images)
    classes = {name: sorted({row[name] for row in rows}) for name in rows[0]}
    labels = {name: np.array([values.index(row[name]) for row in rows]) for name, values in classes.items()}
    net = AttributeNet(classes).to(memory_format=torch.channels_last)

    def at_step(net: nn.Module, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([cfg.seed, step])
        picked = np.sort(rng.choice(len(rows), cfg.optim.batch_size, replace=False))
        x = to_batch(np.ascontiguousarray(pixels[places[picked]]))
        with autocast(torch.device("cpu")):
            logits = net(x)
        losses = {
            name: nn.functional.cross_entropy(out.float(), torch.from_numpy(labels[name][picked]), reduction="none")
            for name, out in logits.items()
        }
        return {"loss": torch.stack(list(losses.values())).mean(0)}

    trained(net, at_step, cfg).with_average(lambda: write_model(net, cfg, classes))


def write_model(net: AttributeNet, cfg, classes: dict[str, list[str]]) -> None:
    """Weights in fp16 and held-out accuracies next to them."""
    folder = placed(cfg.export)
    pixels = rendered_split(cfg.dataset, "dev", cfg.dev_images, cfg.image_size, Path(cfg.data_root), cfg.workers)
    rows = split_attributes(cfg.dataset, "dev", cfg.dev_images, cfg.workers)
    with torch.inference_mode():
        logits = net(to_batch(np.array(pixels)))
    accuracy = {
        name: float(np.mean([values[k] == row[name] for k, row in zip(logits[name].argmax(1), rows, strict=True)]))
        for name, values in classes.items()
    }
    save_weights(folder / "classifier.safetensors", net, {"classes": json.dumps(classes)})
    with atomic_open(folder / "classifier.json") as stream:
        json.dump({"held_out_images": len(rows), "accuracy": accuracy}, stream, indent=1)
