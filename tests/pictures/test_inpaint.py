"""``isdiff.inpaint``: the run's own results, any kind and size of image, and one sentence for what cannot be used."""

import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

import isdiff
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.diffusion.schedule import TimestepPlan
from isdiff.errors import UserError
from isdiff.known import NullSpace
from isdiff.models.patches import PatchModel
from isdiff.pictures.windows import Window
from isdiff.runs.experiment import Experiment
from isdiff.runs.run import execute
from isdiff.samplers.solvers import DDNMSteps

FAST = {"steps": 2, "overrides": ["runtime.precision=fp32", "sampler.repeat=1"]}


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def corner(height: int, width: int) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[: height // 2, : width // 2] = True
    return hole


@pytest.mark.parametrize(
    ("code", "heavy"),
    [("isdiff", "torch hydra omegaconf matplotlib wandb gradio diffusers transformers sklearn cv2 PIL numpy"),
     ("isdiff; isdiff.inpaint", "matplotlib wandb gradio diffusers transformers")],
)  # fmt: skip
def test_importing_and_using_it_loads_no_more_than_it_needs(code, heavy):
    code = f"import sys, {code}; print({{*{heavy!r}.split()}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert {"inpaint", "Inpainter", "Job", "Engine", "Task", "UserError"} <= {*dir(isdiff)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = isdiff.nothing


@pytest.mark.parametrize(
    ("method", "dataset", "mask", "model"),
    [("ddnm+isdiff", "photos", "half", "photos64"), ("si+isdiff", "avatars", "half", None)],
)  # fmt: skip
def test_a_datasets_image_gives_the_runs_result_to_the_bit(tmp_path, method, dataset, mask, model):
    given = ["runtime.precision=fp32", "sampler.repeat=1"]
    cfg = compose_run([
        f"method={method}", f"dataset={dataset}", f"mask={mask}", "limit=2", "seed=3", "sampler.steps=2",
        "metrics.names=[]", f"output_root={tmp_path}", *given,
    ])  # fmt: skip
    experiment = execute(cfg).experiment
    ids, records = experiment.ids(), experiment.store.records()
    images = [experiment.dataset.image(i) for i in ids]
    result = isdiff.inpaint(images, mask, method, model, seed=3, ids=ids, steps=2, overrides=given)
    for image_id, image, trace in zip(ids, result.images, result.trace, strict=True):
        record = records[image_id]
        assert (image == experiment.store.image(image_id)).all()
        assert len(trace) == 1 and trace[0].network_calls == record["network_calls"]
        assert [round(dce, 6) for dce in trace[0].dce if dce is not None] == record["dce"]
        assert trace[0].start_timesteps == record["start_timesteps"] and trace[0].chosen == record["chosen_attempt"]
    assert result.seed_images is not None
    hidden = experiment.setup.masks.hole(ids[0], 64, 64)
    other = np.where(hidden[..., None], 255 - images[0], images[0])
    again = isdiff.inpaint(other, mask, method, model, seed=3, ids=ids[0], steps=2, overrides=given).image
    assert (again == result.images[0]).all(), "what the hole hides is not looked at"
    assert (isdiff.inpaint(other, mask, method, model, seed=4, steps=2, overrides=given).image != again).any()


def test_kinds_sizes_and_batches():
    pixels, hole = smooth(50, 90), corner(50, 90)
    array = isdiff.inpaint(pixels, hole, "telea").image
    assert (array[~hole] == pixels[~hole]).all() and (array[hole] != pixels[hole]).any()
    mask = Image.fromarray(hole.astype(np.uint8) * 255)
    assert (np.asarray(isdiff.inpaint(Image.fromarray(pixels), mask, "telea").image) == array).all()
    assert (isdiff.inpaint(pixels, np.asmatrix(~hole), "telea", invert=True).image == array).all()
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    batch = isdiff.inpaint(torch.stack([tensor.flip(2), tensor]), torch.from_numpy(hole), "telea")
    assert batch.images.shape == (2, 3, 50, 90) and (batch.images[1].permute(1, 2, 0).numpy() == array).all()
    with pytest.raises(UserError, match="2 images"):
        _ = batch.image
    fractions = isdiff.inpaint([pixels / 255, pixels], [hole], "telea")
    assert (np.rint(fractions.images[0] * 255) == array).all(), "whatever kind it has, and among others"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*unlike the images")
def test_tiles_and_thin_pictures():
    pixels, hole = smooth(70, 200), np.ones((70, 200), bool)
    hole[20:50, 80:120] = False
    squares = {**FAST, "model": "avatars64", "reduction": 1}
    result = isdiff.inpaint(pixels, hole, **squares)
    coarse, *fine = result.trace[0]
    assert coarse.window.coarse and len(fine) > 3 and all(trace.window.height == 64 for trace in fine)
    assert (result.image[~hole] == pixels[~hole]).all()
    many = isdiff.inpaint([smooth(64, 64), pixels, smooth(90, 64)], ["half", hole, "center"], **squares)
    assert (many.images[1] == result.image).all(), "whatever shares its batches"
    thin = smooth(3, 40)
    result = isdiff.inpaint(thin, "half", **FAST)
    assert result.image.shape == thin.shape and (result.image[:, :20] == thin[:, :20]).all()


def test_transparency_is_a_mask_and_is_filled():
    pixels, hole = smooth(64, 80), corner(64, 80)
    image = Image.fromarray(np.dstack([pixels, np.where(hole, 0, 200).astype(np.uint8)]))
    made = np.asarray(isdiff.inpaint(image, "alpha", **FAST).image)
    assert (made[..., 3] == np.where(hole, 255, 200)).all() and (made[~hole] == np.asarray(image)[~hole]).all()
    with pytest.raises(UserError, match="no transparency"):
        isdiff.inpaint(pixels, "alpha")


def test_prompts_of_latent_models():
    pixels = [smooth(64, 64)] * 2
    options = {"method": "si", "ids": ["a", "a"], **FAST}
    texts = isdiff.inpaint(pixels, "half", prompt=["red hair", "glasses"], **options)
    one = isdiff.inpaint(pixels[0], "half", prompt="glasses", **(options | {"ids": ["a"]}))
    assert (texts.images[1] == one.image).all() and (texts.images[0] != one.image).any()


def test_a_scratch_between_the_pixels_that_published_code_looks_at_is_filled():
    """In latent models, whose cells are 4 pixels wide; a run over a dataset takes the hole as published code does."""
    hole = np.zeros((64, 64), bool)
    hole[30:32, 4:60] = True
    inpainter, tasks = isdiff.Inpainter("si", **FAST), []
    ready = inpainter.experiment.ready
    inpainter.experiment.ready = lambda name: tasks.append((found := ready(name)).task) or found
    (filled,) = inpainter.stream([isdiff.Job("a", smooth(64, 64), hole)])
    assert filled.failure is None and tasks[0].hole[0].nonzero().tolist() == [[7, x] for x in range(1, 15)]
    inpainter.experiment.prior.conditioning.whole = Experiment.of(compose_run(["method=si"])).setup.conditioning.whole
    published = inpainter.experiment.prior.prepare(
        replace(tasks[0], image=torch.zeros(3, 64, 64), hole=tasks[0].hidden)
    )
    assert not published.hole.any()


def test_a_stream_goes_on_after_a_picture_that_fails():
    inpainter = isdiff.Inpainter(**FAST)
    jobs = [isdiff.Job(f"p{n}", smooth(64, 64, n), corner(64, 64)) for n in range(3)]
    alone = {f.job.name: f.values for f in inpainter.stream(jobs[2:])}
    real = inpainter.experiment.prior.prepare

    def refuse(task, prompt=""):
        if task.id.startswith("p1"):
            raise UserError(f"image {task.id} is not to be had")
        return real(task, prompt)

    inpainter.experiment.prior.prepare = refuse
    found = {f.job.name: f for f in inpainter.stream(iter(jobs))}
    assert found["p1"].failure == "image p1 is not to be had" and not found["p0"].failure
    assert (found["p2"].values == alone["p2"]).all() and found["p2"].trace[0].window == Window(0, 0, 64, 64)


IMAGE = smooth(64, 64)
HOLE = corner(64, 64)
TENSOR = torch.from_numpy(IMAGE.copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("image", "hole", "options", "says"),
    [
        (IMAGE, ~HOLE & HOLE, {}, "hides nothing"),
        (IMAGE, HOLE * 3, {}, "it must be a Pillow image, a path, or an array"),
        ([], HOLE, {}, "no image is given"),
        ([IMAGE] * 3, [HOLE] * 2, {}, "2 holes for 3 images"),
        (IMAGE * 3.0, HOLE, {}, "fractions must be from 0 to 1"),
        (IMAGE, HOLE, {"method": "none"}, "there is no method 'none'; there are blended"),
        (IMAGE, HOLE, {"model": "adm256_uncond"}, "isdiff weights get adm256_uncond"),
        (IMAGE, HOLE, {"steps": 0}, "steps is 0"),
        (IMAGE, HOLE, {"size": 100}, "multiple of 32"),
        (IMAGE, HOLE, {"seed": 1.5}, "seed is 1.5"),
        (IMAGE, HOLE, {"ids": ["a", "b"]}, "a text for each of 1 images"),
        (IMAGE, HOLE, {"prompt": ["a", "b"]}, "2 prompts for 1 images"),
        (IMAGE, HOLE, {"prompt": "a cat"}, "takes no text"),
        (IMAGE, HOLE, {"overrides": "sampler.steps=2"}, "must be a list"),
        ([TENSOR, TENSOR.to("meta")], HOLE, {}, "image 1 is no dense tensor"),
        (IMAGE, HOLE, {"overrides": ["mask=half"]}, "mask=half is no override here"),
        (IMAGE, HOLE, {"method": "si", "model": "photos64"}, "latent model"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, monkeypatch, image, hole, options, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        isdiff.inpaint(image, hole, **options)
    assert says in str(caught.value)


def test_jobs_of_one_name_keep_their_own_pictures():
    """Also where their holes are filled in several rounds."""
    first, second = smooth(96, 256), smooth(96, 256, 1)
    hole = np.zeros((96, 256), bool)
    hole[:, 40:] = True
    inpainter = isdiff.Inpainter("ddnm", "photos64", steps=1, overrides=FAST["overrides"])
    jobs = [isdiff.Job("photo", image, hole, key="photo") for image in (first, second)]
    together = {id(filled.job): filled for filled in inpainter.stream(jobs)}
    assert len(together) == 2
    for job in jobs:
        assert not together[id(job)].failure
        (alone,) = inpainter.stream([job])
        assert (alone.values == together[id(job)].values).all()


def set_for_the_process() -> list:
    from diffusers.utils import logging as diffusers
    from transformers.utils import logging as transformers

    found = [[each.get_verbosity(), each.is_progress_bar_enabled()] for each in (diffusers, transformers)]
    streams = [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]
    own = [torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()]
    return [*found, *streams, *own, dict(os.environ), [*sys.argv], os.getcwd()]


def test_what_the_caller_has_set_changes_nothing_and_stays(method="si+isdiff", model=None):
    """torch's defaults, autocast and random stream, and what its libraries print."""
    from diffusers.utils import logging as diffusers

    pixels, hole = smooth(64, 64), corner(64, 64)
    expected = isdiff.inpaint(pixels, hole, method, model, **FAST).image
    verbosity = diffusers.get_verbosity()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    diffusers.set_verbosity_info()
    try:
        before = set_for_the_process()
        with np.errstate(all="raise"), torch.autocast("cpu", torch.bfloat16):
            found = isdiff.inpaint(pixels, hole, method, model, **FAST).image
            inpainter = isdiff.Inpainter(method, model, **FAST)
            for _ in inpainter.stream([isdiff.Job("a", pixels, hole)]):
                assert torch.get_default_dtype() == torch.float64 and torch.is_autocast_enabled("cpu")
        assert set_for_the_process() == before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        diffusers.set_verbosity(verbosity)
    assert (found == expected).all()


@pytest.mark.slow
def test_a_caller_with_a_hydra_of_its_own_keeps_it(tmp_path):
    """In a process of its own: with ``@hydra.main``, after ``initialize_config_dir``, and afterwards."""
    (tmp_path / "config.yaml").write_text("mine: 1\nhydra: {run: {dir: .}, output_subdir: null}\n")
    (tmp_path / "main.py").write_text(f"""
import hydra, numpy as np, isdiff
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("placed", lambda text: "the caller's")
fill = lambda: isdiff.inpaint(np.full((8, 8, 3), 99, np.uint8), "half", "telea").image.tolist()

@hydra.main(config_path=".", config_name="config", version_base="1.1")
def main(cfg):
    inside = fill()
    assert inside == expected and HydraConfig.get().job.config_name == "config" and cfg == {{"mine": 1}}

expected = fill()
main()
hydra.initialize_config_dir({str(tmp_path)!r}, version_base=None)
assert fill() == expected and hydra.compose("config") == {{"mine": 1}}
try:
    hydra.compose("method/telea")
except hydra.errors.MissingConfigException:
    print(OmegaConf.create({{"a": "${{placed:x}}"}}).a)
""")
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "the caller's\n", done.stderr


@pytest.mark.parametrize(
    ("what", "model"), [("isdiff.pictures.jobs.PIXELS", "avatars64"), ("isdiff.config.setup.PIXELS", "patches")]
)
def test_pictures_under_way_are_bounded_in_pixels(monkeypatch, what, model):
    jobs = [isdiff.Job(str(seed), smooth(64, 64, seed), corner(64, 64)) for seed in range(4)]
    results = []
    for limit, most in ((5000, 2), (1 << 24, 4)):
        monkeypatch.setattr(what, limit)
        inpainter, seen = isdiff.Inpainter("ddnm", model, steps=2, overrides=["sampler.repeat=1"]), []
        made = inpainter.stream(jobs, watch=lambda glimpses, seen=seen: seen.append(len(glimpses)))
        results.append({filled.job.name: filled.values for filled in made})
        assert max(seen) == most and len(results[-1]) == 4
        assert all((values == results[0][name]).all() for name, values in results[-1].items())


def test_objects_do_what_their_names_do():
    method = isdiff.Method(DDNMSteps(), NullSpace(), TimestepPlan(steps=3, repeat=2), name="ddnm")
    given = {"overrides": ["runtime.precision=fp32"]}
    named = isdiff.inpaint(IMAGE, HOLE, "ddnm", "patches", steps=3, overrides=[*given["overrides"], "sampler.repeat=2"])
    assert (isdiff.inpaint(IMAGE, HOLE, method, **given).image == named.image).all(), "patches are the default"
    prior = PatchModel().load(torch.device("cpu"))
    loaded = isdiff.inpaint(IMAGE, HOLE, method, isdiff.LoadedModel(prior, image_size=None), **given)
    assert (loaded.image == named.image).all()
    first = isdiff.inpaint(IMAGE, HOLE, "ddnm+isdiff", "photos64", **FAST)
    cfg = Setup.of(compose_run(["method=ddnm+isdiff", "model=photos64"]))
    second = isdiff.inpaint(IMAGE, HOLE, "ddnm+isdiff", cfg.model, **FAST)
    assert (first.image == second.image).all(), "a model's own values of IS-Diff count"
    seeded = replace(method, start=cfg.start, refinement=cfg.refinement)
    assert isdiff.Inpainter(seeded, cfg.model, steps=7).label == "ddnm+isdiff"
    for wrong, says in (
        ({"overrides": ["sampler.eta=1"]}, "sampler.eta=1 is no override here"),
        ({"model": cfg.model, "size": 64}, "size is 64"),
        ({"model": prior}, r"isdiff\.LoadedModel\(prior, 64\)"),
        ({"prompt": "a cat"}, "takes no text"),
        ({"negative_prompt": "a cat"}, "leave it out here"),
    ):
        with pytest.raises(UserError, match=says):
            isdiff.inpaint(IMAGE, HOLE, method, **wrong)
