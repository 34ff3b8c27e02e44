"""Where files are: what is read is looked for in several places, what is written goes to one.

A relative path is one of ``ISDIFF_HOME``, or of the working folder where that is not set. What is read may also be in
the working folder, or be among the ``configs``, ``models`` and ``data`` that travel with the package; the first that is
there counts, file by file. Nothing is ever written into the package.
"""

import os
from pathlib import Path

from isdiff.packages import named_packages, package_folder

PACKAGE = Path(__file__).parent
TRAVELS = ("configs", "models", "data")


def home() -> Path | None:
    named = os.environ.get("ISDIFF_HOME", "")
    return Path(named).expanduser().absolute() if named else None


def is_checkout() -> bool:
    """Whether this code runs from a checkout of its repository; an installed wheel carries its files inside."""
    return not (PACKAGE / "_shipped").is_dir() and (PACKAGE.parent / "configs" / "config.yaml").is_file()


def shipped() -> Path:
    """The folder that holds the ``configs``, ``models`` and ``data`` that came with this code."""
    return PACKAGE.parent if is_checkout() else PACKAGE / "_shipped"


def placed(path: str | Path) -> Path:
    """Where ``path`` is written: absolute ones as they are, relative ones in ``ISDIFF_HOME`` or the working folder."""
    return (home() or Path()) / os.path.expanduser(path)


def located(path: str | Path) -> Path:
    """Where ``path`` is read from: ``ISDIFF_HOME``, else the working folder, else the package.

    Where there is none, it is the place where one would be written, so that messages name it.
    """
    path = Path(os.path.expanduser(path))
    if path.is_absolute():
        return path
    travels = path.parts[:1] and path.parts[0] in TRAVELS and ".." not in path.parts
    places = [placed(path), path, *([shipped() / path] if travels else [])]
    return next((place for place in places if os.path.exists(place)), places[0])


def config_folders() -> list[Path]:
    """The folders with configurations, absolute, in the order in which a name is looked up in them.

    The first is a whole set, known by ``isdiff/on.yaml``: that of ``ISDIFF_HOME``, of the working folder, or the
    package's. Others add names and replace none, as they may belong to another program. Those of plugins come last.
    """
    bases = [*filter(None, [home()]), Path().absolute(), shipped()]
    bases += [package_folder(name) for name in named_packages()]
    folders = [base / "configs" for base in dict.fromkeys(base.resolve() for base in bases)]
    folders = [folder for folder in folders if folder.is_dir()]
    return sorted(folders, key=lambda folder: not (folder / "isdiff" / "on.yaml").is_file())
