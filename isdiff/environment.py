"""What a result was made with."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from isdiff.paths import is_checkout

PACKAGES = ("isdiff", "torch", "numpy", "scikit-learn", "opencv-python-headless", "hydra-core")


def package_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def git_commit() -> str:
    """Commit of the checkout that this code lies in, with ``+changes`` if it has any; ``unknown`` outside one.

    An installed package may lie in somebody else's repository, whose commits say nothing about it.
    """
    if not is_checkout():
        return "unknown"

    def run(*args: str) -> str:
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 10, "check": True}
        return str(subprocess.run(["git", *args], cwd=Path(__file__).parent, **options).stdout).strip()

    try:
        return run("rev-parse", "--short=12", "HEAD") + ("+changes" if run("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = "CPU"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or cpu
    threads = torch.get_num_threads()
    return f"{cpu}, {threads} thread{'s' * (threads > 1)}"


def peak_memory_mib(device: torch.device) -> float:
    """Most memory used so far: of the device's allocator on a GPU, of the process on the CPU; 0 where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
