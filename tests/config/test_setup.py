"""What a run is made of: content and values that are checked first, prompts, and anything at all."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from configured import choices
from conftest import ROOT, Answers, run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from isdiff.cli import main
from isdiff.config.build import named_class
from isdiff.config.composing import compose_run
from isdiff.config.settings import text_of
from isdiff.config.setup import Setup, config_hash
from isdiff.data.shipped import DrawnDataset
from isdiff.errors import UserError
from isdiff.masks.base import MaskSource

QUICK = ["model=avatars64", "method=ddnm", "sampler.repeat=1", "sampler.steps=2", "metrics.names=null"]


def run(out: Path, *overrides: str, code: int = 0):
    done = run_script(*QUICK, f"output_root={out}", *overrides, check=False)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    return done


def folder(out: Path) -> Path:
    (found,) = {p.parent for p in out.rglob("per_image.jsonl")}
    return found


def pictures(out: Path) -> dict[str, bytes]:
    return {p.stem: p.read_bytes() for p in sorted((folder(out) / "images").glob("*.png"))}


@pytest.fixture
def faces(tmp_path):
    """Three image files of one's own."""
    data = DrawnDataset("avatars", root=str(ROOT / "data"))
    (tmp_path / "faces").mkdir()
    for name, image_id in zip("abc", data.ids(), strict=False):
        Image.fromarray(data.image(image_id)).save(tmp_path / "faces" / f"{name}.png")
    return tmp_path / "faces"


@pytest.mark.slow
def test_replaced_photographs_and_edited_masks_are_sampled_anew(faces, tmp_path):
    mask, out = tmp_path / "mask.png", tmp_path / "out"
    hole = np.zeros((64, 64), np.uint8)
    hole[:, 32:] = 255
    Image.fromarray(hole).save(mask)
    options = ["dataset=folder", f"dataset.path={faces}", "mask=files", f"mask.path={mask}"]
    run(out, *options)
    first = pictures(out)
    image = np.asarray(Image.open(faces / "b.png")).copy()
    Image.fromarray(255 - image).save(faces / "b.png")
    (faces / "c.png").touch()  # a new date alone changes nothing
    done = run(out, *options)
    second = pictures(out)
    assert "images or masks changed since the last run: 1 (first: b)" in done.stderr
    assert [name for name in "abc" if first[name] != second[name]] == ["b"]
    Image.fromarray(hole.T.copy()).save(mask)
    done = run(out, *options)
    assert "changed since the last run: 3 (first: a)" in done.stderr and "changed" not in run(out, *options).stderr
    assert not set(pictures(out).values()) & set(second.values())
    records = [json.loads(line) for line in (folder(out) / "per_image.jsonl").open()]
    assert len({r["image_sha"] for r in records}) == 3 and len({r["mask_sha"] for r in records}) == 1


def test_a_finished_run_keeps_its_circumstances(tmp_path):
    out = tmp_path / "out"
    run(out, "dataset=avatars", "limit=2", "metrics.names=[ssim]", "metrics.bootstrap=20")
    summary, first = (folder(out) / "summary.json").read_bytes(), pictures(out)
    run(out, "dataset=avatars", "limit=2", "metrics.names=[ssim]", "metrics.bootstrap=20", "runtime.batch_size=1")
    assert (folder(out) / "summary.json").read_bytes() == summary
    run(out, "dataset=avatars", "limit=3", "metrics.names=[ssim]", "metrics.bootstrap=20", "runtime.batch_size=1")
    third = json.loads((folder(out) / "summary.json").read_text())
    assert third["batch_size"] == 1 and third["n"] == 3 and first.items() <= pictures(out).items()


@pytest.mark.parametrize(
    "override",
    ["isdiff.refine.enabled=off", "runtime.compile=maybe", "seed=true", "mask.name=../../x", "model.name=null"],
)
def test_strings_are_no_switches_and_names_no_paths(override):
    with pytest.raises(UserError, match=f"^{override.partition('=')[0]} is "):
        Setup.of(compose_run(["method=ddnm+isdiff", override]))


@pytest.mark.parametrize(
    "target",
    [
        "os.system", "isdiff.environment.subprocess.Popen", "isdiff.nets.unet.UNet", "isdiff.no_such.Thing", "isdiff",
        "", None, "isdiff..masks", "isdiff.masks.generated.np.ndarray", "isdiffer.masks.Fake",
    ],
)  # fmt: skip
def test_only_masks_can_be_named_as_masks(target):
    with pytest.raises(UserError, match="only a MaskSource of isdiff, or"):
        named_class(target, MaskSource)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00\ufeff"), min_size=1, max_size=40)
SI = compose_run(["method=si"])


