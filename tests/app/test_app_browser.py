"""The web page in a real browser: a photo is loaded, painted on, filled, looked at, downloaded; and what is refused."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from browser_parts import browser, needs_browser, playwright
from conftest import ROOT
from PIL import Image

from isdiff.app.catalog import examples

no_gradio = find_spec("gradio") is None
pytestmark = [pytest.mark.slow, pytest.mark.skipif(no_gradio, reason="gradio is not installed (extra app)")]
__all__ = ["browser"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of ``isdiff app``, run as people run it, with small limits."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, uploads = tmp_path_factory.mktemp("server") / "log.txt", tmp_path_factory.mktemp("uploads")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "isdiff", "app", "--port", str(port), "--megapixels", "0.1", "--queue", "1"],
            cwd=ROOT, stdout=stream, stderr=stream, env=os.environ | {"PYTHONPATH": path, "TMPDIR": str(uploads)},
        )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while "the page is at" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.terminate()
        process.wait(30)
        assert not list(uploads.glob("isdiff-app-*")), "what visitors left goes with the page"


@pytest.fixture
def visit(browser, server):
    """``visit(**options of the browser's context)``: the page; errors of its scripts and foreign requests fail."""
    contexts, troubles = [], []

    def opened(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 1400}, **options})
        context.set_default_timeout(180_000)  # the machine may be busy
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        here = (server, "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(here) or troubles.append(request.url))
        page.goto(server)
        page.wait_for_function("document.querySelector('#go') && localStorage.length")  # it has its desk
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


LOAD, MASK = "#load input[type=file] >> nth=0", "#load input[type=file] >> nth=1"
DATA = "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
PAINTED = f"{DATA}.filter((alpha, i) => i % 4 == 3 && alpha > 127).length"


def says(page, words: str) -> str:
    page.wait_for_function("words => document.querySelector('#status .note')?.innerText.includes(words)", arg=words)
    return page.inner_text("#status .note")


def painted(page) -> int:
    """Pixels of the photo that are painted."""
    return page.evaluate(f"() => {{ const canvas = document.querySelector('#canvas canvas'); return {PAINTED} }}")


def give(page, name: str, value: int) -> None:
    open_part(page, "settings")
    field = page.locator(f"#{name} input[type=number]")
    field.fill(str(value))
    field.press("Tab")


def open_part(page, name: str) -> None:
    page.evaluate(
        """name => { const button = document.querySelector(`#${name} > button, #${name} .label-wrap`)
        if (!button.classList.contains('open')) button.click() }""",
        name,
    )


def stroke(page, across: int = 40, down: int = 10) -> None:
    """A stroke through the middle of the picture."""
    area = page.locator("#canvas canvas").bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x - across, y)
    page.mouse.down()
    page.mouse.move(x + across, y + down, steps=6)
    page.mouse.up()


def press(page, words: str) -> None:
    page.locator("#canvas").get_by_role("button", name=words, exact=True).click()


def waits(page, check: str) -> None:
    """Wait until something is true of the canvas; else what the page says tells why not."""
    try:
        page.wait_for_function(f"() => {{ const canvas = document.querySelector('#canvas canvas'); return {check} }}")
    except playwright.TimeoutError as error:
        raise AssertionError(f"{check}: {page.inner_text('#status')}") from error


def choose_method(page, name: str) -> None:
    open_part(page, "settings")
    choose(page, "method", name)


def downloaded(page, folder: Path, kind: str = "png") -> tuple[str, np.ndarray]:
    with page.expect_download() as download:
        page.locator(f"#{kind}").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    with Image.open(path) as image:
        assert image.format == {"png": "PNG", "jpg": "JPEG"}[kind]
        return path.name, np.asarray(image)


def comes_into_view(page, *names: str) -> None:
    """Wait until parts are wholly within the window, and have stopped moving."""
    page.wait_for_function(
        """names => {
        const boxes = names.map(name => document.querySelector(name)?.getBoundingClientRect())
        const now = String(boxes.map(box => box?.top)), still = window.lately === now
        window.lately = now
        return still && boxes.every(box => box?.height && box.top >= 0 && box.bottom <= innerHeight) }""",
        arg=names,
        polling=300,
    )


