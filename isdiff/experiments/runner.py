"""Runs that are computed by several processes before a table or a comparison is made from them.

A run's folder is named by what its results depend on, so nothing is handed back: the table takes up what is there, as
after a stop. A process that dies is started again, and goes on with the run that it was at.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from isdiff.errors import UserError, explained
from isdiff.experiments.build import as_dict
from isdiff.experiments.experiment import Experiment
from isdiff.experiments.run import Listener, execute

RETRIES = 3  # times that a run is taken up again whose process died


@dataclass(frozen=True)
class Job:
    """Runs with the same folder, which one process makes one after the other.

    ``calls`` are the network calls that the images take which are missing, as far as that is known before; ``model``
    is the name of the runs' model.
    """

    name: str
    configs: tuple[dict[str, Any], ...]
    calls: int = 0
    model: str = ""


class Runner(Protocol):
    def compute(self, jobs: list[Job]) -> None:
        """Make all runs of ``jobs``; one that cannot be made is left to the table, which says why.

        Raises:
            UserError: there is no room for the processes, or they died again and again.
        """


def jobs_of(runs: Iterable[tuple[str, DictConfig]]) -> list[Job]:
    """Runs by their folders, no run twice; those that cannot be begun are left to the table, which says why."""
    found: dict[str, Job] = {}
    for name, cfg in runs:
        try:
            experiment = Experiment.of(cfg)
            experiment.require(experiment.ids())
        except UserError:
            continue
        place, config = str(experiment.store.path), as_dict(cfg, resolve=False)
        before = found.get(place, Job(name, (), model=experiment.setup.model.name))
        if config not in before.configs:
            images = len(set(experiment.ids()) - experiment.store.records().keys())
            calls = max(before.calls, images * experiment.setup.calls_expected())  # the same images, all or some
            found[place] = replace(before, configs=(*before.configs, config), calls=calls)
    return list(found.values())


def computed(configs: Sequence[dict[str, Any]], listen: Listener | None = None) -> str:
    """Make these runs here; a sentence about the first that could not be made, empty without one."""
    for config in configs:
        cfg = OmegaConf.create(config)
        cfg.runtime.workers = 1  # the pool's processes are enough
        try:
            execute(cfg, listen)
        except (UserError, OSError) as error:
            return explained(error)
        except Exception:
            return traceback.format_exc()
    return ""


def refuse_dead(died: Sequence[str]) -> None:
    """
    Raises:
        UserError: there are runs whose processes died each time.
    """
    if died:
        more = f" (and {len(died) - 1} more)" if len(died) > 1 else ""
        raise UserError(
            f"the processes that computed {died[0]}{more} died {RETRIES + 1} times; what is finished is kept, run the "
            "same command again to go on"
        )
