"""Train one of the models that ship with the repository: ``python scripts/train.py train=avatars64``."""

import sys
from pathlib import Path

import hydra

sys.path.insert(0, str(Path(__file__).parents[1]))


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg) -> None:
    from isdiff.training.attributes import train_attribute_model
    from isdiff.training.pixel import train_pixel_model

    {"pixel": train_pixel_model, "attributes": train_attribute_model}[cfg.train.kind](cfg.train)


if __name__ == "__main__":
    main()