def counts(page, parts: str, number: int) -> None:
    """Wait until there are so many of something."""
    page.wait_for_function("([parts, n]) => document.querySelectorAll(parts).length == n", arg=[parts, number])


def choose(page, part: str, name: str) -> None:
    page.click(f"#{part} input")
    page.get_by_role("option", name=name, exact=True).click()


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


@needs_browser
def test_what_cannot_be_loaded_is_said(visit, tmp_path):
    Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(tmp_path / "large.png")
    (tmp_path / "notes.txt").write_text("no picture")
    page = visit()
    page.click("#go")
    says(page, "there is no photo yet")
    for name, words in (
        ("notes.txt", "notes.txt cannot be read as an image"),
        ("large.png", "more than 0.1 megapixels"),
    ):
        page.set_input_files(LOAD, tmp_path / name)
        says(page, words)
    assert not list((ROOT / "isdiff").rglob("*.pyi")), "gradio writes nothing beside the code"


@needs_browser
@pytest.mark.parametrize("options", [{"viewport": {"width": 1280, "height": 720}}, PHONE], ids=["laptop", "phone"])
def test_an_afternoon(visit, tmp_path, options):
    """Load, paint, change the mask, fill, go on with the result, undo, go back, reload, extend, download."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 120, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "my photo.png")
    page = visit(**options)
    page.set_input_files(LOAD, tmp_path / "my photo.png")
    assert "my photo, 120x96" in says(page, "120x96")
    page.click("#go")
    assert "there is no hole yet" in says(page, "no hole")

    page.locator("#canvas input[type=range]").fill("12")
    for key in ("]", "]", "["):
        page.keyboard.press(key)
    assert page.locator("#canvas input[type=range]").input_value() == "16"
    stroke(page)
    first = painted(page)
    press(page, "Rectangle")
    stroke(page, 60, 60)
    assert painted(page) > first
    press(page, "Undo")
    press(page, "Undo")
    press(page, "Undo")  # one too many
    assert painted(page) == 0 and page.locator("#canvas img").evaluate("image => image.naturalWidth") == 120
    press(page, "Redo")
    assert painted(page) == first
    page.click("#grow")
    waits(page, f"{PAINTED} > {first}")
    page.keyboard.press("Control+z")
    assert painted(page) == first
    with page.expect_download() as mask:
        press(page, "Save mask")
    mask.value.save_as(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        hole = np.asarray(saved.convert("L")) > 127
    assert hole.sum() == first and hole[48, 60]

    page.wait_for_function("document.querySelector('#go').innerText.includes('about')")
    give(page, "steps", 12)
    give(page, "seed", 5)
    page.click("#go")
    says(page, "Done")
    page.wait_for_function("document.querySelector('#go-on').innerText.includes('seed 5')")
    comes_into_view(page, "#go", "#slider")
    page.locator("#gallery button img").nth(1).click()
    page.wait_for_function("document.querySelector('#go-on').innerText.includes('seed 6')")
    name, result = downloaded(page, tmp_path)
    assert name == "my_photo-ddnm+isdiff-seed6.png"
    assert (result[~hole] == pixels[~hole]).all() and (result[hole] != pixels[hole]).any()

    page.click("#go-on")
    says(page, "This is the photo now")
    waits(page, f"{PAINTED} == 0")
    counts(page, "#history button img", 2)
    comes_into_view(page, "#canvas .view")
    press(page, "Brush")
    stroke(page)
    page.locator("#history button img").nth(0).click()
    says(page, "Back at this photo")
    waits(page, f"{PAINTED} == {first}")
    choose(page, "edge", "feather 8 px")
    page.wait_for_function("document.querySelector('#canvas').style.getPropertyValue('--feather') == 8")
    page.wait_for_function("document.querySelector('#go').innerText.includes('about')")

    page.reload()
    waits(page, f"canvas?.width == 120 && {PAINTED} == {first}")
    counts(page, "#history button img", 2)
    page.wait_for_function("document.querySelector('#edge input').value == 'feather 8 px'")
    choose(page, "edge", "sharp edge")
    open_part(page, "settings")
    assert page.locator("#steps input[type=number]").input_value() == "12"
    page.locator("#history button img").nth(1).click()
    waits(page, f"{PAINTED} > 0 && {PAINTED} != {first}")
    assert (downloaded(page, tmp_path)[1] == result).all(), "what was gone on with"

    open_part(page, "extend")
    page.locator("#left input").fill("20")
    page.click("#add")
    waits(page, "canvas.width == 140")
    press(page, "Clear")
    press(page, "Undo")
    page.click("#go")
    says(page, "Done")
    page.wait_for_selector("#go-on", state="visible")
    name, wide = downloaded(page, tmp_path)
    assert wide.shape == (96, 140, 3) and (wide[:, 20:][~hole] == result[~hole])[: 96 * 10].all()
    assert downloaded(page, tmp_path, "jpg")[1].shape == wide.shape
    page.set_input_files(MASK, tmp_path / "mask.png")
    says(page, "make them the same size")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], "nothing sideways"


@needs_browser
def test_an_example_a_mask_the_line_cancelling_and_a_phone(visit, tmp_path):
    first, phone = visit(), visit(**PHONE)
    for page in (first, phone):
        page.locator("#examples button img").nth(4).click()
        says(page, "64x64")
        choose(page, "ready", "half")
        waits(page, f"canvas.width == 64 && {PAINTED} == 64 * 32")
        give(page, "steps", 250)
    assert first.input_value("#model input") == "avatars64", "the example's model"
    first.click("#go")
    says(first, "Filling")
    phone.click("#go")
    assert "one job ahead of yours" in says(phone, "Waiting")
    first.click("#cancel")
    says(first, "Cancelled")
    says(phone, "Filling")
    phone.wait_for_selector("#live img")
    assert "seed 0" in phone.inner_text("#live")
    phone.click("#cancel")
    says(phone, "Cancelled")
    give(phone, "steps", 2)
    give(phone, "variants", 1)
    phone.click("#go")
    says(phone, "Done")
    _, result = downloaded(phone, tmp_path)
    changed = (result != examples()[4].pixels).any(2)
    assert changed[:, 32:].mean() > 0.5 and not changed[:, :32].any()

    assert first.is_visible("#strength") and not first.is_visible("#prompt")
    choose_method(first, "si")
    first.wait_for_selector("#prompt", state="visible")
    first.wait_for_selector("#strength", state="hidden")
    assert first.input_value("#model input") == "avatars64_latent"

    choose_method(first, "ddnm")
    first.wait_for_selector("#prompt", state="hidden")
    first.click("#go")  # thousands of network calls
    says(first, "Filling")
    first.close()
    phone.click("#go")
    phone.wait_for_function("!document.querySelector('#status').innerText.includes('Done')")
    says(phone, "Done")


def answer(address: str, body: object = None) -> tuple[int, str]:
    request = urllib.request.Request(address, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, None if body is None else json.dumps(body).encode(), timeout=60) as said:
            return said.status, said.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_files_of_the_machine_and_addresses_are_refused(server, tmp_path):
    """Through gradio's own doors: asked for, and named in the place of an upload."""
    secret = tmp_path / "secret.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(secret)
    for path in (secret, "/etc/passwd", ROOT / "README.md", "README.md", "http://127.0.0.1:1/x", "file:///etc/passwd"):
        assert answer(f"{server}/gradio_api/file={path}")[0] in (403, 404), path
    config = json.loads(answer(f"{server}/config")[1])
    upload = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "upload")
    number = next(n["id"] for n in config["dependencies"] if [upload, "upload"] in map(list, n["targets"]))

    for path in (secret, "/etc/passwd", ROOT / "docs" / "teaser.png", "http://127.0.0.1:1/x.png"):
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}, "orig_name": "x.png"}
        body = {"data": [file], "fn_index": number, "session_hash": "somebody"}
        status, said = answer(f"{server}/gradio_api/queue/join", body)
        assert status == 403 and "not opened" in said, path
    for name in ("background", "layers"):
        assert answer(f"{server}/gradio_api/component_server", {"fn_name": name})[0] == 403
    body = {"data": [None], "fn_index": number, "session_hash": "somebody"}
    for name, value, expected in (("Host", "example.org", 400), ("Origin", "https://example.org", 403)):
        asked = urllib.request.Request(f"{server}/config", headers={name: value})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked)
        assert refused.value.code == expected, "another site's page, and a name that leads here"
    assert answer(f"{server}/gradio_api/queue/join", body)[0] == 200, "what names no file goes through"
