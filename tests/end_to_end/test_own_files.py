"""``isdiff inpaint``, ``strip``, ``methods``, ``models`` and ``doctor``: the commands themselves, in this process."""

import os

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from isdiff import progress
from isdiff.cli import inpaint as command
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
    (tmp_path / "nothing").mkdir()
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
        (["nothing", "--mask", "half", "-o", "o"], 2, "nothing has no image"),
        (["photos", "--mask", "half", "-o", "./photos/"], 2, "outside of masks and results"),
        (["photos/a.png", "-o", "o.png"], 1, "no mask is given"),
        (["photos/a.png", "mask.png"], 1, "required: -o/--out"),
        (["photos/a.png", "small.png", "-o", "o.png"], 3, "50x35, but photos/a.png is 100x70"),
        (["photos/a.png", "empty.png", "-o", "o.png"], 3, "hides nothing"),
        (["photos/a.png", "mask.png", "-o", "photos/a.png"], 3, "is one of the inputs or masks"),
        (["photos/a.png", "--mask", "masks", "-o", "masks"], 3, "is one of the inputs or masks"),
        (["clear.png", "mask.png", "-o", "o.jpg"], 3, "o.jpg: JPEG cannot hold transparency"),
        (["photos/a.png", "mask.png", "-o", "dir.png"], 1, "is a folder"),
        (["photos", "--mask", "half", "-o", "o.png"], 1, "one file for 4 images"),
        (["photos/a.png", "mask.png", "-o", "file"], 1, "no suffix of an image"),
        (["photos/a.png", "mask.png", "-o", "link/x.png"], 1, "nothing can be written into link"),
        (["photos/a.png", "mask.png", "-o", "/proc/x.png"], 1, "nothing can be written into /proc"),
        (["pipe.png", "mask.png", "-o", "o.png"], 3, "image pipe.png is a pipe or device"),
        (["photos/a.png", "pipe.png", "-o", "o.png"], 3, "mask pipe.png is a pipe or device"),
        (["deep.tif", "mask.png", "-o", "o.png"], 3, "deep.tif cannot be read as an image"),
        (["photos/a.png", "mask.png", "-o", "o.png", "--variants", "99999999999"], 1, "--variants is 99999999999"),
        (["photos/a.png", "mask.png", "-o", "o.png", "--megapixels", "0"], 1, "above 0"),
        (["photos/a.png", "mask.png", "-o", "o.png", "--method", "x"], 1, "there is no method 'x'"),
        (["photos/a.png", "mask.png", "-o", "o.png", "--model", "celeba_hq"], 2, "isdiff weights get celeba_hq"),
    ],
)
def test_bad_input_is_one_sentence(here, capsys, words, code, says):
    (here / "dir.png").mkdir()
    (here / "file").write_text("")
    clear = smooth(70, 100).convert("RGBA")
    clear.putpixel((99, 69), (1, 2, 3, 4))
    clear.save("clear.png")
    os.mkfifo("pipe.png")
    os.symlink("nowhere", "link")
    cv2.imwrite("deep.tif", np.zeros((70, 100, 3), np.float32))
    before = pixels("photos/a.png")
    assert main(["inpaint", *words, *FAST]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("isdiff: ")]
    assert len(lines) == 1 and says in lines[0]
    assert (pixels("photos/a.png") == before).all()


def test_a_place_that_breaks_later_is_named_itself(here, capsys, monkeypatch):
    monkeypatch.setattr(command, "check_folder", lambda folder: None)
    for place in ("photos/a.png/x.png", "/proc/x.png"):
        assert main(["inpaint", "photos/a.png", "mask.png", "-o", place, *FAST]) == 3
        said = capsys.readouterr().err
        assert place in said and ".tmp" not in said and "output_root" not in said


