"""Model folders from the Hugging Face hub, at one revision, with the sha256 of every file noted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isdiff.errors import Missing, UserError
from isdiff.files import atomic_open, sha256_file

SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class HubEntry:
    """One repository of the manifest.

    Attributes:
        name: what ``model=`` and ``scripts/weights.py`` call it.
        repo: ``owner/name`` on the hub; removed originals are replaced by the copies that people use.
        revision: commit; None where nobody has published one: the first download's is then kept.
        allow: patterns of the files that are needed.
        gigabytes: about how much that is.
    """

    name: str
    repo: str
    allow: tuple[str, ...]
    licence: str
    source: str
    gigabytes: float
    revision: str | None = None


def download(entry: HubEntry, folder: Path) -> Path:
    """Fetch (or go on fetching) the repository into ``folder`` and note the hashes.

    Raises:
        UserError: the hub refuses, has no such repository or revision, or cannot be reached; or the files are not
            those that were noted before.
    """
    from huggingface_hub import snapshot_download

    revision = entry.revision or noted_revision(folder)
    try:
        snapshot_download(entry.repo, revision=revision, allow_patterns=list(entry.allow), local_dir=folder)
        revision = revision or current_revision(entry.repo)
    except Exception as error:  # the hub's client has many kinds, from no network to a gated repository
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"could not fetch {entry.repo} from the hub ({reason}). What came is kept; run the same command to go on, "
            f"or put a copy of the repository into {folder}"
        ) from None
    if (folder / SUMS).exists():
        verify(folder)
    else:
        lines = [f"{sha256_file(file)}  {file.relative_to(folder).as_posix()}\n" for file in model_files(folder)]
        with atomic_open(folder / SUMS) as stream:
            stream.writelines([f"# {entry.repo} at {revision}\n", *lines])
    return folder


def current_revision(repo: str) -> str | None:
    from huggingface_hub import HfApi

    return HfApi().model_info(repo).sha


def noted_revision(folder: Path) -> str | None:
    """The commit that an earlier download noted."""
    note = folder / SUMS
    return note.read_text().splitlines()[0].split()[-1] if note.exists() else None


def model_files(folder: Path) -> list[Path]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != SUMS)
    return sorted(p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def verify(folder: Path) -> int:
    """How many files there are, all of which have the hashes noted.

    Raises:
        Missing: files are not here.
        UserError: files have changed.
    """
    noted = [line.split("  ", 1) for line in (folder / SUMS).read_text().splitlines() if not line.startswith("#")]
    if absent := [name for _, name in noted if not (folder / name).exists()]:
        raise Missing([f"{folder / absent[0]} is missing: python scripts/weights.py get {folder.name}"])
    if changed := [name for digest, name in noted if sha256_file(folder / name) != digest]:
        raise UserError(f"{folder / changed[0]} does not have the sha256 noted in {SUMS}; delete it and get it again")
    return len(noted)
