"""Model folders from the Hugging Face hub, at one revision, with the sha256 of every file noted.

Their parts are loaded whole, with every tensor that the network has, or not at all.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isdiff.errors import Missing, UserError
from isdiff.io.files import atomic_save, read_hashes, sha256_file
from isdiff.paths import located
from isdiff.process_state import quiet

SUMS = "SHA256SUMS"
FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")  # never the end of an id on the hub


@dataclass(frozen=True)
class HubEntry:
    """One repository of the manifest; ``name`` is what ``model=`` and ``isdiff weights`` call it."""

    name: str
    repo: str  # owner/name on the hub; removed originals are replaced by the copies that people use
    allow: list[str]  # patterns of the files that are needed
    licence: str
    source: str
    gigabytes: float
    revision: str | None = None  # commit; None where nobody has published one


def is_hub_id(weights: str) -> bool:
    """Tell ``owner/name`` from a weights file and from something in a folder that is here."""
    id_like = re.fullmatch(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*", weights)
    return id_like is not None and Path(weights).suffix not in FILES and not located(Path(weights).parent).is_dir()


def brief(error: BaseException) -> str:
    """Take the first line of another library's error, at most 200 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


@quiet()
def load_part(cls: Any, folder: Path, part: str, variant: str | None = None, dtype: torch.dtype | None = None) -> Any:
    """Load a model or tokenizer of diffusers or transformers from ``folder / part``, with all of its tensors.

    Both libraries fill tensors that a file lacks with random numbers and go on; here that is an error.
    """
    is_net = isinstance(cls, type) and issubclass(cls, torch.nn.Module)
    options: dict[str, Any] = {"output_loading_info": True, "variant": variant} if is_net else {}
    if is_net and dtype is not None:
        options["torch_dtype"] = dtype
    try:
        if not (folder / part).is_dir():
            raise FileNotFoundError("the folder is missing")
        loaded = cls.from_pretrained(str(folder), subfolder=part, local_files_only=True, **options)
        if not is_net:
            return loaded
        net, info = loaded
        if wrong := [*info.get("missing_keys", ()), *info.get("mismatched_keys", ())]:
            raise ValueError(f"tensor {wrong[0]} is missing or has another shape")
    except Exception as error:  # of two libraries and their readers in Rust, which raise bare ones too
        raise UserError(f"{folder / part} holds no whole {cls.__name__} ({brief(error)}); get it again") from None
    check_finite(net.state_dict(), folder / part)
    return net


def check_finite(tensors: Mapping[str, torch.Tensor], source: Path) -> None:
    """Refuse tensors with NaN or infinity, also as float32."""
    for name, value in tensors.items():
        # torch tests no 8-bit floats, and float64 can exceed what the networks' float32 holds.
        wide = value.float() if value.is_floating_point() and value.itemsize in (1, 8) else value
        if not torch.isfinite(wide).all():
            raise UserError(f"{source}: tensor {name[:100]} is not finite (NaN or infinity); get it again")


def download(entry: HubEntry, folder: Path) -> Path:
    """Fetch (or go on fetching) the repository into ``folder`` and note the hashes."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        revision = HfApi().model_info(entry.repo, revision=entry.revision).sha  # without a network this fails at once
        snapshot_download(entry.repo, revision=revision, allow_patterns=entry.allow, local_dir=folder)
    except Exception as error:  # the hub's client has many kinds, from no network to a gated repository
        raise UserError(
            f"could not fetch {entry.repo} from the hub ({brief(error)}). What came is kept; run the same command to "
            f"go on, or put a copy of the repository into {folder}"
        ) from None
    if (folder / SUMS).exists():
        verify(folder)
    else:
        lines = [f"{sha256_file(file)}  {file.relative_to(folder).as_posix()}\n" for file in model_files(folder)]
        atomic_save(folder / SUMS, "".join([f"# {entry.repo} at {revision}\n", *lines]))
    return folder


def model_files(folder: Path) -> list[Path]:
    """List the files of a model's folder, sorted, without notes and hidden ones."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    return sorted(p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def verify(folder: Path, sha256: Callable[[Path], str] = sha256_file) -> int:
    """Check that all files have their noted hashes, which ``sha256`` works out; returns the number of files."""
    noted = read_hashes(folder / SUMS, f"get {folder.name} again")
    if absent := [name for name in noted if not (folder / name).is_file()]:
        raise Missing([f"{folder / absent[0]} is missing: isdiff weights get {folder.name}"])
    if changed := [name for name, digest in noted.items() if sha256(folder / name) != digest]:
        raise UserError(f"{folder / changed[0]} does not have the sha256 noted in {SUMS}; delete it and get it again")
    return len(noted)
