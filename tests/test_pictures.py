"""Pictures of every kind and file: what is outside of the hole stays, and what they are too."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from isdiff.data.metadata import TURNS, png_chunk
from isdiff.errors import UserError
from isdiff.pictures.depth import is_deep_stream
from isdiff.pictures.files import PictureFile, check_writable, read_picture, write_picture
from isdiff.pictures.inpaint import opened as opened_by_path
from isdiff.pictures.picture import PillowPicture, picture_of

HEIGHT, WIDTH = 12, 17
HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[3:8, 5:14] = True
RNG = np.random.default_rng(0)
VALUES = RNG.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)
RGBA = Image.fromarray(RNG.integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8))


def pillow(mode: str) -> Image.Image:
    if mode == "F":
        return Image.fromarray(RNG.random((HEIGHT, WIDTH)).astype(np.float32))
    if mode in ("I;16", "I;16B"):
        return Image.fromarray(RNG.integers(0, 65536, (HEIGHT, WIDTH)).astype(">u2" if "B" in mode else "<u2"))
    if mode == "I":
        return Image.fromarray(RNG.integers(0, 65536, (HEIGHT, WIDTH)).astype(np.int32))
    if mode == "P":
        return RGBA.convert("RGB").quantize(20)
    return RGBA.convert("RGB").convert(mode) if mode in ("YCbCr", "HSV", "CMYK", "1") else RGBA.convert(mode)


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "I;16B", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_pillow_images_keep_mode_size_and_known_pixels(mode):
    image = pillow(mode)
    before = np.array(image)
    picture = picture_of(image)
    assert picture.shape == (HEIGHT, WIDTH) and picture.rgb().shape == (HEIGHT, WIDTH, 3)
    made = picture.filled(VALUES, HOLE)
    after = np.array(made)
    assert made.mode == mode == image.mode and made.size == image.size
    assert (after[~HOLE] == before[~HOLE]).all() and (np.array(image) == before).all(), "the input is not touched"
    assert (after[HOLE] != before[HOLE]).any()
    if mode == "RGB":
        assert (after[HOLE] == np.rint(VALUES[HOLE])).all()
    if mode in ("LA", "RGBA"):
        assert (after[HOLE][:, -1] == 255).all()
    seen = picture_of(made).rgb().astype(float)[HOLE]
    wanted = VALUES[HOLE] if mode in ("RGB", "RGBA", "YCbCr", "HSV", "CMYK") else VALUES[HOLE] @ (0.299, 0.587, 0.114)
    if mode not in ("1", "P"):
        assert abs(seen - (wanted if wanted.ndim == 2 else wanted[:, None])).max() < (
            6 if mode in ("HSV", "YCbCr") else 2.1
        )


def test_palettes_get_their_nearest_opaque_colours():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 255, 255, 250, 0, 0])
    image.info["transparency"] = 2
    made = picture_of(image).with_values(np.array([[[255, 10, 10], [9, 9, 9]]], np.float32), np.array([[True, False]]))
    assert np.array(made).tolist() == [[0, 0]] and made.info["transparency"] == 2
    del image.info["transparency"]
    made = picture_of(image).with_values(np.array([[[255, 10, 10], [9, 9, 9]]], np.float32), np.array([[True, False]]))
    assert np.array(made).tolist() == [[2, 0]]


@settings(max_examples=60)
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


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P", "array", "tensor"])
def test_a_gray_photograph_in_colours_stays_gray(kind):
    gray = np.repeat(RNG.integers(0, 256, (HEIGHT, WIDTH, 1), np.uint8), 3, 2)
    gray[HOLE] = (255, 0, 0)
    made = {"array": gray, "tensor": torch.from_numpy(gray).permute(2, 0, 1)}.get(kind, Image.fromarray(gray))
    made = made.quantize(256) if kind == "P" else made.convert(kind) if kind in ("RGB", "RGBA") else made
    filled = picture_of(picture_of(made).filled(VALUES, HOLE)).rgb()
    assert (filled == filled[..., :1]).all() and np.ptp(filled[HOLE]) > 100
    gray[0, 0] = (9, 8, 9)
    assert (picture_of(gray).filled(VALUES, HOLE)[HOLE] == np.rint(VALUES)[HOLE]).all(), "one colour makes it coloured"


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4, 2)), np.zeros(5), np.zeros((4, 4), int), torch.zeros(4, 4), torch.zeros(5, 4, 4), "text", 3,
     Image.new("LAB", (3, 3)), np.zeros((0, 4, 3)), torch.zeros(3, 4, 4, dtype=torch.bool)],
)  # fmt: skip
def test_other_things_are_one_sentence(wrong):
    with pytest.raises(UserError) as caught:
        picture_of(wrong, "my image")
    assert "my image" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_files_keep_mode_profile_and_resolution(tmp_path, mode, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = pillow(mode)
    image.save(tmp_path / f"in{suffix}", icc_profile=profile, dpi=(300, 300))
    file = read_picture(tmp_path / f"in{suffix}")
    assert file.lossless_suffix == suffix
    write_picture(tmp_path / f"out{suffix}", file.picture.filled(VALUES, HOLE), file.info)
    with Image.open(tmp_path / f"out{suffix}") as out:
        assert out.mode == mode and out.info["icc_profile"] == profile and round(float(out.info["dpi"][0])) == 300
        assert (np.array(out)[~HOLE] == np.array(image)[~HOLE]).all()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_then_gone(tmp_path, orientation, deep):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "maker"
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png", exif=exif)
    file = read_picture(tmp_path / "in.png")
    upright = file.picture.rgb()
    assert upright.shape == ((WIDTH, HEIGHT, 3) if orientation > 4 else pixels.shape)
    if deep:
        from isdiff.pictures.files import encoded_deep

        data = encoded_deep(pixels.astype(np.uint16) * 257, {"exif": exif.tobytes()})
        (tmp_path / "in.png").write_bytes(data)
        file = read_picture(tmp_path / "in.png")
        assert file.picture.dtype == "uint16" and (file.picture.rgb() == upright).all()
        with pytest.raises(UserError, match=r"\.png only"):
            write_picture(tmp_path / "out.jpg", file.picture.array, file.info)
    hole = np.zeros(upright.shape[:2], bool)
    hole[:4, :4] = True
    write_picture(tmp_path / "out.png", file.picture.filled(upright.astype(np.float32), hole), file.info)
    again = read_picture(tmp_path / "out.png")
    assert (again.picture.rgb() == upright).all() and len(TURNS) == 7
    with Image.open(tmp_path / "out.png") as out:
        assert out.getexif().get(0x0112, 1) == 1 and out.getexif()[0x010F] == "maker"
    if deep:
        assert cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16


def test_formats_that_cannot_hold_a_picture_are_one_sentence_and_leave_nothing(tmp_path):
    for name, mode in (("a.jpg", "RGBA"), ("a.png", "CMYK"), ("a.xyz", "RGB"), ("a.png", "F"), ("noname", "L")):
        with pytest.raises(UserError) as caught:
            write_picture(tmp_path / name, pillow(mode), {})
        assert "\n" not in str(caught.value) and name in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mode", "known", "hidden"), [("F", 0.5, 255.0), ("F", 0.5, np.nan), ("I", 32768, -9999)])
def test_hidden_numbers_do_not_set_the_range(mode, known, hidden):
    numbers = np.full((HEIGHT, WIDTH), known, np.float32 if mode == "F" else np.int32)
    numbers[HOLE] = hidden
    picture = picture_of(Image.fromarray(numbers))
    assert (picture.rgb(HOLE)[~HOLE] == 128).all()
    inside = np.asarray(picture.filled(np.full((HEIGHT, WIDTH, 3), 127.5, np.float32), HOLE))[HOLE]
    assert inside == pytest.approx(known, rel=0.01)


def png_of(depth: int, colour: int, samples: np.ndarray) -> bytes:
    """A PNG of 16-bit samples (H, W, C) with a header that says so."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)


