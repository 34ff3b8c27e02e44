"""Runs of wandb read back from their folders, as ``wandb sync`` would read them."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# LevelDB's log format, https://github.com/google/leveldb/blob/main/doc/log_format.md, after 7 bytes of wandb's own.
BLOCK = 32768
HEADER, FILE_HEADER = struct.Struct("<IHB"), 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def chunks(data: bytes) -> Iterator[bytes]:
    """What was written to a ``.wandb`` file, one protobuf message after the other."""
    assert data[:4] == b":W&B"
    place, parts = FILE_HEADER, b""
    while place < len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER.size:
            place += left
            continue
        _, length, kind = HEADER.unpack_from(data, place)
        part = data[place + HEADER.size : place + HEADER.size + length]
        place += HEADER.size + length
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            yield parts


@dataclass
class Logged:
    """A run as it was logged: what it is, its lines, and the files of its artifacts by name."""

    folder: Path
    run: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    exit_code: int | None = None

    def table(self, key: str) -> list[dict[str, Any]]:
        """The rows of a table; pictures as arrays."""
        content = json.loads(self.files[f"{key}.table.json"].read_text())
        return [dict(zip(content["columns"], map(self.cell, row), strict=True)) for row in content["data"]]

    def cell(self, value: Any) -> Any:
        if isinstance(value, dict) and value.get("_type") == "image-file":
            with Image.open(self.files[value["path"]]) as picture:
                return np.asarray(picture)
        return value

    def value(self, key: str) -> Any:
        """What the last line with this key says."""
        return [line[key] for line in self.lines if key in line][-1]


def logged(folder: Path) -> list[Logged]:
    """The runs below a folder, oldest first."""
    return [read(path) for path in sorted(Path(folder).rglob("*.wandb"))]


def read(path: Path) -> Logged:
    from wandb.proto.wandb_internal_pb2 import Record

    found = Logged(path.parent)
    for chunk in chunks(path.read_bytes()):
        record = Record.FromString(chunk)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            items = record.history.item
            found.lines.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items})
        elif kind == "summary":
            items = record.summary.update
            found.summary |= {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
        elif kind == "artifact":
            found.files |= {e.path: Path(e.local_path) for e in record.artifact.manifest.contents if e.local_path}
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found
