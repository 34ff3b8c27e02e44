"""Values of a run that belong to no object that is built from a ``_target_``."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isdiff.checks import BadValue, check_choice, check_flag, check_number, check_whole
from isdiff.component import Component
from isdiff.config.build import resolved
from isdiff.data.images import paste, scale
from isdiff.errors import UserError

GROUPS = ("dataset", "mask", "model", "method", "sampler", "isdiff", "latent", "runtime", "metrics", "logger", "output")
TEXTS = ("prompt", "negative_prompt")
VALUES = ("limit", "seed", *TEXTS, "output_root", "data_root", "model_root")
KEYS = (*GROUPS, *VALUES)
PARTS = {"method": ("name", "known", "fill"), "isdiff": ("seed", "start", "criterion", "refine")}
AUTO, GRAPHS = "auto", "graphs"
REPAID = {"cpu": 20_000, "cuda": 100_000}  # network calls, by image, that should repay compiling: estimates


@dataclass(frozen=True)
class Runtime:
    """How a run uses the machine; ``configs/runtime/default.yaml`` explains the keys."""

    device: str = "auto"
    precision: str = "auto"  # the fastest that the device computes in
    batch_size: int | str = 16  # auto: the smallest of the fastest, found by trying
    workers: int = 1
    compile: bool | str = False  # auto: where the run's network calls repay it; graphs: each call is one CUDA graph
    pad_to: int = 4  # network batches are filled up to a multiple of it

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, ("fp32", "bf16", "fp16", "auto"))
        check_whole("workers", self.workers)
        check_whole("pad_to", self.pad_to)
        if self.batch_size != AUTO:
            check_whole("batch_size", self.batch_size)
        if self.compile not in (AUTO, GRAPHS):
            check_flag("compile", self.compile)
        if self.batch_size == AUTO and self.compile:
            raise BadValue("batch_size is auto; with compile it must be a number")

    @property
    def slots(self) -> int:
        return 16 if isinstance(self.batch_size, str) else self.batch_size

    def compiled(self, device: str, calls: Callable[[], int]) -> bool:
        """Tell whether a run of so many network calls on this type of device compiles its network.

        Nothing but the configuration decides: a run that is taken up again must go on with the same kernels.
        """
        if self.compile == GRAPHS and device != "cuda":
            raise UserError(f"runtime.compile is graphs, which needs a CUDA device, not {device}; give true or false")
        return calls() >= REPAID.get(device, math.inf) if self.compile == AUTO else bool(self.compile)


@dataclass(eq=False)
class Output(Component):
    """What is saved of a picture."""

    composite: str = "paste"  # known pixels are the input's; blend: they fade beside the hole; raw: the sampler's
    seam: float = 4  # width of that fading in pixels
    scale: bool = False  # whether images of another size than the model's are scaled for it, and results back

    def __post_init__(self) -> None:
        check_choice("composite", self.composite, ("paste", "blend", "raw"))
        check_number("seam", self.seam)
        check_flag("scale", self.scale)

    def fingerprint(self) -> dict[str, Any]:
        blended = {"seam": self.seam} if self.composite == "blend" else {}
        return {"composite": self.composite} | blended | ({"scale": True} if self.scale else {})

    def __call__(self, picture: np.ndarray, given: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """Combine ``picture`` (any size) and the input, (H, W, 3) uint8, at the hole (H, W) bool."""
        picture = scale(picture, hole.shape)
        if self.composite == "raw":
            return picture
        return paste(picture, given, hole, self.seam * (self.composite == "blend"))


def check_settings(cfg: Mapping[str, Any]) -> None:
    """Refuse keys that nobody reads, and values that belong to nobody else."""
    for group, parts in PARTS.items():
        if spare := [key for key in resolved(cfg.get(group), group) if key not in parts]:
            hint = "; settings of its steps are sampler's, such as sampler.eta" if group == "method" else ""
            raise UserError(f"{group}.{spare[0]} is no key of {group}, which has {', '.join(parts)}{hint}")
    for group in ("dataset", "mask", "method", "model"):
        name = resolved(cfg.get(group), group).get("name")
        if not (isinstance(name, str) and re.fullmatch(r"[\w][\w.+-]{0,99}", name)):
            raise UserError(f"{group}.name is {name!r}; it names folders: letters, digits, '_', '-', '+' and '.' only")
    for part in ("seed", "refine"):
        node = resolved(cfg["isdiff"].get(part), f"isdiff.{part}")
        check_flag(f"isdiff.{part}.enabled", node.get("enabled", False))
    check_whole("seed", cfg["seed"], low=None)
    if cfg["limit"] is not None:
        check_whole("limit", cfg["limit"])


def text_of(value: Any) -> str:
    """Read a prompt: ``@path`` is the text in a file (``@@...`` a text that begins with @), null none."""
    text = "" if value is None else str(value)
    if text.startswith("@@"):
        return text[1:]
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        marked = path.read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Windows' editors and shells do
        found = path.read_text("utf-16" if marked else "utf-8-sig").strip()
        if "\0" in found:  # UTF-16 without its mark
            raise ValueError
        return found
    except OSError:
        raise UserError(f"prompt={text}: there is no text file {path}") from None
    except ValueError:
        raise UserError(f"prompt={text}: {path} is no text in UTF-8 or UTF-16; save it as UTF-8") from None
