"""The wheel carries the configurations, the shipped models and the test images inside the package.

Everything else is in ``pyproject.toml``. An editable install copies nothing: the code then finds them in the checkout.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
DRAWN = ("avatars", "drawings", "landscapes")
SHIPPED = (  # as isdiff.paths looks for them; no photographs and drawings for training, no downloads
    "configs/**/*.yaml",
    "models/manifest.yaml",
    *(f"models/{name}/**/*" for name in ("avatars64", "avatars64-latent", "drawings64", "photos64")),
    *(f"data/{name}/{file}" for name in DRAWN for file in ("test.*", "dev.*", "CREDITS.md")),
    *(f"data/photos/{file}" for file in ("photos.csv", "test.csv", "dev.csv", "CREDITS.md", "test/*.webp")),
    "data/manifests/*.csv",
    "data/masks/*.txt",
)


def shipped() -> list[str]:
    """Paths of the files, relative to the repository."""
    found = {path.relative_to(ROOT) for pattern in SHIPPED for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


class BuildWithShipped(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "isdiff", "_shipped")
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier build
        for file in shipped():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, folder / file)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        folder = Path(self.build_lib, "isdiff", "_shipped")
        copies = [] if self.editable_mode else [str(folder / file) for file in shipped()]
        return [*super().get_outputs(include_bytecode), *copies]

    def get_source_files(self) -> list[str]:  # what a source distribution takes along
        return [*super().get_source_files(), *shipped()]


setup(cmdclass={"build_py": BuildWithShipped})
