"""Pictures of every kind and file: what is outside of the hole stays, and what they are too."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

import isdiff
from isdiff.data.metadata import TURNS, png_chunk
from isdiff.errors import UserError
from isdiff.pictures.files import PictureFile, check_writable, encode_deep, read_picture, write_picture
from isdiff.pictures.picture import picture_of

HEIGHT, WIDTH = 12, 17
HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[3:8, 5:14] = True
RNG = np.random.default_rng(0)
VALUES = RNG.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)
RGBA = Image.fromarray(RNG.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8))
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)


def pillow(mode: str) -> Image.Image:
    if mode == "F":
        return Image.fromarray(RNG.random((HEIGHT, WIDTH)).astype(np.float32))
    if mode.startswith("I"):
        return Image.fromarray(DEEP[..., 0].astype({"I": np.int32, "I;16": "<u2", "I;16B": ">u2"}[mode]))
    if mode == "P":
        return RGBA.convert("RGB").quantize(20)
    return RGBA.convert("RGB").convert(mode) if mode in ("YCbCr", "HSV", "CMYK", "1") else RGBA.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "I;16B", "1", "P"])
def test_pillow_images_keep_size_and_known_pixels(mode):
    image = pillow(mode)
    before, picture = np.array(image.convert({"1": "L", "P": "RGB"}.get(mode, mode))), picture_of(image)
    assert picture.shape == (HEIGHT, WIDTH) and picture.rgb().shape == (HEIGHT, WIDTH, 3)
    made = picture.filled(VALUES, HOLE)
    after = np.array(made)
    assert made.mode == {"1": "L", "P": "RGB", "I;16B": "I;16"}.get(mode, mode) and made.size == image.size
    assert bool(picture.lost) is (mode in ("1", "P")), "another mode is said"
    assert (after[~HOLE] == before[~HOLE]).all() and (after[HOLE] != before[HOLE]).any()
    assert mode not in ("LA", "RGBA") or (after[HOLE][:, -1] == 255).all()
    seen = picture_of(made).rgb().astype(float)[HOLE]
    wanted = VALUES[HOLE] if mode in ("RGB", "RGBA", "P") else (VALUES[HOLE] @ (0.299, 0.587, 0.114))[:, None]
    assert mode == "1" or abs(seen - wanted).max() < 1


@given(
    st.sampled_from(["uint8", "uint16", "float16", "float32", "float64", "bfloat16"]), st.sampled_from([0, 1, 3, 4]),
    st.booleans(),
)  # fmt: skip
def test_arrays_keep_dtype_shape_and_known_pixels(dtype, channels, tensor):
    if (dtype == "bfloat16" or channels == 0) and tensor is not (dtype == "bfloat16"):
        return
    if tensor and channels == 0:
        return
    shape = (HEIGHT, WIDTH, channels) if channels else (HEIGHT, WIDTH)
    top = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    numbers = np.random.default_rng(1).uniform(0, top, shape)
    array = numbers.astype(dtype) if dtype != "bfloat16" else numbers
    if tensor:
        array = torch.from_numpy(array.transpose(2, 0, 1).copy()).to(getattr(torch, dtype))
    picture = picture_of(array)
    made = picture.filled(VALUES, HOLE)
    assert type(made) is type(array) and made.dtype == array.dtype and made.shape == array.shape
    last = (lambda x: x.double().numpy().transpose(1, 2, 0)) if tensor else (lambda x: x)
    assert (last(made)[~HOLE] == last(array)[~HOLE]).all()
    step = 1 if top > 1 else {"float16": 1e-3, "bfloat16": 4e-3}.get(dtype, 1e-6)
    inside = last(made)[HOLE].reshape(HOLE.sum(), -1)
    wanted = VALUES[HOLE] if channels >= 3 else VALUES[HOLE] @ np.float32([[0.299], [0.587], [0.114]])
    assert abs(inside[:, : wanted.shape[1]] - wanted * (top / 255)).max() <= step
    assert channels < 4 or (inside[:, 3] == top).all()


def test_what_is_hidden_may_be_of_any_value_and_what_is_known_not():
    image = np.full((HEIGHT, WIDTH, 3), 0.5)
    image[4, 6] = np.nan
    assert (picture_of(image).rgb(HOLE)[~HOLE] == 128).all()
    for bad in (np.nan, -0.1, 1.1, np.inf):
        image[0, 0, 0] = bad
        with pytest.raises(UserError, match="fractions must be from 0 to 1"):
            picture_of(image).rgb(HOLE)


@pytest.mark.parametrize("kind", ["RGBA", "P", "array"])
def test_a_gray_photograph_in_colours_stays_gray(kind):
    gray = np.repeat(RNG.integers(0, 256, (HEIGHT, WIDTH, 1), np.uint8), 3, 2)
    gray[HOLE] = (255, 0, 0)
    made = gray if kind == "array" else Image.fromarray(gray)
    made = made.quantize(256) if kind == "P" else made.convert(kind) if kind == "RGBA" else made
    filled = picture_of(picture_of(made).filled(VALUES, HOLE)).rgb()
    assert (filled == filled[..., :1]).all() and np.ptp(filled[HOLE]) > 100
    gray[0, 0] = (9, 8, 9)
    assert (picture_of(gray).filled(VALUES, HOLE)[HOLE] == np.rint(VALUES)[HOLE]).all(), "one colour makes it coloured"


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4, 2)), np.zeros((4, 4), int), torch.zeros(5, 4, 4), "text", np.zeros((0, 4, 3)),
     torch.zeros(3, 4, 4, dtype=torch.bool), *map(pillow, ("CMYK", "I", "F"))],
)  # fmt: skip
def test_other_things_are_one_sentence(wrong):
    with pytest.raises(UserError) as caught:
        picture_of(wrong, "my image")
    assert "my image" in str(caught.value)


@pytest.mark.parametrize("mode", ["LA", "RGB", "I;16"])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_files_keep_mode_profile_and_resolution(tmp_path, mode, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = pillow(mode)
    image.save(tmp_path / f"in{suffix}", icc_profile=profile, dpi=(300, 300))
    file = read_picture(tmp_path / f"in{suffix}")
    assert file.lossless_suffix == suffix and not check_writable(tmp_path / f"out{suffix}", file)
    write_picture(tmp_path / f"out{suffix}", file.picture.filled(VALUES, HOLE), file.info)
    with Image.open(tmp_path / f"out{suffix}") as out:
        assert out.mode == mode and out.info["icc_profile"] == profile and round(float(out.info["dpi"][0])) == 300
        assert (np.array(out)[~HOLE] == np.array(image)[~HOLE]).all()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_exif_orientation_is_applied_and_then_gone(tmp_path, orientation, deep):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "maker"
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png", exif=exif)
    file = read_picture(tmp_path / "in.png")
    upright = file.picture.rgb()
    assert upright.shape == ((WIDTH, HEIGHT, 3) if orientation > 4 else pixels.shape)
    if deep:
        data = encode_deep(pixels.astype(np.uint16) * 257, "PNG", {"exif": exif.tobytes()})
        (tmp_path / "in.png").write_bytes(data)
        file = read_picture(tmp_path / "in.png")
        assert file.picture.samples.dtype == np.uint16 and (file.picture.rgb() == upright).all()
    hole = np.zeros(upright.shape[:2], bool)
    hole[:4, :4] = True
    write_picture(tmp_path / "out.png", file.picture.filled(upright.astype(np.float32), hole), file.info)
    again = read_picture(tmp_path / "out.png")
    assert (again.picture.rgb() == upright).all() and len(TURNS) == 7
    with Image.open(tmp_path / "out.png") as out:
        assert out.getexif().get(0x0112, 1) == 1 and out.getexif()[0x010F] == "maker"
    if deep:
        assert cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16


@pytest.mark.parametrize("name", ["rgb.tif", "rgba.png", "gray.tif", "gray.png"])
def test_sixteen_bits_stay_to_the_bit(tmp_path, name):
    pixels = {"rgba": DEEP, "rgb": DEEP[..., :3], "gray": DEEP[..., 0]}[name.split(".")[0]]
    swapped = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 else pixels
    assert cv2.imwrite(str(tmp_path / name), swapped)
    file = read_picture(tmp_path / name)
    assert (file.picture.samples == pixels.reshape(HEIGHT, WIDTH, -1)).all()
    assert file.lossless_suffix == (tmp_path / name).suffix
    for out in ("out.png", "out.tif"):
        check_writable(tmp_path / out, file)
        write_picture(tmp_path / out, file.picture.filled(VALUES, HOLE), file.info)
        again = read_picture(tmp_path / out).picture.samples.squeeze()
        assert again.dtype == np.uint16 and (again[~HOLE] == pixels[~HOLE]).all()
    with pytest.raises(UserError, match="cannot hold 16 bits a colour; give a"):
        check_writable(tmp_path / "out.jpg", file)
    by_path = isdiff.inpaint(tmp_path / name, HOLE, "telea").image
    assert np.array_equal(np.asarray(by_path)[~HOLE], pixels[~HOLE])


@pytest.mark.parametrize("samples", [VALUES, DEEP[..., 0].astype(np.int32), VALUES[..., 0]])
def test_other_depths_are_refused_and_never_cut(tmp_path, samples):
    assert cv2.imwrite(str(tmp_path / "deep.tif"), samples)
    with pytest.raises(UserError, match=r"deep\.tif "):
        read_picture(tmp_path / "deep.tif")


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.jpg", "RGBA"), ("a.bmp", "LA"), ("a.webp", "I;16"), ("a.gif", "RGB"), ("noname", "L"), ("a.webp", "long")],
)  # fmt: skip
def test_formats_that_cannot_hold_a_picture_are_one_sentence_before_and_after(tmp_path, name, mode):
    image = Image.new("RGB", (70000, 2)) if mode == "long" else pillow(mode)
    file = PictureFile(tmp_path / "in.png", picture_of(image), {})
    for act in (lambda: check_writable(tmp_path / name, file), lambda: write_picture(tmp_path / name, image, {})):
        with pytest.raises(UserError, match=rf"{name}: .*; give a \.png or \.tiff"):
            act()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "mode", "suffix"),
    [("in.tif", "RGB", ".tif"), ("in.jpg", "RGB", ".png"), ("in.gif", "P", ".png"), ("in.bmp", "P", ".bmp"),
     ("in.webp", "RGBA", ".webp")],
)  # fmt: skip
def test_files_of_a_folder_get_a_format_that_holds_them(tmp_path, name, mode, suffix):
    options = {".tif": {"compression": "jpeg"}, ".webp": {"lossless": True}}.get(suffix, {})
    pillow(mode).save(tmp_path / name, **options)
    file = read_picture(tmp_path / name)
    assert file.lossless_suffix == suffix
    check_writable(tmp_path / f"out{suffix}", file)
    write_picture(tmp_path / f"out{suffix}", file.picture.filled(VALUES, HOLE), file.info)
    again = read_picture(tmp_path / f"out{suffix}").picture.samples
    assert (again[~HOLE] == file.picture.samples[~HOLE]).all()


def exif_of_a_phone(orientation: int) -> bytes:
    """EXIF data with an exposure bias of -2/0, which Pillow reads and does not write."""
    main = struct.pack("<HHHIHHHHIII", 2, 0x0112, 3, 1, orientation, 0, 0x8769, 4, 1, 38, 0)
    inner = struct.pack("<HHHIIIii", 1, 0x9204, 10, 1, 56, 0, -2, 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + main + inner


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_data_that_nobody_can_write_cost_themselves_alone(tmp_path, orientation):
    RGBA.convert("RGB").save(tmp_path / "in.jpg", exif=exif_of_a_phone(orientation))
    file = read_picture(tmp_path / "in.jpg")
    assert file.picture.shape == ((WIDTH, HEIGHT) if orientation == 6 else (HEIGHT, WIDTH))
    assert check_writable(tmp_path / "out.png", file) == ["EXIF data"] and not file.info.get("exif")


CHUNKS = {
    "a long text": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3 << 20))),
    "a long profile": png_chunk(b"iCCP", b"wide\0\0" + zlib.compress(bytes(3 << 20))),
    "a short JFIF": b"\xff\xe0\0\x07JFIF\0",
}


@pytest.mark.parametrize("what", CHUNKS)
def test_what_a_file_says_never_costs_its_pixels(tmp_path, what):
    suffix, at = (".jpg", 2) if "JFIF" in what else (".png", 33)
    RGBA.convert("RGB").save(tmp_path / f"plain{suffix}")
    plain = (tmp_path / f"plain{suffix}").read_bytes()
    (tmp_path / f"in{suffix}").write_bytes(plain[:at] + CHUNKS[what] + plain[at:])
    file = read_picture(tmp_path / f"in{suffix}")
    assert (file.picture.rgb() == read_picture(tmp_path / f"plain{suffix}").picture.rgb()).all()
    assert check_writable(tmp_path / "out.png", file) == ["data about the picture"]


@pytest.mark.parametrize("name", ["in.png", "in.jpg", "in.tif", "in.webp"])
def test_captions_and_the_like_are_left_out_and_said(tmp_path, name):
    more = {".png": {"pnginfo": PngInfo()}, ".jpg": {"comment": b"mine"}, ".tif": {"description": "mine"}}
    more[".png"]["pnginfo"].add_text("Copyright", "mine")
    RGBA.convert("RGB").save(tmp_path / name, **more.get(name[2:], {"xmp": b"<x/>"}))
    file = read_picture(tmp_path / name)
    assert check_writable(tmp_path / "out.png", file) == ["other data (captions, comments, XMP)"]


@pytest.mark.parametrize("deep", [False, True])
def test_colour_chunks_of_png_are_carried_to_png_and_said_elsewhere(tmp_path, deep):
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = cv2.imencode(".png", pixels.astype(np.uint16) * 257 if deep else pixels)[1].tobytes()
    chunks = png_chunk(b"gAMA", (100000).to_bytes(4, "big")) + png_chunk(b"cICP", bytes([9, 16, 0, 1]))
    (tmp_path / "in.png").write_bytes(data[:33] + chunks + data[33:])
    file = read_picture(tmp_path / "in.png")
    write_picture(tmp_path / "out.png", file.picture.filled(VALUES, HOLE), file.info)
    assert chunks in (tmp_path / "out.png").read_bytes() and not check_writable(tmp_path / "out.png", file)
    assert (read_picture(tmp_path / "out.png").picture.rgb()[~HOLE] == file.picture.rgb()[~HOLE]).all()
    if not deep:
        (said,) = check_writable(tmp_path / "out.webp", file)
        assert "gAMA" in said
        file.info["colour_chunks"] += png_chunk(b"sRGB", b"\0")
        assert not check_writable(tmp_path / "out.webp", file), "what everybody assumes"
