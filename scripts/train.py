"""Train a model of ``models/``: ``python scripts/train.py train=avatars64 [KEY=VALUE ...]``; see scripts/training.

A training that was stopped goes on from its last saved state when the same command runs again.
"""

import argparse
import sys
from pathlib import Path

import installed  # noqa: F401
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isdiff.cli.command import guard
from isdiff.errors import UserError
from training import CONFIGS, KINDS


def configured(overrides: list[str]) -> DictConfig:
    """The configuration of a training."""
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            cfg = compose("train", overrides).train
            OmegaConf.resolve(cfg)
        if cfg.kind not in KINDS:
            raise UserError(f"train.kind is {cfg.kind!r}; it must be one of {', '.join(KINDS)}")
        return cfg
    except (AttributeError, ValueError, HydraException, OmegaConfBaseException) as error:
        raise UserError(f"these overrides do not compose: {' '.join(str(error).split())}") from None


def main(arguments: list[str]) -> None:
    """Train what is asked for."""
    trainings = ", ".join(sorted(path.stem for path in Path(CONFIGS, "train").glob("*.yaml")))
    parser = argparse.ArgumentParser(description=f"Train a model of models/. Trainings: {trainings}.")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="train=NAME, train.optim.lr=1e-4, seed=1 ...")
    cfg = configured(parser.parse_args(arguments).overrides)
    get_method(f"training.{KINDS[cfg.kind]}")(cfg)


if __name__ == "__main__":  # processes that draw images import this file as well
    sys.exit(guard(lambda: main(sys.argv[1:])))
