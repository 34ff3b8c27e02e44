"""Flow-matching models: what is refused, how they are asked, and the levels that they walk."""

import json

import pytest
import torch
from configured import tiny_flow_model

from isdiff.config.build import build
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.errors import UserError
from isdiff.models.base import Model


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["method=si", "model=flux1_dev"], "that of model flux1_dev receives no mask; give method=blended"),
        (["method=powerpaint", "model=flux1_fill"], "asks with PowerPaint; model flux1_fill takes"),
        (["method=blended", "model=flux1_dev", "model.image_size=100"], "image_size is 100; it must be a multiple"),
        (["method=blended", "model=flux1_dev", "model.family=flux3"], "model.family is 'flux3'"),
        (["method=blended", "model=flux1_dev", "+model.scheduler.slope=3"], "model.scheduler has no slope"),
        (["method=blended", "model=z_image", "model.scheduler.shift=much"], "model.scheduler does not fit"),
        (["method=mmps", "model=flux1_dev", "model.text_guidance=0"], "model.text_guidance is 0"),
    ],
)
def test_bad_values_are_refused_at_once(overrides, message):
    with pytest.raises(UserError, match=message):
        Setup.of(compose_run(overrides))


def test_guidance_is_for_texts():
    for prompt, scale in (("''", 1.0), ("'a dog'", 4.0)):
        setup = Setup.of(compose_run(["method=flower", "model=qwen_image", f"prompt={prompt}"]))
        assert setup.conditioning is not None and setup.conditioning.guidance_scale == scale


def test_levels_follow_the_size_where_the_scheduler_shifts_by_it():
    def noisiest(name: str, size: int, steps: int = 10) -> list[float]:
        made = build(compose_run([f"model={name}", f"model.image_size={size}"]).model, Model)
        return list(made.schedule.grid(steps, "leading").sigmas)

    assert noisiest("sd35_medium", 512) == noisiest("sd35_medium", 1024)
    for name in ("flux1_dev", "qwen_image", "flux2_klein"):
        small, large = noisiest(name, 512), noisiest(name, 1024)
        assert small[-1] == large[-1] == 1 and all(a < b for a, b in zip(small[1:-1], large[1:-1], strict=True))
    assert noisiest("qwen_image", 1024)[0] == pytest.approx(0.02)


def test_weights_that_the_configuration_does_not_describe_are_one_sentence(tmp_path):
    cfg = compose_run(["model=flux1_dev", "model.image_size=32"]).model
    folder = cfg.weights = str(tiny_flow_model(tmp_path / "flux", cfg))

    def refused(message: str, **changes) -> None:
        with pytest.raises(UserError, match=message):
            build({**cfg, **changes}, Model, "model").load(torch.device("cpu"))

    refused("needs a number as model.guidance", guidance=None)
    refused("gives other noise levels than model.scheduler", scheduler={"shift": 2.0})
    refused("flux1_dev cannot have random weights", weights="random")
    refused("is no whole diffusers inpainting pipeline", weights=f"{folder}/transformer")
    build({**cfg, "scheduler": {"use_dynamic_shifting": True, "shift": 3.0}}, Model).load(torch.device("cpu"))
    index = tmp_path / "flux" / "model_index.json"
    kinds = json.loads(index.read_text()) | {"scheduler": ["diffusers", "FlowMatchHeunDiscreteScheduler"]}
    index.write_text(json.dumps(kinds))
    refused("has a FlowMatchHeunDiscreteScheduler")


def test_networks_have_the_precision_and_texts_are_read(tmp_path):
    cfg = compose_run(["model=z_image", "model.image_size=32"]).model
    cfg.weights, cfg.tiling = str(tiny_flow_model(tmp_path / "z", cfg)), True
    prior = build(cfg, Model).load(torch.device("cpu"), "bf16")
    pipe = prior.family.pipe
    assert (pipe.transformer.dtype, pipe.text_encoder.dtype, pipe.vae.dtype) == (
        torch.bfloat16, torch.bfloat16, torch.float32,
    )  # fmt: skip
    assert pipe.vae.use_tiling and not any(p.requires_grad for p in pipe.transformer.parameters())
