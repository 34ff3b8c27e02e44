"""The hash of results follows what changes pixels, and nothing else."""

import json
import shutil

import pytest
from configured import choices
from conftest import ROOT
from omegaconf import OmegaConf, open_dict

from isdiff.component import Component
from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup, config_hash
from isdiff.data.files import BenchmarkDataset, FolderDataset
from isdiff.errors import UserError
from isdiff.io.files import sha256_file
from isdiff.masks.files import FileMask
from isdiff.models.latent import LatentModel
from isdiff.models.pixel import PixelModel
from isdiff.runs.experiment import Experiment

GUIDED = ["model=adm256_cond", "dataset=celeba", "method=ddnm"]


def name(*overrides: str, precision: str = "bf16") -> str:
    return config_hash(Setup.of(compose_run(overrides)).fingerprint(precision))


SAME = {
    "the machine, reports, names": (
        ["method=ddnm"],
        [
            "runtime.device=cpu", "runtime.batch_size=3", "runtime.workers=2", "limit=7", "output_root=/x",
            "logger=wandb", "metrics.bootstrap=3", "metrics.names=[ssim]", "+model.how=ask", "model.name=other",
        ],
    ),
    "defaults written out": (
        ["method=ddnm+isdiff", "mask=wide"],
        [
            "sampler.eta=0.85", "mask.seed=0", "isdiff.seed.components=5", "isdiff/criterion=dce",
            "isdiff.start.step=0.8", "model.isdiff.start=0.8",
        ],
    ),
    "no IS-Diff": (
        ["method=ddnm"],
        [
            "isdiff/seed=mean", "isdiff.start.step=0.7", "isdiff.refine.attempts=2", "isdiff.criterion.bins=4",
            "model.isdiff.tau=9",
        ],
    ),
    "no refinement": (
        ["method=ddnm", "isdiff=seed_only"],
        ["isdiff.refine.tau=1", "isdiff.refine.checkpoint=0.1", "isdiff.criterion.bins=4"],
    ),
    "no seed": (["method=ddnm", "isdiff=refine_only"], ["isdiff.seed.scale=2", "isdiff.start.step=0.7"]),
    "no resampling": (["method=ddnm+isdiff"], ["sampler.jump=3"]),
    "no seam": (["method=ddnm"], ["output.seam=9"]),
    "no network": (
        ["method=telea"],
        ["model=photos64", "sampler=heun", "sampler.steps=3", "runtime.pad_to=1"],
    ),
    "no text": (["method=si"], ["model.text_guidance=5"]),
    "no classifier": ([*GUIDED, "model.guidance_scale=0"], ["model.classifier.weights=/x.safetensors"]),
    "how files are found": (
        ["dataset=celeba", "method=ddnm"],
        ["dataset.advice=none", "dataset.path=/x", "dataset.patterns=['{number}.webp']", "dataset.total=3"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("base, changes", SAME.values(), ids=SAME)
def test_what_changes_no_pixel_changes_no_hash(base, changes):
    assert {change: name(*base, change) for change in changes} == dict.fromkeys(changes, name(*base))


OTHER = {
    "run": (["method=ddnm"], ["seed=1", "runtime.pad_to=1", "output.composite=raw", "output.composite=blend"]),
    "mask": (["method=ddnm"], ["mask=expand", "mask=wide"]),
    "mask's arguments": (["mask=wide"], ["mask.seed=1"]),
    "dataset": (["method=ddnm"], ["dataset=photos", "dataset.split=dev", "dataset.count=9"]),
    "photographs": (["dataset=photos"], ["dataset.split=dev", "dataset.count=9"]),
    "size and crop": (
        ["dataset=celeba", "method=ddnm"],
        ["model=repaint_celeba256 model.image_size=512", "dataset.preprocess=guided_diffusion"],
    ),
    "method": (["method=ddnm"], ["method=repaint", "method=ddnm isdiff=on", "method=ddnm+isdiff"]),
    "rule": (["method=repaint"], ["method.known.clip_denoised=false"]),
    "steps": (["method=ddnm"], ["sampler.steps=50", "sampler.spacing=trailing", "sampler.repeat=2", "sampler.jump=5"]),
    "sampler": (["method=ddnm"], ["sampler=ddim", "sampler=heun", "sampler.eta=0.5", "sampler.version=simplified"]),
    "seed": (
        ["method=ddnm+isdiff"],
        [
            "isdiff/seed=gaussian", "isdiff/seed=mean", "isdiff/seed=oracle", "isdiff.seed.components=4",
            "isdiff.seed.scale=2", "isdiff.seed.max_pixels=100", "isdiff.seed.fit=sklearn",
            "isdiff.start.step=0.81", "isdiff.start.lambda=0.06",
        ],
    ),
    "refinement": (
        ["method=ddnm+isdiff"],
        [
            "isdiff.refine.attempts=2", "isdiff.refine.tau=1", "isdiff.refine.checkpoint=0.5",
            "isdiff.criterion.bins=8", "isdiff.criterion.smoothing=0.1", "isdiff.criterion.texture=0",
            "isdiff.criterion.direction=known",
            "isdiff=seed_only", "isdiff=refine_only", "isdiff=careful", "isdiff.refine.margin=0.3",
            "isdiff=off", "model.isdiff.tau=9",
        ],
    ),
    "model": (
        ["method=ddnm"],
        [
            "model=drawings64", "model.noise_schedule=cosine", "model.num_timesteps=500", "+model.num_classes=3",
            "model.weights=random",
        ],
    ),
    "classifier": (GUIDED, ["model.guidance_scale=2", "model.classifier.weights=models/avatars64/unet.safetensors"]),
    "latent": (
        ["method=si", "prompt=caption"],
        [
            "prompt=red", "negative_prompt=blue", "latent.guidance_scale=2", "model.text_guidance=5",
            "method=powerpaint", "method=hd_painter", "model.variant=fp16",
        ],
    ),
    "latent task": (["method=powerpaint"], ["latent.task=text-guided", "latent.fitting_degree=0.5"]),
    "seam": (["output.composite=blend"], ["output.seam=9"]),
}  # fmt: skip


@pytest.mark.parametrize("base, changes", OTHER.values(), ids=OTHER)
def test_what_changes_pixels_changes_the_hash(base, changes):
    found = {"": name(*base)} | {change: name(*base, *change.split()) for change in changes}
    assert len(set(found.values())) == len(found), found


def test_leaving_a_default_out_is_writing_it_out():
    cfg = compose_run(["method=ddnm+isdiff"])
    with_all = config_hash(Setup.of(cfg).fingerprint("fp32"))
    for node, key in (("sampler", "version"), ("isdiff.criterion", "bins"), ("isdiff.seed", "max_pixels")):
        short = cfg.copy()
        with open_dict(short):
            del OmegaConf.select(short, node)[key]
        assert config_hash(Setup.of(short).fingerprint("fp32")) == with_all
    assert config_hash(Setup.of(cfg).fingerprint("bf16")) != with_all


def test_data_models_and_the_working_folder_may_move(tmp_path, monkeypatch):
    bases = [["method=ddnm+isdiff"], ["method=si"], ["dataset=photos", "method=ddnm"]]
    before = [name(*base) for base in bases]
    moved = tmp_path / "moved"
    for part in ("avatars/test.zip", "avatars/test.csv", "photos/test.csv", "photos/photos.csv"):
        (moved / "data" / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "data" / part, moved / "data" / part)
    for model in ("avatars64", "avatars64-latent", "photos64"):
        (moved / "models").mkdir(exist_ok=True)
        (moved / "models" / model).symlink_to(ROOT / "models" / model)
    roots = [f"data_root={moved / 'data'}", f"model_root={moved / 'models'}"]
    assert [name(*base, *roots) for base in bases] == before
    monkeypatch.chdir(moved)
    assert [name(*base) for base in bases] == before


def test_other_content_at_the_same_place_is_another_hash(tmp_path):
    weights = tmp_path / "net.safetensors"
    model = PixelModel("m", str(weights), 64)
    found = [model.fingerprint()["weights"]]
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        found.append(model.fingerprint()["weights"])
    assert found == ["missing", *found[1:]] and len(set(found)) == 3 and found[2] == sha256_file(weights)
    guide = {"name": "c", "weights": str(weights)}
    guided = PixelModel("m", "random", 64, guidance_scale=1.0, classifier=guide).fingerprint()
    assert guided["classifier"] == "random c", "the name says which network it is"
    hub = [LatentModel("m", "owner/name", 64, revision=r).fingerprint()["weights"] for r in (None, "v1")]
    assert hub == ["owner/name", "owner/name@v1"]
    manifest = tmp_path / "manifest.csv"
    found = []
    for number in (1, 2):
        manifest.write_text(f"id,number\na,{number}\n")
        found.append(BenchmarkDataset("celeba", "/x", 64, str(manifest), ["{number}.png"], "").fingerprint())
    assert found[0] != found[1]


def test_folders_of_images_and_masks_may_move_but_not_take_turns(tmp_path):
    """What lies in them is in the records of each image; two folders of other names are two runs."""
    for parent in ("here", "there"):
        for folder in ("mine", "yours"):
            (tmp_path / parent / folder).mkdir(parents=True)
    for kind in (lambda path: FolderDataset(str(path), 64), lambda path: FileMask(str(path))):
        here, there = kind(tmp_path / "here" / "mine"), kind(tmp_path / "there" / "mine")
        assert here.fingerprint() == there.fingerprint() != kind(tmp_path / "here" / "yours").fingerprint()
    assert FileMask(str(tmp_path)).fingerprint() != FileMask(str(tmp_path), invert=True).fingerprint()


def test_every_method_on_shipped_data_has_a_hash_of_its_own():
    """Plain and with IS-Diff; of the others the plain ones differ."""
    methods = [name for name in choices("method") if "+" not in name or name == "si+isdiff"]
    kept = [Setup.of(compose_run([f"method={method}"])).fingerprint("fp32") for method in methods]
    assert len({config_hash(each) for each in kept}) == len(methods)
    for each in kept:
        assert json.loads(json.dumps(each)) == each and str(ROOT) not in json.dumps(each)


def test_a_component_says_what_it_was_made_with():
    class Part(Component):
        not_hashed = ("where",)

        def __init__(self, size: float, where: str = "", inner=None, *, names=("a",)) -> None:
            self.size = size

    class Bare(Component):
        pass

    found = Part(2.0, "/x", Bare()).fingerprint()
    assert found.pop("class").endswith("Part") and found.pop("inner")["class"].endswith("Bare")
    assert found == {"size": 2, "names": ["a"]} and Part(2).fingerprint() == Part(size=2.0, where="y").fingerprint()
    with pytest.raises(TypeError, match="object is no part of a fingerprint"):
        Part(object()).fingerprint()


@pytest.mark.parametrize("key", ["isdiff.tau", "model.isdiff.strat", "runtime.x", "output.x", "method.x", "typo"])
def test_a_key_that_nobody_reads_is_refused_in_one_sentence(key):
    """Arguments of classes are in contracts/test_contract_arguments.py."""
    with pytest.raises(UserError, match=rf"\b{key.split('.')[-1]}\b"):
        Setup.of(compose_run(["method=si", f"+{key}=1"]))


@pytest.mark.parametrize(
    "gone",
    [
        "~dataset", "~isdiff.refine", "~method.known", "isdiff.seed=null", "latent=3", "~model.weights",
        "logger._target_=os.system", "model._target_=isdiff.masks.generated.HalfMask",
    ],
)  # fmt: skip
def test_what_is_missing_or_of_another_kind_is_one_sentence(gone):
    cfg = compose_run(["method=si+isdiff"])
    key, _, value = gone.partition("=")
    with open_dict(cfg):
        if key.startswith("~"):
            node, _, last = key[1:].rpartition(".")
            del (OmegaConf.select(cfg, node) if node else cfg)[last]
        else:
            OmegaConf.update(cfg, key, {"null": None, "3": 3}.get(value, value), merge=False)
    with pytest.raises(UserError):
        Setup.of(cfg)


def test_folders_and_titles_say_how_far_a_method_goes():
    runs = [Experiment.of(compose_run(f"method={method}".split())) for method in ("ddnm+isdiff", "ddnm isdiff=on")]
    assert runs[0].setup.label == runs[1].setup.label == "ddnm+isdiff", "tables may call both the same"
    assert [run.store.path.name for run in runs] == [f"100x1-{runs[0].hash}", f"100x10-{runs[1].hash}"]
    assert [run.setup.title.partition(",")[2] for run in runs] == [" 100 steps", " 100 steps, resampling (10, 10)"]
