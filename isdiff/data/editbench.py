"""EditBench (Wang et al. 2023): 240 images with a mask and three prompts each, as Google Research released it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from isdiff.data.files import FileDataset
from isdiff.errors import Missing, UserError
from isdiff.masks.base import MaskSource
from isdiff.masks.files import read_mask

PARTS = ("natural", "generated")
PROMPTS = ("prompt_full", "prompt_mask-simple", "prompt_mask-rich")
ADVICE = "Get EditBench from its authors (Google Research), unpack it there, then run scripts/data.py doctor editbench"


def find_root(path: Path) -> Path:
    """The folder with the annotations: ``path`` itself or one below it, as archives unpack differently.

    Raises:
        Missing: there is none.
    """
    for part in PARTS:
        for file in sorted(path.rglob(f"annotations_{part}.csv")):
            return file.parent
    raise Missing([f"EditBench is not below {path} (no annotations_natural.csv). {ADVICE}"])


class EditBench(FileDataset):
    """Ids are ``natural-<number>`` and ``generated-<number>``, in the order of the annotation files.

    Args:
        path: folder with ``annotations_{natural,generated}.csv``, ``references_*/N.png`` and ``masks_*/N.png``.
        part: ``natural``, ``generated`` or ``both``.
        prompt: the annotation column that :meth:`caption` gives.
    """

    name = "editbench"

    def __init__(
        self,
        path: str,
        size: int = 512,
        part: str = "both",
        prompt: str = "prompt_full",
        preprocess: str = "center_crop_long_edge",
    ) -> None:
        super().__init__(path, size, preprocess)
        if part not in (*PARTS, "both"):
            raise UserError(f"dataset.part is {part!r}; EditBench has natural, generated and both")
        if prompt not in PROMPTS:
            raise UserError(f"dataset.prompt is {prompt!r}; EditBench has {', '.join(PROMPTS)}")
        self.parts, self.prompt = PARTS if part == "both" else (part,), prompt

    @cached_property
    def rows(self) -> dict[str, dict[str, str]]:
        root, rows = find_root(self.path), {}
        for part in self.parts:
            file = root / f"annotations_{part}.csv"
            if not file.exists():
                raise Missing([f"{file} is missing. {ADVICE}"])
            with file.open(encoding="utf-8", newline="") as stream:
                rows |= {f"{part}-{row['aos']}": row for row in csv.DictReader(stream)}
        return rows

    def ids(self) -> list[str]:
        return list(self.rows)

    def caption(self, image_id: str) -> str:
        return self.rows[image_id][self.prompt]

    def file(self, image_id: str) -> Path | None:
        file = place(self.path, "references", image_id)
        return file if file.exists() else None

    def require(self, ids: Sequence[str]) -> None:
        if absent := [image_id for image_id in ids if self.file(image_id) is None]:
            first = place(self.path, "references", absent[0])
            raise Missing([f"{len(absent)} of {len(ids)} images of editbench are missing (first: {first}). {ADVICE}"])


class EditBenchMask(MaskSource):
    """The hole that comes with each image; white = generate."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def hole(self, image_id: str, height: int, width: int) -> np.ndarray:
        return read_mask(place(self.path, "masks", image_id), height, width)


def place(path: Path, kind: str, image_id: str) -> Path:
    part, number = image_id.split("-", 1)
    return find_root(path) / f"{kind}_{part}" / f"{number}.png"
