"""``isdiff inpaint``, ``strip``, ``methods``, ``models`` and ``doctor``: the commands themselves, in this process."""

import os

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from isdiff.cli import main
from isdiff.cli.inpaint import Work, parse
from isdiff.errors import UserError

FAST = ["--steps", "2", "--set", "sampler.repeat=1"]


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with photos, one of them damaged, and masks; the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "masks").mkdir()
    smooth(70, 100).save("photos/a.png")
    smooth(66, 64, 1).save("photos/b.jpg")
    smooth(64, 64, 2).convert("L").save("photos/deep/a.webp", lossless=True)
    (tmp_path / "photos" / "c.png").write_bytes(b"no image")
    mask = Image.new("L", (100, 70))
    mask.paste(255, (10, 10, 50, 40))
    mask.save("mask.png")
    mask.save("masks/a.png")
    Image.new("L", (100, 70)).save("empty.png")
    mask.resize((50, 35)).save("small.png")
    return tmp_path


def test_one_photo(here, capsys):
    assert main(["inpaint", "photos/a.png", "mask.png", "-o", "out.png", *FAST]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == "out.png" and "1/1 images" in said.err
    known = pixels("mask.png") == 0
    before, after = pixels("photos/a.png"), pixels("out.png")
    assert (after[known] == before[known]).all() and (after[~known] != before[~known]).any()
    assert main(["inpaint", "photos/a.png", "--mask", "masks", "-o", "again.png", *FAST]) == 0
    assert (pixels("again.png") == after).all()
    assert main(["inpaint", "photos/a.png", "mask.png", "--invert", "-o", "lossy.jpg", *FAST]) == 0
    assert abs(pixels("lossy.jpg")[~known].astype(int) - before[~known]).mean() < 3
    assert "the result has not its exact pixels (JPEG)" in capsys.readouterr().err


def test_a_folder_with_a_damaged_image_and_variants(here, capsys):
    assert main(["inpaint", "photos", "--mask", "half", "--variants", "2", "--seed", "4", "-o", "out", *FAST]) == 3
    said = capsys.readouterr()
    assert "c.png cannot be read as an image" in said.err and "Traceback" not in said.err
    names = sorted({*os.listdir("out")} - {"isdiff.jsonl"})
    assert names == [f"{n}_seed{s}.{e}" for n, e in (("a", "png"), ("b", "png"), ("deep__a", "webp")) for s in (4, 5)]
    assert sorted(said.out.split()) == [f"out/{name}" for name in names]
    for name, given in (("a", "a.png"), ("b", "b.jpg"), ("deep__a", "deep/a.webp")):
        file = next(f"out/{n}" for n in names if n.startswith(name))
        before, after = pixels(f"photos/{given}"), pixels(file)
        width = before.shape[1] // 2
        assert after.shape == before.shape and (after[:, :width] == before[:, :width]).all()
    assert (pixels("out/a_seed4.png") != pixels("out/a_seed5.png")).any()
    assert main(["inpaint", "photos/a*.png", "--mask", "half", "--seed", "5", "-o", "alone.png", *FAST]) == 0
    assert (pixels("alone.png") == pixels("out/a_seed5.png")).all(), "whatever else was made with it"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["none.jpg", "mask.png", "-o", "o.png"], 2, "image none.jpg is missing"),
        (["photos/a.png", "none.png", "-o", "o.png"], 2, "mask none.png is missing"),
        (["none*.jpg", "--mask", "half", "-o", "o"], 2, "no file fits none*.jpg"),
        (["photos", "--mask", "half", "-o", "./photos/"], 2, "outside of masks and results"),
        (["photos/a.png", "-o", "o.png"], 1, "no mask is given"),
        (["photos/a.png", "small.png", "-o", "o.png"], 3, "50x35, but photos/a.png is 100x70"),
        (["photos/a.png", "empty.png", "-o", "o.png"], 3, "hides nothing"),
        (["photos/a.png", "mask.png", "-o", "photos/a.png"], 3, "is one of the inputs or masks"),
        (["clear.png", "mask.png", "-o", "o.jpg"], 3, "o.jpg: JPEG cannot hold transparency"),
        (["photos", "--mask", "half", "-o", "o.png"], 1, "one file for 4 images"),
        (["photos/a.png", "mask.png", "-o", "file"], 1, "no suffix of an image"),
        (["photos/a.png", "mask.png", "-o", "/proc/x.png"], 1, "nothing can be written into /proc"),
        (["pipe.png", "mask.png", "-o", "o.png"], 3, "image pipe.png is a pipe or device"),
        (["photos/a.png", "mask.png", "-o", "o.png", "--variants", "99999999999"], 1, "--variants is 99999999999"),
        (["photos/a.png", "mask.png", "-o", "o.png", "--method", "x"], 1, "there is no method 'x'"),
        (["photos/a.png", "mask.png", "-o", "o.png", "--model", "celeba_hq"], 2, "isdiff weights get celeba_hq"),
        (["photos/a.png", "mask.png", "-o", "o.png", "--megapixels", "0.001"], 3, "has more than 1,000 pixels"),
    ],
)
def test_bad_input_is_one_sentence(here, capsys, monkeypatch, words, code, says):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # which --megapixels sets
    (here / "file").write_text("")
    clear = smooth(70, 100).convert("RGBA")
    clear.putpixel((99, 69), (1, 2, 3, 4))
    clear.save("clear.png")
    os.mkfifo("pipe.png")
    before = (here / "photos" / "a.png").read_bytes()
    assert main(["inpaint", *words, *FAST]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("isdiff: ")]
    assert len(lines) == 1 and says in lines[0]
    assert (here / "photos" / "a.png").read_bytes() == before


