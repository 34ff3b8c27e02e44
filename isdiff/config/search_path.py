"""Where Hydra looks for configurations: see :func:`isdiff.paths.config_folders`."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.version import VersionBase
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from isdiff.paths import config_folders, placed

STATE = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)


class OtherFolders(SearchPathPlugin):
    """Folders beside Hydra's main one, whose names count where the ones before have none."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        there = {entry.path.removeprefix("file://") for entry in search_path.get_path()}
        for folder in map(str, config_folders()):
            if folder not in there:
                search_path.append("isdiff", f"file://{folder}")


@contextmanager
def own_hydra() -> Iterator[str]:
    """Yield the folder that Hydra starts from. Afterwards Hydra is as before, for other programs in this process."""
    own: dict[type, Any] = {Plugins: deepcopy(Plugins.instance())}  # finds them, once
    instances, resolvers = Singleton._instances, BaseContainer._resolvers
    own |= {cls: it for cls, it in instances.items() if cls not in (Plugins, *STATE)}
    Singleton._instances, BaseContainer._resolvers = own, dict(resolvers)
    try:
        Plugins.instance().register(OtherFolders)
        OmegaConf.register_new_resolver("placed", lambda path: str(placed(path)), replace=True)
        OmegaConf.register_new_resolver("latent_model", latent_model, replace=True)
        OmegaConf.register_new_resolver("names", lambda group: ", ".join(config_names(group)), replace=True)
        yield str(config_folders()[0])
    finally:
        Singleton._instances, BaseContainer._resolvers = instances, resolvers


def latent_model(dataset: str, kind: str) -> str:
    """The latent model that a data set names for methods of a kind; the small one that ships where it names none."""
    path = config_names("dataset").get(dataset)  # without one Hydra says so
    return (path and OmegaConf.select(OmegaConf.load(path), f"dataset.latent.{kind}")) or "avatars64_latent"


def config_names(group: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in config_folders():
        for path in (folder / group).glob("*.yaml"):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))
