"""Training-free diffusion inpainting: IS-Diff and what it is compared with."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("isdiff")
except PackageNotFoundError:  # the code lies on the path, but nobody installed it
    __version__ = "unknown"
