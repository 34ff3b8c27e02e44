"""The folder of a run: pictures, one record per image, and what can be rebuilt from them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isdiff.files import atomic_open, atomic_save


class RunFolder:
    """``images/<id>.png`` and a line in ``per_image.jsonl`` for every finished image.

    The picture is written first and whole, then the line in one write; an image counts as done when both are there.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.records_path = self.path / "per_image.jsonl"

    def image_path(self, image_id: str) -> Path:
        return self.path / "images" / f"{image_id}.png"

    def records(self) -> dict[str, dict[str, Any]]:
        """Records by image id, of images whose picture exists; a line torn by a kill is passed over."""
        found = {}
        if self.records_path.exists():
            for line in self.records_path.read_text("utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if self.image_path(record["id"]).exists():
                    found[record["id"]] = record
        return found

    def add(self, image: np.ndarray, record: dict[str, Any]) -> None:
        """Store one result: ``image`` (H, W, 3) uint8."""
        atomic_save(self.image_path(record["id"]), lambda stream: Image.fromarray(image).save(stream, "png"))
        line = (json.dumps(record) + "\n").encode()
        # One write to a file opened for appending: several processes may add at once, and no line is torn by another.
        handle = os.open(self.records_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def tidy(self, order: list[str]) -> dict[str, dict[str, Any]]:
        """Rewrite the records whole, in the dataset's order first; returns them."""
        records = self.records()
        place = {image_id: i for i, image_id in enumerate(order)}
        ordered = dict(sorted(records.items(), key=lambda item: (place.get(item[0], len(place)), item[0])))
        if ordered:
            with atomic_open(self.records_path) as stream:
                stream.writelines(json.dumps(record) + "\n" for record in ordered.values())
        return ordered

    def image(self, image_id: str) -> np.ndarray:
        with Image.open(self.image_path(image_id)) as image:
            return np.asarray(image.convert("RGB"))

    def write_json(self, name: str, content: Any) -> None:
        with atomic_open(self.path / name) as stream:
            json.dump(content, stream, indent=1)
            stream.write("\n")

    def write_text(self, name: str, content: str) -> None:
        with atomic_open(self.path / name) as stream:
            stream.write(content)
