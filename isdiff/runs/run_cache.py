"""What a run was when it finished, so that the same command again answers without loading anything slow.

A receipt holds only while nothing has moved: not the configuration, the code, the machine, the weights, the images, the
masks, nor anything in the run's folder. Whatever differs, the run is looked at in full.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isdiff.config.build import as_dict, build, data_of
from isdiff.config.settings import with_texts
from isdiff.data.base import file_stamp
from isdiff.errors import UserError
from isdiff.io.files import atomic_open, plain
from isdiff.loggers.base import Logger
from isdiff.packages import named_packages, package_folder
from isdiff.paths import PACKAGE, home, located, placed
from isdiff.runs.store import RunFolder

SAID = ("summary.json", "summary.md", "config.yaml", "grid.png", "per_image.jsonl")


def finished(cfg: DictConfig) -> RunFolder | None:
    """The folder of the run of ``cfg`` if it is as it was left, every image made; None if it has to be looked at.

    Raises:
        UserError: a prompt's file cannot be read.
    """
    cfg = with_texts(cfg)
    try:
        receipt = json.loads(plain(place(cfg)).read_text("utf-8"))
        store = RunFolder(placed(receipt["folder"]))
        expected = receipt["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    ids = unchanged_ids(cfg, store)
    return store if ids and expected and state(cfg, store, ids) == expected else None


def leave(cfg: DictConfig, store: RunFolder, ids: Sequence[str]) -> None:
    """Write the receipt of a run that has finished with all of ``ids``. Runs that report elsewhere get none."""
    cfg = with_texts(cfg)
    if unchanged_ids(cfg, store) != list(ids):
        return
    with atomic_open(place(cfg)) as stream:
        json.dump({"folder": os.path.abspath(store.path), "state": state(cfg, store, ids)}, stream)


def place(cfg: DictConfig) -> Path:
    """Where the receipt of ``cfg`` is: named by all that decides what the run does, besides its files."""
    folders = [PACKAGE, *(package_folder(name) for name in named_packages())]
    code = [(str(path), file_stamp(path)) for folder in folders for path in sorted(folder.rglob("*.py"))]
    machine = [platform.node(), os.getcwd(), str(home()), os.environ.get("CUDA_VISIBLE_DEVICES")]
    named = hashlib.sha256(json.dumps([as_dict(cfg, resolve=True), code, machine], default=str).encode())
    return placed(cfg.output_root) / ".finished" / f"{named.hexdigest()[:32]}.json"


def unchanged_ids(cfg: DictConfig, store: RunFolder) -> list[str]:
    """The ids that the run asks for; empty if one's image, mask or text is surely or possibly not what its record
    says, or if more happens in a run than is seen in its folder."""
    try:
        if type(build(cfg.logger, Logger)) is not Logger:
            return []
        dataset, masks = data_of(cfg)
        ids, records = dataset.ids()[: cfg.limit], store.records()
        for image_id in ids:
            text = dataset.caption(image_id) if cfg.prompt == "caption" else cfg.prompt
            stamps = [dataset.stamp(image_id), masks.stamp(image_id), text]
            if not all(stamps[:2]) or stamps != records.get(image_id, {}).get("stamps"):
                return []
    except UserError:
        return []
    return list(ids)


def state(cfg: DictConfig, store: RunFolder, ids: Sequence[str]) -> str:
    """One hash of the sizes and times of the run's pictures and of its weights; empty where the weights are no files
    here."""
    weights = str(cfg.model.get("weights"))
    if weights != "random" and not located(weights).exists():
        return ""
    files = [store.path / name for name in SAID] + [store.image_path(image_id) for image_id in ids]
    root = Path(str(cfg.model_root))  # weights of metrics that appear or change there have something else to say
    observers = [str(root / "metrics"), str(root / str(cfg.dataset.get("features")) / "classifier.safetensors")]
    files += named_files([as_dict(cfg.model, resolve=True), *observers])
    stamps = [(str(path), file_stamp(path)) for path in files]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest() if all(stamp for _, stamp in stamps) else ""


def named_files(node: Any) -> Iterator[Path]:
    """All files that texts in ``node`` name, those in folders too."""
    if isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            yield from named_files(part)
    elif isinstance(node, str) and node:
        path = located(node)
        yield from [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
