"""EditBench (Wang et al. 2023): 240 images with a mask and three prompts each, as Google Research released it."""

from functools import cached_property
from pathlib import Path

from isdiff.checks import check_choice
from isdiff.data.base import quote, read_table
from isdiff.data.files import FileDataset, walk
from isdiff.data.images import CROPPED
from isdiff.errors import Missing, UserError

PARTS = ("natural", "generated")
PROMPTS = ("prompt_full", "prompt_mask-simple", "prompt_mask-rich")
ADVICE = "Get EditBench from its authors (Google Research), unpack it there, then run isdiff data check editbench"


def find_root(path: Path) -> Path:
    """Find the folder with the annotations: ``path`` itself or one below it, as archives unpack differently."""
    names = [f"annotations_{part}.csv" for part in PARTS]
    found = [(names.index(name), len(file.parts), file) for name, file in walk(path) if name in names]
    if not found:
        raise Missing([f"EditBench is not below {quote(path)} (no annotations_natural.csv). {ADVICE}"])
    return min(found)[-1].parent


def place(root: Path, kind: str, image_id: str) -> Path:
    """Return where the image (``references``) or mask (``masks``) of an id lies."""
    part, _, number = image_id.partition("-")
    if part not in PARTS:
        raise UserError(f"image {image_id} is none of EditBench; mask=editbench goes with dataset=editbench alone")
    return root / f"{kind}_{part}" / f"{number}.png"


class EditBench(FileDataset):
    """Ids are ``natural-<number>`` and ``generated-<number>``, in the order of the annotation files.

    ``path`` has ``annotations_{natural,generated}.csv``, ``references_*/N.png`` and ``masks_*/N.png``; ``prompt`` is an
    annotation column, which :meth:`caption` gives.
    """

    name, advice = "editbench", ADVICE

    def __init__(
        self, path: str, size: int = 512, part: str = "both", prompt: str = "prompt_full", preprocess: str = CROPPED
    ) -> None:
        super().__init__(path, size, preprocess)
        check_choice("part", part, (*PARTS, "both"), "EditBench has")
        check_choice("prompt", prompt, PROMPTS, "EditBench has")
        self.parts, self.prompt = PARTS if part == "both" else (part,), prompt

    @cached_property
    def root(self) -> Path:
        return find_root(self.path)

    @cached_property
    def rows(self) -> dict[str, dict[str, str]]:
        rows: dict[str, dict[str, str]] = {}
        for part in self.parts:
            file = self.root / f"annotations_{part}.csv"
            rows |= read_table(file, dict.fromkeys(("aos", *PROMPTS), str), ADVICE, f"{part}-")
        return rows

    def ids(self) -> list[str]:
        return list(self.rows)

    def caption(self, image_id: str) -> str:
        return self.rows[image_id][self.prompt]

    def file(self, image_id: str) -> Path | None:
        file = place(self.root, "references", image_id)
        return file if file.is_file() else None
