"""Train one of the models that ship with the repository: ``python scripts/train.py train=avatars64``."""

import sys
from pathlib import Path

import hydra
from hydra.utils import get_method

sys.path.insert(0, str(Path(__file__).parents[1]))

from isdiff.errors import UserError, explained


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg) -> None:
    kinds = {
        "pixel": "pixel.train_pixel_model",
        "attributes": "attributes.train_attribute_model",
        "autoencoder": "autoencoder.train_autoencoder",
        "encoder": "encoder.train_encoder",
        "captions": "contrastive.train_captions",
        "latent": "latent.train_latent_model",
        "task_words": "latent.train_task_words",
    }
    if cfg.train.kind not in kinds:
        sys.exit(f"isdiff: train.kind is {cfg.train.kind!r}; it must be one of {', '.join(kinds)}")
    try:
        get_method(f"isdiff.training.{kinds[cfg.train.kind]}")(cfg.train)
    except (UserError, OSError) as error:
        sys.exit(f"isdiff: {explained(error)}")
    except KeyboardInterrupt:
        sys.exit("isdiff: stopped; the same command goes on from the last saved state")


if __name__ == "__main__":
    main()