@pytest.mark.parametrize("name", ["rgb.tif", "rgba.tiff", "rgb.ppm", "plain.ppm", "gray_alpha.png", "gray.sgi"])
def test_colours_that_pillow_would_cut_are_refused(tmp_path, name):
    path = tmp_path / name
    if name == "gray_alpha.png":
        path.write_bytes(png_of(16, 4, DEEP[..., :2]))
    elif name == "plain.ppm":
        path.write_text("P3 2 1 65535 1 2 3 4 5 6 ")
    elif name == "gray.sgi":
        pillow("L").save(path, bpc=2)
    else:
        assert cv2.imwrite(str(path), DEEP if "rgba" in name else DEEP[..., :3])
    with Image.open(path) as opened:
        assert opened.mode in ("L", "RGB", "RGBA"), "Pillow says nothing of it"
    for read in (read_picture, opened_by_path):
        with pytest.raises(UserError, match=rf"{name} has more than 8 bits a colour") as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert read_picture(path, shallow=True).picture.rgb().dtype == np.uint8, "to look at"


@pytest.mark.parametrize("name", ["jp2", "avif"])
def test_streams_of_more_than_eight_bits_are_known(name):
    data = io.BytesIO()
    try:
        pillow("RGB").save(data, {"jp2": "JPEG2000", "avif": "AVIF"}[name])
    except (KeyError, OSError):
        pytest.skip("this Pillow writes no such files")
    data = bytearray(data.getvalue())
    assert not is_deep_stream(bytes(data), "RGB")
    if name == "jp2":
        data[data.find(b"\xff\x4f\xff\x51") + 42] = 15
    else:
        data[data.find(b"av1C") + 6] |= 0x40
    assert is_deep_stream(bytes(data), "RGB")