def test_of_several_frames_the_first_is_filled_which_is_said(here, capsys):
    frames = [smooth(70, 100, seed) for seed in (5, 6, 7)]
    frames[0].save("pages.tif", save_all=True, append_images=frames[1:])
    assert main(["inpaint", "pages.tif", "photos/a.png", "--mask", "mask.png", "-o", "out", *FAST]) == 0
    assert "pages.tif: of its 3 frames only the first is filled and written\n" in capsys.readouterr().err
    known = pixels("mask.png") == 0
    assert (pixels("out/pages.tif")[known] == np.asarray(frames[0])[known]).all()


def test_own_results_and_masks_are_no_images(here, capsys):
    def names(*arguments: str) -> list[str]:
        return sorted(map(str, Work(parse([".", *arguments])).files.values()))

    before = names("--mask", "mask.png", "-o", "out")
    assert "photos/a.png" in before and "mask.png" not in before
    for folder in ("out/deep", "masks/more"):
        (here / folder).mkdir(parents=True)
        smooth(8, 8).save(f"{folder}/a.png")
    capsys.readouterr()
    assert names("--mask", "mask.png", "-o", "out") == sorted([*before, "masks/more/a.png"])
    assert capsys.readouterr().err == "isdiff: no images are taken from mask.png, out: masks or results\n"
    without = names("--mask", "masks", "-o", "out")
    assert without == sorted([*(name for name in before if "masks" not in name), "mask.png"])


def test_images_of_one_name_have_masks_of_their_own(here):
    os.makedirs("photos/e\u0301")  # an accent as macOS writes it, and below as Linux does
    smooth(8, 8).save("photos/e\u0301/u\u0308.png")

    def mask_of(name: str) -> str:
        work = Work(parse(["photos", "--mask", "masks", "-o", "out"]))
        return str(work.masks.source(name, work.files[name]))

    assert mask_of("a") == "masks/a.png"
    with pytest.raises(UserError, match=r"no mask for image deep__a: expected masks/deep__a\.png"):
        mask_of("deep__a")
    for folder, name in (("deep", "a"), ("\u00e9", "\u00fc")):
        os.makedirs(f"masks/{folder}")
        smooth(8, 8).save(f"masks/{folder}/{name}.png")
        assert mask_of(f"{folder}__{name}") == f"masks/{folder}/{name}.png"
    smooth(8, 8).save("masks/b.png")
    assert mask_of("b") == "masks/b.png"
    smooth(8, 8).save("photos/deep/a.png")
    alike = Work(parse(["photos/a.png", "photos/deep/a.png", "photos/b.jpg", "--mask", "half", "-o", "out"]))
    assert [*alike.files] == ["a", "deep__a", "b"], "and not hashes"
    assert [*Work(parse(["photos", "photos/b.jpg", "photos", "--mask", "half", "-o", "out"])).files].count("b") == 1
    smooth(8, 8).save("photos/b_seed0.png")  # a variant's result
    assert len(Work(parse(["photos/[ab]*.png", "--mask", "half", "-o", "photos/b.png"])).files) == 1


def test_strip(here, capsys):
    """A prompt goes to the methods that take one."""
    words = ["strip", "photos/a.png", "mask.png", *FAST, "--methods"]
    assert main([*words, "mean_color,si", "-o", "s.png", "--prompt", "a person"]) == 0
    assert capsys.readouterr().out.strip() == "s.png" and pixels("s.png").shape[1] == 3 * (256 + 6) + 6
    assert main([*words, "mean_color,si", "-o", "t.png"]) == 0
    asked, plain = (np.split(pixels(name)[40:-40, 3:-3], 3, axis=1) for name in ("s.png", "t.png"))
    assert [(a == b).all() for a, b in zip(asked, plain, strict=True)] == [True, True, False], "the prompt reached si"
    for wrong, says in (
        (["ddnm,si", "-o", "strip.jpg"], ".png"),
        (["ddnm,x", "-o", "s.png"], "no method 'x'"),
        (["ddnm", "-o", "s.png", "--mask", "half"], "one image"),
        (["ddnm,repaint", "-o", "s.png", "--prompt", "x"], "takes no text"),
    ):
        assert main([*words, *wrong]) == 1 and says in capsys.readouterr().err


def test_lists_and_doctor(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("isdiff.cli.doctor.STEPS", 2)
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(p.stem for p in (ROOT / "configs" / "method").glob("*.yaml"))
    assert main(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert [*lines] == sorted(p.stem for p in (ROOT / "configs" / "model").glob("*.yaml"))
    assert "64 here, 13.4 MB" in lines["photos64"] and "natural photographs" in lines["photos64"]
    assert "missing, 2.2 GB" in lines["adm256_uncond"] and "isdiff weights get adm256_uncond" in lines["adm256_uncond"]
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "test image" in said and " network calls in " in said and "torch " in said and "model photos64" in said
    found = {line[:24].strip(): line[24:].strip() for line in said.splitlines()}
    assert found["metric lpips"].endswith("is missing: isdiff weights get alexnet") and found["metric ssim"] == "here"
    assert main(["doctor", "--device", "nonsense"]) == 1
