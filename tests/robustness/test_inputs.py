"""Files as people have them: odd names, odd formats, odd values, links in circles, damaged tables."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from configured import write_editbench
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from isdiff.cli.command import call as call_command
from isdiff.data.base import MAX_ID_BYTES, safe_id
from isdiff.data.files import BenchmarkDataset, EditBench, FolderDataset
from isdiff.data.images import load_rgb
from isdiff.data.shipped import DrawnDataset, PhotoDataset
from isdiff.errors import Missing, UserError
from isdiff.masks.files import EditBenchMask, FileMask, read_mask
from isdiff.masks.generated import WideMask
from isdiff.metrics.store import read_rows
from isdiff.pictures.files import png_chunk, read_picture
from isdiff.runs.store import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore")  # of Pillow, on the files that are damaged here
HALF = np.repeat([[0] * 8 + [255] * 8], 16, axis=0).astype(np.uint8)  # a mask whose right half is white


def picture(path, value=0, size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def ids_of(path) -> list[str]:
    return FolderDataset(str(path), 8).ids()


def test_every_file_keeps_an_id_of_its_own(tmp_path):
    names = ["same.JPG", "same.jpg", "sub/x.png", "sub__x.png", "a.jpg", "a.png", "a_png.bmp", "lonely.png"]
    for i, name in enumerate(names):
        picture(tmp_path / name, i)
    data = FolderDataset(str(tmp_path), 8)
    ids = data.ids()
    assert len(set(ids)) == len(names) and {data.file(i) for i in ids} == {tmp_path / n for n in names}
    assert {"lonely", "a_jpg", "a_png"} <= set(ids)
    assert data.file("a_png").name == "a_png.bmp", "a file that collides with nothing by itself keeps its id"
    assert ids == ids_of(tmp_path) and all(map(safe_id, ids))
    for image_id in ids:
        if data.file(image_id).suffix != ".jpg":
            assert data.image(image_id)[0, 0, 0] == names.index(str(data.file(image_id).relative_to(tmp_path)))


def test_ids_are_names_that_the_store_can_write(tmp_path):
    names = ["x" * 250 + ".png", "x" * 250 + ".PNG", "é" * 120 + ".png", " blank .png", "back\\slash.png",
             "two..dots.png", "new\nline.png", os.fsdecode(b"\xff\xfe.png"),
             "d" * 150 + "/" + "e" * 150 + ".png"]  # fmt: skip
    for name in names:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    ids = ids_of(tmp_path)
    assert len(set(ids)) == len(names) and ids == ids_of(tmp_path)
    for image_id in ids:
        assert safe_id(image_id), image_id
        (tmp_path / f".{image_id}.png.1234567.tmp").touch()
    assert all(len(i.encode()) <= MAX_ID_BYTES for i in ids)


def test_formats(tmp_path):
    for name in ("a.gif", "b.png", "c.webp", "d.tiff", "e.bmp", "j.jfif", "k.TIF", "l.JPG"):
        picture(tmp_path / name, 200, (16, 16))
    frames = [Image.new("P", (8, 6), i) for i in (0, 1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    frames[1].save(tmp_path / "moving.gif", save_all=True, append_images=frames[2:])
    picture(tmp_path / "z.png", 9, (1, 40))  # a sliver
    data = FolderDataset(str(tmp_path), 4)
    assert data.ids() == [*"abcdejkl", "moving", "z"] and data.notes() == []
    for image_id in data.ids():
        assert data.image(image_id).shape == (4, 4, 3)
    assert tuple(data.image("moving")[0, 0]) == (255, 0, 0), "the first frame"
    picture(tmp_path / "other" / "x.tga").rename(tmp_path / "other.png")
    with pytest.raises(UserError, match=r"other\.png cannot be read as an image"):
        load_rgb(tmp_path / "other.png")
    picture(tmp_path / "long.png", 9, (1, 60_000))
    with pytest.raises(UserError, match=r"long\.png .*long"):
        FolderDataset(str(tmp_path), 256, "guided_diffusion").image("long")


def test_files_start_no_other_program(tmp_path):
    """Ghostscript, for an EPS whatever its name: everywhere Pillow is told which formats to take."""
    (tmp_path / "x.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    for read in (load_rgb, lambda path: read_mask(path, 8, 8), read_picture):
        with pytest.raises(UserError, match=r"x\.png cannot be read as an image"):
            read(tmp_path / "x.png")
    for path in (ROOT / "isdiff").rglob("*.py"):
        code = path.read_text("utf-8")
        assert code.count("Image.open(") == code.count("formats="), path


def test_what_is_left_out_is_said_in_one_line(tmp_path):
    picture(tmp_path / "x.png")
    for name in ("notes.txt", "more.txt", "paper.pdf", "README", ".DS_Store", "._x.png", ".git/y.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "round.png").symlink_to(tmp_path / "round.png")
    os.mkfifo(tmp_path / "pipe.png")
    data = FolderDataset(str(tmp_path), 8)
    assert data.ids() == ["x"]
    (line,) = data.notes()
    assert "\n" not in line and str(tmp_path) in line and "7 files" in line
    assert "2 .txt" in line and "1 .pdf" in line and "1 without suffix" in line and "2 broken links" in line
    assert "DS_Store" not in line
    assert DrawnDataset("avatars", root=str(ROOT / "data")).notes() == []


@pytest.mark.timeout(20)
def test_links_in_circles_end(tmp_path):
    root = tmp_path / "data"
    picture(root / "deep" / "x.png")
    for name in ("one", "two"):
        (root / "deep" / name).symlink_to("..")
        (root / name).symlink_to("..")
    picture(tmp_path / "elsewhere" / "y.png")
    (root / "a_link").symlink_to(tmp_path / "elsewhere")
    (root / "zz_link").symlink_to(tmp_path / "elsewhere")
    assert ids_of(root) == ["a_link__y", "deep__x"], "every folder once, and nothing from above the dataset"
    with pytest.raises(Missing, match="EditBench is not below"):
        EditBench(str(root)).ids()


def test_depths_and_modes(tmp_path):
    """Sixteen bits are never guessed from the values, 32 and fractions are refused, and what is clear is white."""
    for name, values in (("a.png", [0, 257 * 3]), ("b.tiff", [0, 300, 65535])):
        deep = np.array([values], np.uint16)
        Image.fromarray(deep).save(tmp_path / name)
        assert np.array_equal(np.asarray(load_rgb(tmp_path / name))[..., 0], np.rint(deep / 257))
    for values in (np.float32([[0, 0.5]]), np.int32([[0, 65535]])):
        Image.fromarray(values).save(tmp_path / "v.tiff")
        with pytest.raises(UserError, match=r"v\.tiff cannot be used: it is of mode [FI]; save it with 8 or 16"):
            load_rgb(tmp_path / "v.tiff")
    clear = Image.new("P", (6, 4), 1)
    clear.putpalette([0, 0, 0, 200, 0, 0])
    clear.save(tmp_path / "clear.gif", transparency=1)
    Image.merge("LA", [Image.new("L", (6, 4), 9), Image.new("L", (6, 4), 0)]).save(tmp_path / "la.png")
    for name in ("clear.gif", "la.png"):
        assert tuple(np.asarray(load_rgb(tmp_path / name))[0, 0]) == (255, 255, 255), name


@pytest.mark.parametrize("limit", [100, 30], ids=["error", "warning"])
def test_images_that_are_too_large(tmp_path, monkeypatch, limit):
    """Below half of the size Pillow raises an error, below the size it warns: either is one sentence here."""
    picture(tmp_path / "x.png", size=(15, 15) if limit == 100 else (10, 9))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    for read in (load_rgb, lambda path: read_mask(path, 8, 8)):
        with pytest.raises(UserError, match=r"x\.png has more than .* pixels"):
            read(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_files(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"whole.{suffix}")
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    for part in (len(data) // 2, 20, 0):
        (tmp_path / f"torn.{suffix}").write_bytes(data[:part])
        for read in (load_rgb, lambda path: read_mask(path, 8, 8)):
            with pytest.raises(UserError, match=rf"torn\.{suffix} cannot be read"):
                read(tmp_path / f"torn.{suffix}")


@pytest.fixture
def editbench(tmp_path):
    write_editbench(tmp_path, (1,), (1,), 16)
    return tmp_path


def test_shipped_splits_that_are_damaged(tmp_path):
    (tmp_path / "avatars").mkdir()
    archive = tmp_path / "avatars" / "test.zip"
    archive.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=r"test\.zip"):
        DrawnDataset("avatars", root=str(tmp_path))
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("avatars-test-00000.webp", b"torn")
    data = DrawnDataset("avatars", root=str(tmp_path))
    assert data.ids() == ["avatars-test-00000"]
    for act in (lambda: data.image("avatars-test-00000"), lambda: data.image("nobody"), lambda: data.caption("nobody")):
        with pytest.raises(UserError):
            act()


def bomb(side: int) -> bytes:
    """A PNG of side x side pixels in a few bytes."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(bytes(3 * 8 * 8 + 8))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def test_decompression_bombs_are_one_sentence(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(bomb(50_000))
    with pytest.raises(UserError, match=r"a\.png is damaged; delete it"):
        folder.image("a")
    assert folder.picture_hashes(["a"]) == {"a": None}
    (tmp_path / "avatars").mkdir()
    with zipfile.ZipFile(tmp_path / "avatars" / "test.zip", "w", zipfile.ZIP_DEFLATED) as stream:
        vp8l = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + struct.pack("<I", 16382 | 16382 << 14) + b"\0"
        stream.writestr("large.webp", b"RIFF" + struct.pack("<I", len(vp8l) + 4) + b"WEBP" + vp8l)
        stream.writestr("long.webp", bytes(1 << 26))
    data = DrawnDataset("avatars", root=str(tmp_path), count=1)
    for image_id in ("large", "long"):
        with pytest.raises(UserError, match=f"image {image_id} in .* is damaged"):
            data.image(image_id)
    with zipfile.ZipFile(tmp_path / "rows.npz", "w", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr("keys.npy", bytes(1 << 26))
    assert read_rows(tmp_path / "rows.npz") == {} and not (tmp_path / "rows.npz").exists()


def half(tmp_path, image, name="m.png", **options):
    image.save(tmp_path / name, **options)
    return read_mask(tmp_path / name, 16, 16)


def test_masks_in_every_kind_of_file(tmp_path):
    white = Image.fromarray(HALF)
    kinds = {
        "16 bits": (Image.fromarray(HALF.astype(np.uint16) * 257), "m.png"),
        "palette": (white.convert("P"), "m.png"),
        "1 bit": (white.convert("1"), "m.png"),
        "gif": (white, "m.gif"),
        "black, drawn in alpha": (Image.merge("LA", [Image.new("L", (16, 16), 0), white]), "m.png"),
        "white, drawn in alpha": (Image.merge("RGBA", [Image.new("L", (16, 16), 255)] * 3 + [white]), "m.webp"),
        "opaque": (white.convert("RGBA"), "m.png"),
    }
    for kind, (image, name) in kinds.items():
        options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
        assert np.array_equal(half(tmp_path, image, name, **options), HALF > 0), kind
    low = Image.fromarray(HALF.astype(np.uint16))
    assert not half(tmp_path, low).any(), "255 of 65535 is black"
    with pytest.raises(UserError, match="both in its colours and in its transparency"):
        half(tmp_path, Image.merge("LA", [white, Image.fromarray(255 - HALF)]))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = half(tmp_path, white, "m.jpg", exif=exif, quality=95)
    assert np.array_equal(turned, np.asarray(load_rgb(tmp_path / "m.jpg"))[..., 0] > 127), "turned as an image is"
    assert not turned[0, 0] and turned[-1, 0]


def test_folders_of_masks(tmp_path):
    for name in ("a.png", "b.gif", "c.PNG", "d.tiff", "two.png", "two.jpg", "._a.png"):
        Image.fromarray(HALF).save(tmp_path / name, **({"format": "PNG"} if name.endswith("PNG") else {}))
    masks = FileMask(str(tmp_path))
    assert all(masks.hole(i, 16, 16).sum() == 128 for i in "abcd")
    with pytest.raises(UserError, match=r"two.*two\.jpg.*two\.png"):
        masks.hole("two", 16, 16)
    with pytest.raises(UserError, match=r"no mask for image e: expected .*e\.png"):
        masks.hole("e", 16, 16)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: WideMask(seed=True), "seed is True"),
        (lambda p: FolderDataset(p, 10**30), f"size is {10**30}; it must be at most 16384 pixels"),
        (lambda p: DrawnDataset("cats"), "name is 'cats'; drawn datasets are avatars, drawings, landscapes"),
        (lambda p: PhotoDataset(size=100), "32, 64, 128 or 256"),
        (lambda p: BenchmarkDataset("n", p, 8, p, ["{n}.png"], ""), "patterns"),
    ],
)  # fmt: skip
def test_arguments(tmp_path, make, message):
    with pytest.raises(UserError, match=message):
        make(str(tmp_path))


