"""Holes that a latent model does not see."""

import numpy as np
from configured import tiny_latent_model, write_images
from PIL import Image

from isdiff.config.composing import compose_run
from isdiff.runs.run import execute


def test_a_hole_that_vanishes_in_latents_is_said(tmp_path, capsys):
    """A run keeps to published code's masks, and says so; a wide hole needs no sentence."""
    tiny_latent_model(tmp_path / "latent")
    write_images(tmp_path / "images", 32, 1)
    mask = np.zeros((32, 32), np.uint8)
    for columns, said in ((slice(17, 18), True), (slice(8, 32), False)):
        mask[:, columns] = 255
        Image.fromarray(mask).save(tmp_path / "mask.png")
        execute(compose_run([
            "dataset=folder", f"dataset.path={tmp_path}/images", "mask=files", f"mask.path={tmp_path}/mask.png",
            "method=si", "model=avatars64_latent", f"model.weights={tmp_path}/latent", "model.image_size=32",
            "sampler.steps=2", "metrics.names=null", f"output_root={tmp_path}/out-{said}",
        ]))  # fmt: skip
        err = capsys.readouterr().err
        assert ("vanishes in its latents, as in published code: 1 images, first im0" in err) == said
