"""The folder of a run: pictures, one record per image, and what can be rebuilt from them."""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isdiff.checks import is_number
from isdiff.data.base import file_stamp, safe_id
from isdiff.data.images import load_rgb, pixels_hash
from isdiff.errors import UserError
from isdiff.io.files import atomic_save, read_json

try:
    import fcntl
except ImportError:  # Windows: one process a folder
    fcntl = None  # type: ignore[assignment]

VERSION = 1  # of records; those without one are older, and read as such
KINDS = {  # of what a record has
    "id": str, "run": str, "model": str, "weights": str, "size": str, "image_sha": str, "mask_sha": str,
    "picture_sha": str, "seed": int, "network_calls": int, "attempts": int, "chosen_attempt": int, "dce": list,
    "start_timesteps": list, "stamps": list,
}  # fmt: skip


def parsed(line: str) -> dict[str, Any] | None:
    """Read the record in a line of ``per_image.jsonl``; None where it is none, or says what no run writes."""
    try:
        record = json.loads(line)
        if not all(type(record[key]) is kind for key, kind in KINDS.items()):  # true and false are no numbers
            return None
        counts = [record[key] for key in ("network_calls", "attempts", "chosen_attempt", "seconds")]
        dce, starts, share = record["dce"], record["start_timesteps"], record.get("hole", 0)  # older ones have no share
        whole = (
            all(re.fullmatch("[0-9a-f]{16}", record[key]) for key in KINDS if key.endswith("_sha"))
            and all(is_number(x) for x in (*counts, *dce, *starts, share))
            and min(counts) >= 0 <= share <= 1
            and type(version := record.get("version", VERSION)) is int and version >= 1
            and record["stamps"] and all(isinstance(text, str) for text in record["stamps"])
        )  # fmt: skip
        # All but the last attempt were judged, or there would have been no other; without IS-Diff none is.
        attempts = len(starts) == record["attempts"] > record["chosen_attempt"] and 0 <= len(starts) - len(dce) <= 1
        return record if whole and attempts else None
    except (ValueError, RecursionError, TypeError, KeyError):
        return None


class RunFolder:
    """``images/<id>.png`` and a line in ``per_image.jsonl`` for every finished image.

    The picture is written first and whole, then the line in one write; an image counts as done when both are there.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.records_path = self.path / "per_image.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else adds or rewrites records meanwhile, in this process or another."""
        self.path.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def image_path(self, image_id: str) -> Path:
        if not safe_id(image_id):
            raise UserError(f"image id {image_id!r} is no file name; ids must be without slashes and leading dots")
        return self.path / "images" / f"{image_id}.png"

    def lines(self) -> list[str]:
        with suppress(FileNotFoundError):
            return self.records_path.read_text("utf-8", errors="replace").splitlines(keepends=True)
        return []

    def records(self) -> dict[str, dict[str, Any]]:
        """Records by image id, of images whose picture exists.

        A line that is no record (torn by a kill, edited by hand) is passed over: its image is made again.
        """
        found = {}
        for record in map(parsed, self.lines()):
            if record and record.get("version", VERSION) > VERSION:
                what = f"{self.records_path} has records of version {record['version']}"
                raise UserError(
                    f"{what}, and this isdiff reads up to {VERSION}; update it, or give another output_root"
                )
            with suppress(UserError, OSError):
                if record and self.image_path(record["id"]).stat().st_size > 0:
                    found[record["id"]] = record
        return found

    def add(self, image: np.ndarray, record: dict[str, Any]) -> None:
        """Store one result: ``image`` (H, W, 3) uint8."""
        atomic_save(self.image_path(record["id"]), lambda stream: Image.fromarray(image).save(stream, "png"))
        line = (json.dumps(record) + "\n").encode()
        with self.locked(), open(self.records_path, "ab+", buffering=0) as stream:
            if stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    line = b"\n" + line  # a kill tore the line before: this one is not to be lost with it
            stream.write(line)
            os.fsync(stream.fileno())

    def tidy(
        self, order: list[str], drop: Iterable[str] = (), update: Mapping[str, dict[str, Any]] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Rewrite the records, in the dataset's order, without those of ``drop``; return them."""
        if not self.records_path.exists():
            return {}
        dropped, place = set(drop), {image_id: i for i, image_id in enumerate(order)}
        with self.locked():
            records = {i: r | (update or {}).get(i, {}) for i, r in self.records().items() if i not in dropped}
            ordered = dict(sorted(records.items(), key=lambda item: (place.get(item[0], len(place)), item[0])))
            lines = [json.dumps(record) + "\n" for record in ordered.values()]
            if self.lines() != lines:
                atomic_save(self.records_path, "".join(lines))
        return ordered

    def sweep(self) -> None:
        """Remove what killed processes left half written; what is younger than an hour may still be written."""
        before = time.time() - 3600
        for temporary in self.path.rglob(".*.tmp"):
            with suppress(OSError):
                if temporary.stat().st_mtime < before:
                    temporary.unlink()

    def drop_empty(self) -> None:
        """Remove the folder of a run without results, and folders above it that are empty then."""
        (self.path / "config.yaml").unlink(missing_ok=True)
        with suppress(OSError):  # something else is there
            os.removedirs(self.path)

    def image(self, image_id: str) -> np.ndarray:
        """Read (H, W, 3) uint8."""
        path = self.image_path(image_id)
        try:
            return np.asarray(load_rgb(path))
        except UserError:
            raise UserError(f"{path} is damaged; delete it and run the same command again") from None

    def picture_hashes(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Hash pictures, by id; None for a damaged one. Files that ``measured/pictures.json`` knows are not read."""
        known = self.read_json("measured/pictures.json")
        found: dict[str, list[str]] = {}
        hashes: dict[str, str | None] = {}
        for image_id in ids:
            stamp = file_stamp(self.image_path(image_id))
            match known.get(image_id):
                case [before, str(digest)] if before == stamp:
                    hashes[image_id] = digest
                case _:
                    hashes[image_id] = None
                    with suppress(UserError):
                        hashes[image_id] = digest = pixels_hash(self.image(image_id))
                        found[image_id] = [stamp, digest]
        if found:
            self.write_json("measured/pictures.json", known | found)
        return hashes

    def read_json(self, name: str) -> dict[str, Any]:
        """Read what ``write_json`` left; empty if it is not there or damaged."""
        return read_json(self.path / name)

    def read_text(self, name: str) -> str | None:
        try:
            return (self.path / name).read_text("utf-8")
        except (OSError, ValueError):
            return None

    def write_json(self, name: str, content: Any) -> None:
        self.write_text(name, json.dumps(content, indent=1) + "\n")

    def write_text(self, name: str, content: str) -> None:
        """Leave a text, unless it stands there."""
        if self.read_text(name) != content:
            atomic_save(self.path / name, content)