def test_of_several_frames_the_first_is_filled_which_is_said(here, capsys):
    frames = [smooth(70, 100, seed) for seed in (5, 6, 7)]
    frames[0].save("pages.tif", save_all=True, append_images=frames[1:])
    assert main(["inpaint", "pages.tif", "photos/a.png", "--mask", "mask.png", "-o", "out", *FAST]) == 0
    assert "pages.tif: of its 3 frames only the first is filled and written\n" in capsys.readouterr().err
    known = pixels("mask.png") == 0
    assert (pixels("out/pages.tif")[known] == np.asarray(frames[0])[known]).all()


@pytest.mark.parametrize("words", [["."], ["**/*.png"], ["photos/*.png", "."]], ids=str)
def test_own_results_and_masks_are_no_images(here, words, capsys):
    def names(*arguments: str) -> list[str]:
        return sorted(map(str, Work(parse([*words, *arguments])).files.values()))

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


def test_results_of_variants_are_no_images(here):
    smooth(8, 8).save("photos/b_seed0.png")
    assert len(Work(parse(["photos/[ab]*.png", "--mask", "half", "-o", "photos/b.png"])).files) == 1


def test_variants_share_their_picture(here):
    args = parse(["photos/a.png", "mask.png", "-o", "out", "--variants", "3"])
    jobs = [*Work(args).jobs(lambda count: None)]
    assert [job.seed for job in jobs] == [0, 1, 2] and len({id(job.pixels) for job in jobs}) == 1


def test_large_pictures_have_an_option(here, capsys, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)  # a.png has 7000
    words = ["inpaint", "photos/a.png", "mask.png", "-o", "out.png", *FAST]
    assert main(words) == 3
    says = "has more than 3,000 pixels; save it smaller (isdiff inpaint also has --megapixels)"
    assert says in capsys.readouterr().err
    assert main([*words, "--megapixels", "0.007"]) == 0


def test_strip(here, capsys):
    words = ["strip", "photos/a.png", "mask.png", "--methods", "ddnm,ddnm+isdiff", "-o", "strip.png", *FAST]
    assert main(words) == 0 and capsys.readouterr().out.strip() == "strip.png"
    assert pixels("strip.png").shape[1] == 3 * (256 + 6) + 6
    for wrong, says in (
        (["-o", "strip.jpg"], ".png"),
        (["--methods", "ddnm,x"], "no method 'x'"),
        (["--mask", "half"], "one image"),
    ):
        assert main([*words, *wrong]) == 1 and says in capsys.readouterr().err
    assert main(["strip", "none.png", "mask.png", "-o", "s.png"]) == 2


def test_a_strip_gives_its_prompt_to_the_methods_that_take_one(here, capsys):
    words = ["strip", "photos/a.png", "mask.png", *FAST, "--methods"]
    assert main([*words, "ddnm,si", "-o", "s.png", "--prompt", "a person"]) == 0
    assert main([*words, "ddnm,si", "-o", "t.png"]) == 0
    first, second = (pixels(name)[40:-40] for name in ("s.png", "t.png"))
    tile = first.shape[1] // 3
    same = [(first[:, i * tile : (i + 1) * tile] == second[:, i * tile : (i + 1) * tile]).all() for i in range(3)]
    assert same[1] and not same[2], "the prompt reached si and nothing else"
    assert main([*words, "ddnm,repaint", "-o", "s.png", "--prompt", "x"]) == 1
    assert "takes no text" in capsys.readouterr().err


def test_the_first_batch_does_not_count_and_what_cannot_be_made_is_dropped(monkeypatch):
    """A warm-up of 60 seconds, then a second for each batch of 4: 72 of 80 steps are left, 18 seconds."""
    now = iter([0.0, 60.0, 61.0])
    at = [next(now)]
    monkeypatch.setattr(progress.time, "monotonic", lambda: at[0])
    bar = progress.Reporter("work", 9)
    bar.drop(1)
    bar.expect(10)
    for _ in range(2):
        at[0] = next(now)
        bar.work(4)
    assert bar.numbers()["seconds_left"] == pytest.approx(18)
    assert bar.text() == "0/8 images, 0.40/s, 0:00:18 left"


def test_lists_and_doctor(capsys):
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
    assert main(["doctor", "--device", "nonsense"]) == 1
