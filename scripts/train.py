"""Train one of the models that ship with the repository: ``python scripts/train.py train=avatars64``."""

import sys
from pathlib import Path

import hydra
from hydra.utils import get_method

sys.path.insert(0, str(Path(__file__).parents[1]))


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
    get_method(f"isdiff.training.{kinds[cfg.train.kind]}")(cfg.train)


if __name__ == "__main__":
    main()
