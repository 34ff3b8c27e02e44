"""What a result was made with."""

import platform
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from isdiff.paths import is_checkout

PACKAGES = ("isdiff", "torch", "numpy", "scikit-learn", "opencv-python-headless", "hydra-core")


def package_versions() -> dict[str, str]:
    versions = dict.fromkeys(("python", *PACKAGES), "not installed") | {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def git_commit() -> str:
    """Commit of the checkout that this code lies in, with ``+changes`` if it has any; ``unknown`` outside one."""
    if not is_checkout():  # an installed package may lie in somebody else's repository
        return "unknown"

    def run(*args: str) -> str:
        return subprocess.check_output(
            ["git", *args], cwd=Path(__file__).parent, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()

    try:
        return run("rev-parse", "--short=12", "HEAD") + ("+changes" if run("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    path, threads = Path("/proc/cpuinfo"), torch.get_num_threads()
    named = re.search("model name\\s*: *(.*)", path.read_text()) if path.exists() else None
    return f"{named[1] if named else platform.processor() or 'CPU'}, {threads} thread{'s' * (threads > 1)}"


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
