"""Run one experiment: ``isdiff run dataset=photos mask=half method=ddnm+isdiff limit=16 seed=0``.

With ``--multirun`` several, of which each may fail on its own; with ``hydra/launcher=submitit_slurm`` on a cluster.
Exit codes: 0 all images are there; 1 the configuration does not work; 2 weights or images are missing; 3 some images
could not be made.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from isdiff.cli.hydra_app import start, start_elsewhere
from isdiff.cli.outcomes import Outcome, Outcomes, launcher
from isdiff.errors import SomeFailed, UserError, explained, summed_up
from isdiff.loggers.base import several

if TYPE_CHECKING:
    from isdiff.runs.store import RunFolder


def one_run(cfg: DictConfig) -> tuple[str, int]:
    """A sentence about the run and its exit code; prints what went wrong."""
    try:
        from isdiff.runs.run import execute  # takes seconds to import

        outcome = execute(cfg)
    except (UserError, OSError) as error:
        print(f"isdiff: {explained(error)}", file=sys.stderr)
        return explained(error), getattr(error, "exit_code", 1)
    except KeyboardInterrupt:
        print("isdiff: stopped; the same command goes on from here", file=sys.stderr)
        sys.stderr.flush()
        os._exit(130)  # Hydra's clean-up would show a traceback
    return told(outcome.experiment.store, outcome.summary, outcome.failed)


def told(store: RunFolder, summary: dict[str, Any], failed: dict[str, str]) -> tuple[str, int]:
    """Prints what came out; a sentence about it and the exit code."""
    print((store.path / "summary.md").read_text("utf-8"))
    print(f"results: {store.path}")
    for line in summed_up(failed):
        print(f"isdiff: {line}", file=sys.stderr)
    found = {name: m.get("value") for name, m in summary["metrics"].items()}
    values = (f"{name} {value:.4g}" for name, value in found.items() if value is not None)
    some = [f"{len(failed)} failed"] if failed else []
    return ", ".join([f"{summary['n']} images", *some, *values]), SomeFailed.exit_code * bool(failed)


def main(arguments: list[str]) -> int:
    """The exit code: the worst of a multirun, which ends with a table."""
    try:
        if {"-m", "--multirun"} & {*arguments}:
            several()
        return launched(arguments) if launcher(arguments) else here(arguments)
    except UserError as error:
        print(f"isdiff: {error}", file=sys.stderr)
        return error.exit_code


def here(arguments: list[str]) -> int:
    """The exit code of jobs that run in this process.

    Raises:
        UserError: the overrides do not compose.
    """
    outcomes: list[Outcome] = []

    def job(cfg: DictConfig) -> None:
        line, code = one_run(cfg)
        outcomes.append((asked_for(), line, code))

    start("run", "config", job, arguments)
    return concluded(outcomes, len(outcomes) > 1)


def asked_for() -> str:
    from hydra.core.hydra_config import HydraConfig

    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # ${...} may lead nowhere
    return " ".join(words)


def concluded(outcomes: list[Outcome], shown: bool) -> int:
    """The worst exit code; prints a line for each job if they are to be ``shown``."""
    if shown:
        print("\n" + "\n".join(f"{asked}: {line}" for asked, line, _ in outcomes))
    return max((code for *_, code in outcomes), default=0)


def launched(arguments: list[str]) -> int:
    """The exit code of jobs that a launcher runs elsewhere; what they print is in the launcher's files."""
    notes = Outcomes(arguments)

    def job(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        line, code = one_run(cfg)
        hydra_job = HydraConfig.get().job
        number = 0 if OmegaConf.is_missing(hydra_job, "num") else hydra_job.num  # without -m there is none
        notes.note(number, asked_for(), line, code)

    failure = start_elsewhere("run", "config", job, arguments)
    code = concluded(notes.collect(), shown=True)
    if failure:
        print(f"isdiff: {failure}", file=sys.stderr)
    return max(code, 1 if failure else 0)
