"""Where Hydra looks for configurations: see :func:`isdiff.paths.config_folders`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from isdiff.paths import config_folders, placed

STATE = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)


@contextmanager
def own_hydra() -> Iterator[str]:
    """Yield the folder that Hydra starts from. Afterwards Hydra is as before, for other programs in this process."""
    Plugins.instance()  # finds them, once
    instances, resolvers = Singleton._instances, BaseContainer._resolvers
    Singleton._instances = {cls: it for cls, it in instances.items() if cls not in STATE}
    BaseContainer._resolvers = dict(resolvers)
    try:
        OmegaConf.register_new_resolver("other_folders", other_folders, replace=True)
        OmegaConf.register_new_resolver("placed", lambda path: str(placed(path)), replace=True)
        OmegaConf.register_new_resolver("latent_model", latent_model, replace=True)
        OmegaConf.register_new_resolver("names", lambda group: ", ".join(config_names(group)), replace=True)
        yield str(config_folders()[0])
    finally:
        Singleton._instances, BaseContainer._resolvers = instances, resolvers


def other_folders() -> list[str]:
    """Folders beside the one that Hydra starts from, whose names count where the ones before have none."""
    return [f"file://{folder}" for folder in config_folders()[1:]]


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