def test_stamps_of_files_change_with_them(tmp_path, editbench):
    root = editbench
    picture(root / "images" / "a.png")
    Image.fromarray(HALF).save(root / "a.png")
    cases = [
        (FolderDataset(str(root / "images"), 8), "a", root / "images" / "a.png"),
        (EditBench(str(root)), "natural-1", root / "references_natural" / "1.png"),
        (EditBenchMask(str(root)), "generated-1", root / "masks_generated" / "1.png"),
        (FileMask(str(root)), "a", root / "a.png"),
        (FileMask(str(root / "a.png")), "anything", root / "a.png"),
    ]
    for time_of_change, (source, image_id, file) in enumerate(cases, 1):
        before = source.stamp(image_id)
        assert before and before == source.stamp(image_id) and source.stamp("nobody-else") in ("", before)
        os.utime(file, ns=(time_of_change, time_of_change))
        assert source.stamp(image_id) not in ("", before)
    (root / "images" / "a.png").unlink()
    assert cases[0][0].stamp("a") == ""


FORMATS = ["png", "jpeg", "gif", "webp", "tiff", "bmp", "ppm", "tga", "jpeg2000"]  # what is read, and others
MODES = ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"]


@st.composite
def files(draw) -> bytes:
    """An image of any mode in any format that takes it, whole, cut or with some bytes changed; or any bytes."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=200))
    mode, size = draw(st.sampled_from(MODES)), (draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    noise = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, size[0] * size[1] * 4, np.uint8).tobytes()
    deep = {"1": 1, "P": 1, "I;16": 2, "I": 4, "F": 4, "YCbCr": 3}.get(mode, len(mode))
    count = -(-size[0] // 8) * size[1] if mode == "1" else size[0] * size[1] * deep
    image, stream = Image.frombytes(mode, size, noise[:count]), io.BytesIO()
    for kind in draw(st.permutations(FORMATS)):
        try:
            image.save(stream, kind)
            break
        except Exception:
            stream = io.BytesIO()
    data = bytearray(stream.getvalue())
    for at, value in draw(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 255)), max_size=4)):
        data[at % max(1, len(data)) : at % max(1, len(data)) + 1] = bytes([value])
    return bytes(data[: draw(st.sampled_from([len(data), len(data), len(data) // 2]))])


@given(files(), st.booleans(), st.integers(1, 20), st.integers(1, 20))
def test_any_bytes_are_an_image_and_a_mask_or_one_sentence(tmp_path_factory, data, invert, height, width):
    path = tmp_path_factory.mktemp("any") / "file.png"
    path.write_bytes(data)
    for read in (load_rgb, lambda path: read_mask(path, height, width, invert)):
        try:
            found = np.asarray(read(path))
        except UserError as error:
            assert "file.png" in str(error) and "\n" not in str(error)
            continue
        expected = (height, width) if read is not load_rgb else (*found.shape[:2], 3)
        assert found.shape == expected and found.size and found.dtype == (np.uint8 if read is load_rgb else bool)


@pytest.fixture
def script(capsys):
    """``isdiff data`` in this process: (exit code, what it says on stderr)."""

    def call(*args: object) -> tuple[int, str]:
        code = call_command("data", [str(a) for a in args])
        return code, capsys.readouterr().err

    return call


def test_the_script_says_what_is_wrong_in_one_line(tmp_path, script):
    here = f"dataset.path={picture(tmp_path / 'images' / 'x.png').parent}"
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "x.png").write_text("")
    cases = [
        (["check", "folder"], "dataset.path has no value"),
        (["check", "nothing"], "there is no dataset 'nothing'; there are "),
        (["check", "folder", f"dataset.path={tmp_path / 'torn'}"], "x.png cannot be read"),
        (["check", "celeba", f"dataset.manifest={tmp_path / 'none.csv'}"], "none.csv is missing"),
        (["masks", "folder", "half", here, "--out", tmp_path / "torn" / "x.png" / "out"], "x.png"),
    ]
    for args, message in cases:
        code, said = script(*args)
        assert code in (1, 2) and message in said, args
        assert said.strip().splitlines()[-1].startswith("isdiff: ") and said.count("isdiff: ") == 1, said
    assert script("check", "folder", here)[0] == 0