@pytest.mark.parametrize("name", ["gray.tif", "gray.pgm", "gray.png", "low.ppm", "fractions.tif", "rgb.bmp", "rgb.jp2"])
def test_colours_that_pillow_keeps_are_not_refused(tmp_path, name):
    path = tmp_path / name
    if name == "low.ppm":
        path.write_text("P3 2 1 100 1 2 3 4 5 6 ")
    elif name.startswith("gray"):
        assert cv2.imwrite(str(path), DEEP[..., 0])
        assert (np.asarray(read_picture(path).picture.image) == DEEP[..., 0]).all()
    else:
        pillow("F" if name == "fractions.tif" else "RGB").save(path)
    assert isinstance(read_picture(path).picture, PillowPicture)


def test_a_path_of_a_deep_png_is_read_as_deep_as_a_file(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(png_of(16, 2, DEEP[..., :3]))
    assert (opened_by_path(str(path)) == DEEP[..., :3]).all() and (
        read_picture(path).picture.array == DEEP[..., :3]
    ).all()
    made = picture_of(opened_by_path(path)).filled(VALUES, HOLE)
    assert made.dtype == np.uint16 and (made[~HOLE] == DEEP[..., :3][~HOLE]).all()


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.ico", "RGBA"), ("a.icns", "RGB"), ("a.bmp", "RGBA"), ("a.ppm", "RGBA"), ("a.pbm", "RGBA"), ("a.pfm", "RGBA"),
     ("a.webp", "I;16"), ("a.webp", "F"), ("a.webp", "CMYK"), ("a.avif", "F"), ("a.gif", "I;16"), ("a.tiff", "clear")],
)  # fmt: skip
def test_formats_that_would_change_a_picture_without_a_word_are_refused_before_it_is_filled(tmp_path, name, mode):
    image = pillow("P" if mode == "clear" else mode)
    if mode == "clear":
        image.info["transparency"] = image.getpixel((9, 9))
    image = image.resize((300, 300), Image.Resampling.NEAREST) if name == "a.ico" else image
    hole = np.zeros((image.height, image.width), bool)
    hole[:2, :2] = True
    file = PictureFile(tmp_path / "in.png", PillowPicture(image), {})
    with pytest.raises(UserError, match=rf"{name}: \w+ cannot hold it .*; give a \.png") as caught:
        check_writable(tmp_path / name, file, hole)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=rf"{name}: \w+ cannot hold it"):
        write_picture(tmp_path / name, image, {})
    assert not list(tmp_path.iterdir())


