"""Run one experiment: ``isdiff run dataset=photos mask=half method=ddnm+isdiff limit=16 seed=0``.

With ``--multirun`` several, of which each may fail on its own, and at the end the table of ``isdiff compare``; with
``hydra/launcher=submitit_slurm`` on a cluster. Arguments are Hydra's: overrides, ``--cfg job``, ``--config-dir``,
``--help``, ... Exit codes: 0 all images are there; 1 the configuration does not work; 2 weights or images are missing;
3 some images could not be made.
"""

import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from isdiff.cli.command import tell
from isdiff.config.composing import as_typed, fault_of, parse, refuse
from isdiff.config.search_path import own_hydra
from isdiff.errors import SomeFailed, UserError, summed_up
from isdiff.io.files import atomic_save
from isdiff.loggers.base import drop_run_id
from isdiff.paths import placed

LAUNCHER = "hydra/launcher="
MULTIRUN = {"--multirun", "-m"}


def main(arguments: list[str]) -> int:
    """Return the worst exit code; a multirun ends with a line for each job, also where other processes ran it."""
    if MULTIRUN & {*arguments}:
        drop_run_id()
    folder = notes_folder(arguments)
    outcomes: list[list[Any]] = []  # what was asked for, what came of it, and its exit code

    def job(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        hydra = HydraConfig.get()
        words: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # ${...} may lead nowhere
        outcomes.append([words, *one_run(cfg)])
        if folder:
            number = 0 if OmegaConf.is_missing(hydra.job, "num") else hydra.job.num  # without -m there is none
            atomic_save(folder / f"{number:06d}.json", json.dumps(outcomes[-1]))

    failure = start(job, arguments, elsewhere=folder is not None)
    if folder:
        outcomes = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
        shutil.rmtree(folder, ignore_errors=True)
    if folder or len(outcomes) > 1:
        print("\n" + "\n".join(f"{' '.join(asked)}: {line}" for asked, line, _ in outcomes))
        print_comparison([asked for asked, _, code in outcomes if code in (0, SomeFailed.exit_code)])
    if failure:
        print(f"isdiff: {failure}", file=sys.stderr)
    return max([int(bool(failure)), *(code for *_, code in outcomes)])


def print_comparison(jobs: list[list[str]]) -> None:
    """The table of ``isdiff compare`` over the jobs of a multirun, where they can stand in one."""
    from isdiff.tables.compare import compare, swept_plan

    plan = swept_plan(jobs) if len(jobs) > 1 else None
    if plan is not None:
        folder, _ = compare(plan)
        print(f"\n{(folder / 'summary.md').read_text('utf-8')}\npictures and numbers: {folder}")


def notes_folder(arguments: Sequence[str]) -> Path | None:
    """A folder beside the runs, which all machines see that write them; None for jobs in this process."""
    name = next((word.partition("=")[2] for word in reversed(arguments) if word.startswith(LAUNCHER)), "")
    if name.startswith("submitit") and find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        what = f"{LAUNCHER}{name} needs the package hydra-submitit-launcher"
        raise UserError(f"{what}: pip install 'isdiff[cluster]'")
    if not name:
        return None
    given = [found for word in arguments if word.startswith("output_root=") and (found := parse(word))]
    root = placed(str(given[-1].value()) if given else "outputs")
    return (root / "multirun" / f".{uuid.uuid4().hex[:12]}").absolute()


def start(job: Callable[[DictConfig], None], arguments: Sequence[str], elsewhere: bool = False) -> str:
    """Call ``job`` with the configurations that the arguments describe.

    Returns a sentence if a job that a launcher ran ``elsewhere``, in another process, did not end by itself.
    """
    within = False

    def noted(cfg: DictConfig) -> None:
        nonlocal within
        within = True
        job(cfg)
        within = False

    sweeps = not MULTIRUN.isdisjoint(arguments)
    words = [word if word.startswith("-") else as_typed(word, sweeps) for word in arguments]
    words.sort(key=lambda word: word not in MULTIRUN)  # argparse wants all overrides in one place
    sys.argv = ["isdiff run", *words]  # Hydra reads them there
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it hands errors on, instead of printing tracebacks and ending
    try:
        with own_hydra() as folder:
            hydra.main(version_base="1.3", config_path=folder, config_name="config")(noted)()
    except Exception as error:  # Hydra's own and, where it had not thought of it, Python's
        if within or isinstance(error, BrokenPipeError):
            raise
        overrides = [word for word in arguments if not word.startswith("-") and ("=" in word or word.startswith("~"))]
        if not elsewhere or isinstance(error, HydraException) or any(fault_of(text, True) for text in overrides):
            raise refuse(overrides, error, sweeps=sweeps) from None
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"a job did not end by itself ({why}); what is finished is kept, the same command goes on from here"
    return ""


def one_run(cfg: DictConfig) -> tuple[str, int]:
    """Run, and print what came out or went wrong; returns a sentence about it and the exit code."""
    try:
        from isdiff.runs.run import execute  # takes seconds to import

        outcome = execute(cfg)
    except KeyboardInterrupt:
        print("isdiff: stopped; the same command goes on from here", file=sys.stderr)
        sys.stderr.flush()
        os._exit(130)  # Hydra's clean-up would show a traceback
    except Exception as error:
        line = tell(error)
        print(f"isdiff: {line}", file=sys.stderr)
        return line, getattr(error, "exit_code", 1)
    summary, failed, folder = outcome.summary, outcome.failed, outcome.experiment.store.path
    print((folder / "summary.md").read_text("utf-8"))
    print(f"results: {folder}")
    for line in summed_up(failed):
        print(f"isdiff: {line}", file=sys.stderr)
    values = [f"{name} {m['value']:.4g}" for name, m in summary["metrics"].items() if m.get("value") is not None]
    some = [f"{len(failed)} failed"] if failed else []
    return ", ".join([f"{summary['n']} images", *some, *values]), SomeFailed.exit_code * bool(failed)
