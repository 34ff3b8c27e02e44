"""The web page in a real browser: a photo is loaded, painted on, filled, looked at, downloaded; and what is refused."""

import io
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
from browser_parts import browser, needs_browser
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
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        here = (server, "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(here) or troubles.append(request.url))
        page.goto(server)
        page.wait_for_selector("#go")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


def says(page, words: str) -> str:
    page.wait_for_function("words => document.querySelector('#status .note')?.innerText.includes(words)", arg=words)
    return page.inner_text("#status .note")


def painted(page) -> int:
    """Pixels of the editor that have the paint's colour."""
    picture = Image.open(io.BytesIO(page.locator("#editor canvas").first.screenshot())).convert("RGB")
    return int((abs(np.asarray(picture).astype(int) - (255, 60, 120)).max(-1) < 6).sum())


def the_brush_changes_and_undo_and_clear_leave_the_photograph(page) -> bool:
    """Ends with one thin stroke on it."""
    stroke(page)
    page.wait_for_timeout(300)
    broad, tools = painted(page), page.locator("#editor .top-panel button")
    undo, clear = tools.nth(3), tools.nth(5)
    page.click("#editor button[aria-label='Brush Size']")
    slider = page.locator("#editor input[type=range]")
    assert slider.bounding_box()["width"] > 100
    slider.fill("8")
    page.mouse.click(900, 1300)
    undo.click()
    undo.click()  # one too many
    page.wait_for_timeout(300)
    none = painted(page)
    stroke(page)
    clear.click()
    page.click("#go")
    says(page, "there is no hole yet")  # of a photograph that is there
    stroke(page)
    page.wait_for_timeout(300)
    return none < 100 and 100 < painted(page) < broad / 2


def give(page, name: str, value: int) -> None:
    field = page.locator(f"#{name} input[type=number]")
    field.fill(str(value))
    field.press("Tab")


def stroke(page) -> None:
    """A stroke of the brush through the middle of the picture."""
    area = page.locator("#editor canvas").first.bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x - 40, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 10, steps=6)
    page.mouse.up()


def choose_method(page, name: str) -> None:
    page.click("#method input")
    page.get_by_role("option", name=name, exact=True).click()


def downloaded(page, folder: Path) -> tuple[str, np.ndarray]:
    page.wait_for_selector("#download", state="visible")
    with page.expect_download() as download:
        page.locator("#download").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return path.name, np.asarray(image)


@needs_browser
def test_a_photo_is_painted_filled_watched_and_downloaded(visit, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 120, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "my photo.png")
    Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(tmp_path / "large.png")
    page = visit()
    page.click("#go")
    assert "there is no photo yet" in says(page, "no photo")
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#upload input[type=file]", tmp_path / "notes.txt")
    assert "notes.txt cannot be read as an image" in says(page, "cannot be read")
    page.click("#upload [aria-label='Remove this file'], #upload [aria-label='Clear']")
    page.set_input_files("#upload input[type=file]", tmp_path / "large.png")
    assert "large.png has more than 0.1 megapixels" in says(page, "megapixels")
    page.click("#upload [aria-label='Remove this file'], #upload [aria-label='Clear']")
    page.set_input_files("#upload input[type=file]", tmp_path / "my photo.png")
    assert "my photo, 120x96" in says(page, "120x96")
    page.click("#go")
    assert "there is no hole yet" in says(page, "no hole")
    assert the_brush_changes_and_undo_and_clear_leave_the_photograph(page)
    give(page, "steps", 40)
    give(page, "seed", 5)
    page.click("#go")
    page.wait_for_function(  # all at once, as it may be done the moment after
        """() => document.querySelector('#live img') && document.querySelector('#live').innerText.includes('seed 5')
        && document.querySelector('#status .note').innerText.includes('Sampling')"""
    )
    assert "bit for bit" in says(page, "Done")
    name, result = downloaded(page, tmp_path)
    assert name == "my_photo-ddnm+isdiff-seed5.png" and result.shape == pixels.shape
    changed = (result != pixels).any(2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert changed.sum() > 30 and rows.min() > 30 and rows.max() < 66 and columns.min() > 30 and columns.max() < 90
    assert page.locator("#slider img").count() == 2 and page.locator("#seed-picture img").count() == 1
    trace = page.inner_text("#trace")
    assert "DCE" in trace and "✓" in trace and "5" in trace
    page.locator("#gallery button img").nth(1).click()
    page.wait_for_function("document.querySelector('#download').innerText.includes('seed 6')")
    name, other = downloaded(page, tmp_path)
    assert (
        name.endswith("seed6.png") and (other != result).any() and (other[~changed] == pixels[~changed]).mean() > 0.99
    )


@needs_browser
def test_an_example_a_mask_the_line_cancelling_and_a_phone(visit, tmp_path):
    first, phone = visit(), visit(viewport={"width": 390, "height": 844}, has_touch=True)
    for page in (first, phone):
        page.locator("#examples button img").nth(4).click()
        says(page, "64x64")
        page.get_by_label("half", exact=True).check()
        give(page, "steps", 250)
    assert first.input_value("#model input") == "avatars64", "the example's model"
    first.click("#go")
    says(first, "Sampling")
    phone.click("#go")
    assert "one job ahead of yours" in says(phone, "Waiting")
    first.click("#cancel")
    says(first, "Cancelled")
    says(phone, "Sampling")
    phone.click("#cancel")
    says(phone, "Cancelled")
    give(phone, "steps", 2)
    give(phone, "variants", 1)
    phone.click("#go")
    says(phone, "Done")
    _, result = downloaded(phone, tmp_path)
    changed = (result != examples()[4].pixels).any(2)
    assert changed[:, 32:].mean() > 0.5 and not changed[:, :32].any()
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390, "nothing to scroll sideways"

    assert first.is_visible("#strength") and not first.is_visible("#prompt")
    choose_method(first, "si")
    first.wait_for_selector("#prompt", state="visible")
    first.wait_for_selector("#strength", state="hidden")
    assert first.input_value("#model input") == "avatars64_latent"

    choose_method(first, "ddnm")
    first.wait_for_selector("#prompt", state="hidden")
    first.click("#go")  # thousands of network calls
    says(first, "Sampling")
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
