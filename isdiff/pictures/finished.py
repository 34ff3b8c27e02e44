"""``isdiff.jsonl`` in a folder of results: a line for each, so that the same command goes on where it stopped.

A result is finished if its file is as it was written and all that it depends on is the same: the image's file, hole,
seed, method, model, options, and the version of isdiff.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import isdiff
from isdiff.data.base import file_stamp
from isdiff.pictures.canvas import Filled, Job

NAME, VERSION = "isdiff.jsonl", 1


class Finished:
    """The finished results of a folder; of None, nothing is looked at or noted."""

    def __init__(self, folder: Path | None, inpainter: Any) -> None:
        self.path, self.inpainter = folder and folder / NAME, inpainter
        self.lines: dict[str, dict[str, Any]] = {}
        there = self.path and self.path.exists() and self.path.read_text("utf-8", errors="replace")
        self.torn = not (there or "\n").endswith("\n")  # by a command that was killed
        for line in (there or "").splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a torn line: its picture is made again
                record = json.loads(line)
                self.lines[record["file"]] = record

    def key(self, job: Job, source: Path) -> str:
        """A hash of all that the result depends on."""
        file, method = hashlib.sha256(source.read_bytes()).hexdigest(), self.inpainter.method_hash(job)
        content = [method, file, job.noise_key, job.seed, vars(job.edge), isdiff.__version__]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def name(self, place: Path) -> str:
        """A result as lines name it, from the folder on."""
        return place.relative_to(self.path.parent).as_posix() if self.path else place.name

    def has(self, place: Path, job: Job, source: Path) -> bool:
        """Whether the result is there."""
        record = self.lines.get(self.name(place), {})
        same = place.exists() and record.get("stamp") == file_stamp(place)
        return same and record.get("key") == self.key(job, source)

    def add(self, place: Path, filled: Filled, source: Path) -> None:
        """Note a result that has been written."""
        if self.path is not None:
            record = {
                "version": VERSION, "file": self.name(place), "image": str(source), "seed": filled.job.seed,
                "method": self.inpainter.name_of(filled.job), "squares": len(filled.trace),
                "network_calls": sum(trace.network_calls for trace in filled.trace),
                "seconds": round(sum(trace.seconds for trace in filled.trace), 3),
                "key": self.key(filled.job, source), "stamp": file_stamp(place),
            }  # fmt: skip
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write("\n" * self.torn + json.dumps(record) + "\n")
            self.torn = False