@given(TEXTS.filter(lambda text: text.strip() == text and not text.startswith("@")))
def test_any_text_can_be_a_prompt_by_file(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "prompt.txt"
    path.write_text(text, "utf-8", newline="")
    cfg = SI.copy()
    cfg.prompt = f"@{path}"
    setup = Setup.of(cfg)
    assert setup.prompt == text
    assert Setup.again(setup.config).prompt == text, "also in another process"


def test_prompts_that_begin_with_at():
    assert Setup.of(compose_run(["method=si", "prompt='@@home'"])).prompt == "@home"
    assert text_of("@@home") == "@home" and text_of("red") == "red" and text_of(None) == ""
    with pytest.raises(UserError, match=r"there is no text file nowhere\.txt"):
        text_of("@nowhere.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_prompts_in_files_of_other_editors(tmp_path, encoding):
    mark = "" if encoding in ("utf-8", "utf-8-sig", "utf-16") else "\ufeff"
    (tmp_path / "prompt.txt").write_bytes(f"{mark}a café\r\non the left\r\n".encode(encoding))
    assert text_of(f"@{tmp_path / 'prompt.txt'}") == "a café\non the left"
    for wrong in ("café".encode("latin-1"), "no mark".encode("utf-16-le")):
        (tmp_path / "prompt.txt").write_bytes(wrong)
        with pytest.raises(UserError, match="is no text in UTF-8 or UTF-16; save it as UTF-8"):
            text_of(f"@{tmp_path / 'prompt.txt'}")


KEYS = [
    "sampler.steps", "sampler.eta", "sampler.jump", "sampler.repeat", "sampler.spacing", "isdiff.seed.components",
    "isdiff.start.step", "isdiff.seed.scale", "isdiff.seed.max_pixels", "isdiff.refine.attempts",
    "isdiff.start.lambda", "isdiff.refine.tau", "isdiff.refine.checkpoint", "isdiff.criterion.bins",
    "isdiff.criterion.smoothing", "isdiff.criterion.texture", "isdiff.criterion.direction", "runtime.batch_size",
    "runtime.workers",
    "runtime.pad_to", "runtime.precision", "limit", "seed", "output.composite", "output.seam", "metrics.bootstrap",
    "metrics.names", "prompt", "sampler.version", "model.num_timesteps", "model.noise_schedule", "model.image_size",
]  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2000), st.floats(width=32), st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=2),
)  # fmt: skip
WHOLE = compose_run(["method=ddnm+isdiff", "dataset=avatars"])


@pytest.mark.slow
@settings(max_examples=200)
@given(st.sampled_from(KEYS), VALUES)
def test_any_value_of_any_key_works_or_gets_one_sentence(key, value):
    """From configuration to engine and metrics, without sampling."""
    cfg = WHOLE.copy()
    OmegaConf.update(cfg, key, value)
    try:
        setup = Setup.of(cfg)
        setup.engine(Answers(None)).calls_expected()
        config_hash(setup.fingerprint("fp32"))
        _ = setup.metrics
    except UserError as error:
        assert "\n" not in str(error).strip() and str(error)


WORDS = st.builds(
    "{}{}{}{}".format, st.sampled_from(["", "", "+", "++", "~"]),
    st.sampled_from(["", "model", "method", "isdiff/seed", "model@x", "seed", "lmit", "isdiff.refine", *KEYS[:3]]),
    st.sampled_from(["=", "=", "=", ""]),
    st.sampled_from(["", "3", "null", "[1,2]", "{a:1}", "1,2", "[1", "ddnm", "[ddnm]", "${x}", "???", "a=b", "true"]),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60)
@given(WORDS)
def test_any_override_composes_or_gets_one_sentence(word):
    """As they are typed: what Hydra makes of them, before there is a configuration."""
    try:
        compose_run(["method=ddnm+isdiff", word])
    except UserError as error:
        assert str(error) and "\n" not in str(error)


def test_the_help_of_a_run_lists_what_a_run_takes(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["isdiff"])
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    for group in ("dataset", "mask", "model", "method", "sampler", "isdiff", "isdiff/seed", "isdiff/criterion"):
        assert f"\n{group}: {', '.join(choices(group))}\n" in shown
    assert f"metrics.names=[NAME,NAME]: {', '.join(choices('metric'))}\n" in shown and "Exit codes: 0" in shown
    assert not any(f"\n{plan}: " in shown for plan in ("compare", "figure", "profile", "study", "table"))


@pytest.mark.parametrize("method, latent", [("ddnm", False), ("si+isdiff", True), ("powerpaint", True)])
@pytest.mark.parametrize("dataset", ["celeba", "imagenet", "places2", "editbench"])
def test_published_data_never_gets_a_small_model_in_silence(dataset, method, latent):
    model = compose_run([f"dataset={dataset}", f"method={method}"]).model
    assert model.image_size == (512 if latent else 256)
    given = "sd15_inpainting" if latent else "photos64"
    assert compose_run([f"dataset={dataset}", f"method={method}", f"model={given}"]).model.name == given
