"""Train one of the models that ship with isdiff: ``isdiff train train=avatars64``."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from isdiff.cli.hydra_app import start
from isdiff.errors import UserError, explained

KINDS = {
    "pixel": "pixel.train_pixel_model",
    "attributes": "attributes.train_attribute_model",
    "autoencoder": "autoencoder.train_autoencoder",
    "encoder": "encoder.train_encoder",
    "captions": "contrastive.train_captions",
    "latent": "latent.train_latent_model",
    "task_words": "latent.train_task_words",
}


def train(cfg: DictConfig) -> None:
    """
    Raises:
        UserError: there is no such kind of training, or it cannot begin.
    """
    from hydra.utils import get_method

    kind = cfg.train.kind
    if kind not in KINDS:
        raise UserError(f"train.kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    get_method(f"isdiff.training.{KINDS[kind]}")(cfg.train)


def main(arguments: list[str]) -> int:
    codes: list[int] = []

    def job(cfg: DictConfig) -> None:
        try:
            train(cfg)
        except (UserError, OSError) as error:
            print(f"isdiff: {explained(error)}", file=sys.stderr)
            codes.append(getattr(error, "exit_code", 1))
        except KeyboardInterrupt:
            sys.exit("isdiff: stopped; the same command goes on from the last saved state")

    try:
        start("train", "train", job, arguments)
    except UserError as error:
        print(f"isdiff: {error}", file=sys.stderr)
        return error.exit_code
    return max(codes, default=0)
