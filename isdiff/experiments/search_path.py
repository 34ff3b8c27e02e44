"""Where Hydra looks for configurations: see :func:`isdiff.paths.config_folders`."""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from isdiff.paths import config_folders, placed


class OtherFolders(SearchPathPlugin):
    """Folders beside Hydra's main one, whose names count where the ones before have none."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        there = {entry.path.removeprefix("file://") for entry in search_path.get_path()}
        for folder in map(str, config_folders()):
            if folder not in there:
                search_path.append("isdiff", f"file://{folder}")


def main_folder() -> str:
    """The folder that Hydra is to start from; what else our configurations need of Hydra is set up."""
    Plugins.instance().register(OtherFolders)
    OmegaConf.register_new_resolver("placed", lambda path: str(placed(path)), replace=True)
    OmegaConf.register_new_resolver("latent_model", latent_model, replace=True)
    return str(config_folders()[0])


def latent_model(dataset: str, kind: str) -> str:
    """The latent model that a data set names for methods of a kind; the small one that ships where it names none."""
    path = config_names("dataset").get(dataset)  # without one Hydra says so
    return (path and OmegaConf.select(OmegaConf.load(path), f"dataset.latent.{kind}")) or "avatars64_latent"


def config_names(group: str) -> dict[str, Path]:
    """The files of a group by their names, sorted."""
    found: dict[str, Path] = {}
    for folder in config_folders():
        for path in (folder / group).glob("*.yaml"):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))