def test_pictures_that_are_too_large_for_a_format_are_refused_before_they_are_filled(tmp_path):
    for name in ("a.webp", "a.ico"):
        file = PictureFile(tmp_path / "in.png", PillowPicture(Image.new("RGB", (20000, 2))), {})
        with pytest.raises(UserError, match=f"{name}: .* cannot hold it"):
            check_writable(tmp_path / name, file, np.arange(40000).reshape(2, 20000) < 9)


def test_what_a_format_can_hold_of_a_picture_is_enough(tmp_path):
    """Transparency that is filled, or a mode that a format has no other name for, is no reason to refuse."""
    clear = np.array(pillow("RGBA"))
    clear[..., 3] = np.where(HOLE, 0, 255)
    file = PictureFile(tmp_path / "in.png", PillowPicture(Image.fromarray(clear)), {})
    check_writable(tmp_path / "a.bmp", file, HOLE)
    for name, mode in (("a.webp", "L"), ("a.bmp", "1"), ("a.tga", "RGBA"), ("a.pgm", "I;16")):
        picture = PillowPicture(pillow(mode))
        check_writable(tmp_path / name, PictureFile(tmp_path / "in.png", picture, {}), HOLE)
        write_picture(tmp_path / name, picture.filled(VALUES, HOLE), {})


@pytest.mark.parametrize("suffix", [".bmp", ".pgm", ".tif"])
def test_files_of_a_folder_get_a_format_that_holds_them(tmp_path, suffix):
    image = pillow({".bmp": "RGBA", ".pgm": "I;16", ".tif": "RGB"}[suffix])
    path = tmp_path / f"in{suffix}"
    if suffix == ".bmp":
        path.write_bytes(transparent_bmp(image))
    else:
        image.save(path, **{"compression": "jpeg"} if suffix == ".tif" else {})
    file = read_picture(path)
    assert file.lossless_suffix == (".tif" if suffix == ".tif" else ".png")
    out = tmp_path / f"out{file.lossless_suffix}"
    check_writable(out, file, HOLE)
    write_picture(out, file.picture.filled(VALUES, HOLE), file.info)
    known = np.asarray(file.picture.image)[~HOLE]
    with Image.open(out) as made:
        assert (np.asarray(made)[~HOLE] == known).all() and known.shape == np.asarray(image)[~HOLE].shape


