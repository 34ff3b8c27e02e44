"""Run one experiment: ``isdiff run dataset=photos mask=half method=ddnm+isdiff limit=16 seed=0``.

With ``--multirun`` several, of which each may fail on its own; with ``hydra/launcher=submitit_slurm`` on a cluster.
Exit codes: 0 all images are there; 1 the configuration does not work; 2 weights or images are missing; 3 some images
could not be made.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from isdiff.cli.command import tell
from isdiff.cli.hydra_app import MULTIRUN, start
from isdiff.config.composing import parse
from isdiff.errors import SomeFailed, UserError, summed_up
from isdiff.io.files import atomic_open
from isdiff.loggers.base import drop_run_id
from isdiff.paths import placed

if TYPE_CHECKING:
    from isdiff.runs.store import RunFolder

LAUNCHER = "hydra/launcher="


def main(arguments: list[str]) -> int:
    """The worst exit code; a multirun ends with a line for each job, also where other processes ran it."""
    if MULTIRUN & {*arguments}:
        drop_run_id()
    folder = notes_folder(arguments) if launcher(arguments) else None
    outcomes: list[list[Any]] = []  # what was asked for, what came of it, and its exit code

    def job(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        hydra = HydraConfig.get()
        words: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # ${...} may lead nowhere
        outcomes.append([" ".join(words), *one_run(cfg)])
        if folder:
            number = 0 if OmegaConf.is_missing(hydra.job, "num") else hydra.job.num  # without -m there is none
            with atomic_open(folder / f"{number:06d}.json") as stream:
                json.dump(outcomes[-1], stream)

    failure = start("run", "config", job, arguments, elsewhere=folder is not None)
    if folder:
        outcomes = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
        shutil.rmtree(folder, ignore_errors=True)
    if folder or len(outcomes) > 1:
        print("\n" + "\n".join(f"{asked}: {line}" for asked, line, _ in outcomes))
    if failure:
        print(f"isdiff: {failure}", file=sys.stderr)
    return max([int(bool(failure)), *(code for *_, code in outcomes)])


def launcher(arguments: Sequence[str]) -> str:
    """The launcher that is asked for; empty for Hydra's own, which runs jobs in this process."""
    name = next((word.partition("=")[2] for word in reversed(arguments) if word.startswith(LAUNCHER)), "")
    if name.startswith("submitit"):
        try:
            import hydra_plugins.hydra_submitit_launcher  # noqa: F401
        except ImportError:
            what = f"{LAUNCHER}{name} needs the package hydra-submitit-launcher: pip install 'isdiff[cluster]'"
            raise UserError(what) from None
    return name


def notes_folder(arguments: Sequence[str]) -> Path:
    """A folder beside the runs, which all machines see that write them."""
    given = [found for word in arguments if word.startswith("output_root=") and (found := parse(word))]
    return (
        placed(str(given[-1].value()) if given else "outputs") / "multirun" / f".{uuid.uuid4().hex[:12]}"
    ).absolute()


def one_run(cfg: DictConfig) -> tuple[str, int]:
    """A sentence about the run and its exit code; prints what came out or went wrong."""
    try:
        from isdiff.runs.run import execute  # takes seconds to import

        outcome = execute(cfg)
        return report(outcome.experiment.store, outcome.summary, outcome.failed)
    except KeyboardInterrupt:
        print("isdiff: stopped; the same command goes on from here", file=sys.stderr)
        sys.stderr.flush()
        os._exit(130)  # Hydra's clean-up would show a traceback
    except Exception as error:
        line = tell(error)
        print(f"isdiff: {line}", file=sys.stderr)
        return line, getattr(error, "exit_code", 1)


def report(store: RunFolder, summary: dict[str, Any], failed: dict[str, str]) -> tuple[str, int]:
    """Print what came out; returns a sentence about it and the exit code."""
    print((store.path / "summary.md").read_text("utf-8"))
    print(f"results: {store.path}")
    for line in summed_up(failed):
        print(f"isdiff: {line}", file=sys.stderr)
    values = [f"{name} {m['value']:.4g}" for name, m in summary["metrics"].items() if m.get("value") is not None]
    some = [f"{len(failed)} failed"] if failed else []
    return ", ".join([f"{summary['n']} images", *some, *values]), SomeFailed.exit_code * bool(failed)
