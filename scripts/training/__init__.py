"""How the models in ``models/`` were trained: ``python scripts/train.py train=avatars64``. Not part of the wheel."""

from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"
KINDS = {  # of train.kind, and the function of this package that trains it
    "pixel": "pixel.train_pixel_model",
    "attributes": "attributes.train_attribute_model",
    "autoencoder": "autoencoder.train_autoencoder",
    "encoder": "autoencoder.train_encoder",
    "captions": "contrastive.train_captions",
    "latent": "latent.train_latent_model",
    "task_words": "latent.train_task_words",
}