def transparent_bmp(image: Image.Image) -> bytes:
    """A BMP that says where its opacity is, which Pillow reads and does not write."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA")
    header = struct.pack("<IiiHHIIiiII", 108, *image.size, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks + bytes(52)
    return b"BM" + struct.pack("<IHHI", 122 + len(pixels), 0, 0, 122) + header + pixels


# What files say about their pictures


def exif_of_a_phone(orientation: int) -> bytes:
    """EXIF data with an exposure bias of -2/0, which Pillow reads and does not write."""
    main = struct.pack("<HHHIHHHHIII", 2, 0x0112, 3, 1, orientation, 0, 0x8769, 4, 1, 38, 0)
    inner = struct.pack("<HHHIIIii", 1, 0x9204, 10, 1, 56, 0, -2, 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + main + inner


@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_data_that_nobody_can_write_cost_themselves_alone(tmp_path, orientation):
    RGBA.convert("RGB").save(tmp_path / "in.jpg", exif=exif_of_a_phone(orientation))
    file = read_picture(tmp_path / "in.jpg")
    assert file.picture.shape == ((WIDTH, HEIGHT) if orientation == 6 else (HEIGHT, WIDTH)) and not file.info.get(
        "exif"
    )
    hole = HOLE.T if orientation == 6 else HOLE
    assert check_writable(tmp_path / "out.png", file, hole) == ["EXIF data"]
    values = VALUES.swapaxes(0, 1) if orientation == 6 else VALUES
    write_picture(tmp_path / "out.png", file.picture.filled(values, hole), file.info)
    assert (read_picture(tmp_path / "out.png").picture.rgb()[~hole] == file.picture.rgb()[~hole]).all()


PNG_DATA = {
    "a long text": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3 << 20))),
    "a wrong check sum": png_chunk(b"tEXt", b"Comment\0hello")[:-1] + b"?",
    "a long profile": png_chunk(b"iCCP", b"wide\0\0" + zlib.compress(bytes(3 << 20))),
    "a short size": png_chunk(b"pHYs", b"\0"),
}
JPEG_DATA = {"a short JFIF": b"\xff\xe0\0\x07JFIF\0", "a short preview": b"\xff\xe2\0\x06MPF\0"}


@pytest.mark.parametrize("what", [*PNG_DATA, *JPEG_DATA])
def test_what_a_file_says_never_costs_its_pixels(tmp_path, what):
    image, suffix = RGBA.convert("RGB"), ".png" if what in PNG_DATA else ".jpg"
    image.save(tmp_path / f"plain{suffix}")
    plain = (tmp_path / f"plain{suffix}").read_bytes()
    at, more = (33, PNG_DATA[what]) if what in PNG_DATA else (2, JPEG_DATA[what])
    (tmp_path / f"in{suffix}").write_bytes(plain[:at] + more + plain[at:])
    file = read_picture(tmp_path / f"in{suffix}")
    assert (file.picture.rgb() == read_picture(tmp_path / f"plain{suffix}").picture.rgb()).all()
    said = check_writable(tmp_path / "out.png", file, HOLE)
    assert said == ["data about the picture"] or what == "a short preview", "which Pillow passes over"


def test_what_a_format_cannot_hold_is_left_out_and_said(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70000
    RGBA.convert("RGB").save(tmp_path / "in.png", exif=exif, dpi=(1e7, 1e7))
    file = read_picture(tmp_path / "in.png")
    for name, said in (("out.jpg", ["EXIF data"]), ("out.png", []), ("out.bmp", ["EXIF data"])):
        assert check_writable(tmp_path / name, file, HOLE) == said
        write_picture(tmp_path / name, file.picture.filled(VALUES, HOLE), file.info)


@pytest.mark.parametrize("deep", [False, True])
def test_colour_chunks_of_png_are_carried_to_png_and_said_elsewhere(tmp_path, deep):
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = cv2.imencode(".png", pixels.astype(np.uint16) * 257 if deep else pixels)[1].tobytes()
    chunks = png_chunk(b"gAMA", (100000).to_bytes(4, "big")) + png_chunk(b"cICP", bytes([9, 16, 0, 1]))
    (tmp_path / "in.png").write_bytes(data[:33] + chunks + data[33:])
    file = read_picture(tmp_path / "in.png")
    write_picture(tmp_path / "out.png", file.picture.filled(VALUES, HOLE), file.info)
    assert chunks in (tmp_path / "out.png").read_bytes() and not check_writable(tmp_path / "out.png", file, HOLE)
    assert (read_picture(tmp_path / "out.png").picture.rgb()[~HOLE] == file.picture.rgb()[~HOLE]).all()
    if not deep:
        (said,) = check_writable(tmp_path / "out.webp", file, HOLE)
        assert "gAMA" in said
        file.info["colour_chunks"] += png_chunk(b"sRGB", b"\0")
        assert not check_writable(tmp_path / "out.webp", file, HOLE), "what everybody assumes"
