"""What is behind the web page: watching and stopping, the line, photos, orders and their limits."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import isdiff
from isdiff import Inpainter, Job, UserError
from isdiff.app import show
from isdiff.app.catalog import CLOSE, FREE, NORMAL, examples, methods, starts
from isdiff.app.line import Line
from isdiff.app.photo import Photo, close_up, in_page, paint_of, uploaded
from isdiff.app.studio import Limits, Order, Studio
from isdiff.cli import main
from isdiff.config.composing import compose_run
from isdiff.config.setup import build_isdiff
from isdiff.pictures.edges import FEATHER, PASTED, Edge
from isdiff.pictures.files import write_picture
from isdiff.pictures.picture import picture_of
from isdiff.pictures.shapes import grow_hole

SLOW_ENOUGH = 30  # seconds that nothing here takes


def noisy(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def box(height: int, width: int) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[height // 4 : height // 2, width // 4 : width // 2] = True
    return hole


def photo(height: int = 64, width: int = 64) -> Photo:
    return Photo("given", picture_of(noisy(height, width), "given"))


def order(**changed) -> Order:
    made = photo()
    return Order(**{"photo": made, "hole": box(*made.shape), "method": "ddnm+isdiff", "model": "avatars64", "steps": 2,
                    **changed})  # fmt: skip


@pytest.fixture(scope="module")
def studio():
    return Studio(Limits(variants=3, crops=4))


def test_watching_shows_every_network_batch_and_changes_nothing():
    inpainter = Inpainter("ddnm+isdiff", "avatars64", steps=2, reduction=1)
    pixels, hole = noisy(64, 100), np.zeros((64, 100), bool)
    hole[10:50, 8:92] = True  # several windows, one after the other
    job = Job("picture", pixels, hole)
    (plain,) = inpainter.stream([job])
    seen = []

    def watch(glimpses):
        (glimpse,) = glimpses
        picture, hidden = glimpse.picture()
        seen.append((glimpse.dce, picture, hidden))

    (watched,) = inpainter.stream([job], watch=watch)
    assert (watched.values == plain.values).all() and len(plain.trace) > 1
    assert len(seen) >= max(trace.network_calls for trace in plain.trace)
    for _, picture, hidden in seen:
        assert (picture[~hole] == pixels[~hole]).all() and not (hidden & ~hole).any()
    first, last = seen[0], seen[-1]
    assert first[2].any() and not last[2].any(), "windows whose turn has not come show nothing"
    assert (first[1] != last[1]).any()
    assert any(dce for dce, *_ in seen)
    assert (abs(last[1][hole] - plain.values[hole].round()) <= 1).all(), "the last prediction is the result"


def test_a_stream_that_is_stopped_gives_up_what_is_not_finished():
    inpainter = Inpainter("ddnm", "avatars64", steps=6, overrides=["sampler.repeat=1", "runtime.batch_size=1"])
    jobs = [Job("picture", noisy(64, 64), box(64, 64), seed) for seed in range(3)]
    calls = []
    found = list(inpainter.stream(jobs, progress=calls.append, stop=lambda: sum(calls) >= 9))
    assert [filled.job.seed for filled in found] == [0] and sum(calls) == 9
    assert [filled.job.seed for filled in inpainter.stream(jobs[:1])] == [0], "and can be used again"


def test_orders_give_the_results_of_the_library(studio):
    asked, sights = order(variants=2, seed=7), []
    made = studio.make(asked, stop=lambda: False, tell=sights.append)
    assert [variant.seed for variant in made] == [7, 8] and sights
    for variant in made:
        alone = isdiff.inpaint(
            asked.photo.picture.samples, asked.hole, "ddnm+isdiff", "avatars64", seed=variant.seed, steps=2
        )
        assert (variant.photo.picture.samples == alone.image).all() and (variant.pixels == alone.image).all()
    assert (made[0].pixels != made[1].pixels).any()
    sketch = sights[0].variants[0]
    assert sketch.seed == 7 and not sketch.photo and (sketch.pixels[~asked.hole] == made[0].pixels[~asked.hole]).all()
    assert studio.make(asked, stop=lambda: True) == []


def test_a_feathered_edge_changes_its_band_alone(studio):
    asked = order(edge=Edge(FEATHER, 4))
    (made,) = studio.make(asked, stop=lambda: False)
    changed, band = (made.pixels != asked.photo.picture.samples).any(2), asked.jobs()[0].hole
    assert not (band & ~grow_hole(asked.hole, 5)).any()
    assert changed[band & ~asked.hole].mean() > 0.5 and not changed[~band].any()
    assert "and the 4 pixels around it no bit" in show.done([made], asked.edge)
    assert "Outside of the hole no bit" in show.done([made], PASTED)


def test_the_model_stays_loaded_and_strength_moves_the_start(studio):
    studio.make(order(), stop=lambda: False)
    found = starts("ddnm+isdiff", "avatars64")
    close, normal, free = (studio.inpainter(order(strength=found[word])).experiment for word in (CLOSE, NORMAL, FREE))
    assert close.prior is normal.prior is free.prior
    assert close.setup.start.fraction(0) < normal.setup.start.fraction(0) < free.setup.start.fraction(0) == 1


def test_every_strength_works_and_examples_come_with_their_models():
    for name in ("ddnm+isdiff", "si+isdiff"):
        for model in methods()[name].models:
            low = starts(name, model)[CLOSE]
            assert 0 < low <= 1
            build_isdiff(compose_run([f"method={name}", f"model={model}", f"isdiff.start.step={low}"]))
    assert not starts("ddnm", "avatars64")
    assert {example.model for example in examples()} == {"patches", "avatars64", "drawings64"}
    assert all(example.model in methods()["ddnm"].models for example in examples())


def test_the_time_is_said_beforehand_from_what_was_measured(studio):
    """An estimate follows what there is to do."""
    small, method = order(method="ddnm", steps=4), ("ddnm", "avatars64")
    studio.costs.pop(method, None)
    assert studio.seconds(small) is None
    studio.measure(*method)
    once, many, longer = (studio.seconds(replace(small, **more)) for more in ({}, {"variants": 3}, {"steps": 8}))
    before, each = studio.costs[method]
    assert each > 0 and before > 0 and once < SLOW_ENOUGH and many == pytest.approx(3 * once)
    first = before * 64 * 64 / 1e6  # one window of the model's size
    assert longer - first == pytest.approx(2 * (once - first))


@pytest.mark.slow
def test_a_fill_takes_about_as_long_as_was_said(studio):
    studio.measure("ddnm", "avatars64")
    slow = order(method="ddnm", steps=60)
    said, begun = studio.seconds(slow), time.monotonic()
    studio.make(slow, stop=lambda: False)
    assert said / 4 < time.monotonic() - begun < said * 4, "a busy machine is no measure"


def test_a_prompt_is_never_a_file(studio, tmp_path):
    (tmp_path / "words.txt").write_text("red hair")
    latent = {"method": "si", "model": "avatars64_latent", "steps": 2}
    (words,) = studio.make(order(prompt="red hair", **latent), stop=lambda: False)
    (literal,) = studio.make(order(prompt=f"@{tmp_path / 'words.txt'}", **latent), stop=lambda: False)
    assert (literal.pixels != words.pixels).any()
    whole = isdiff.inpaint(photo().picture.samples, box(64, 64), "si", prompt="red hair", steps=2)
    assert (words.pixels == whole.image).all()


WRONG = {
    "method": ["../ddnm", None], "model": ["avatars64_latent", "/etc/passwd"], "prompt": ["a cat"],
    "hole": [np.zeros((64, 64), bool), np.ones((64, 64), bool)],
}  # fmt: skip


def test_what_cannot_be_done_is_one_sentence(studio):
    for key, value in [(key, value) for key, values in WRONG.items() for value in values]:
        with pytest.raises(UserError, match="hole|hides" if key == "hole" else key):
            studio.make(order(**{key: value}), stop=lambda: False)
    with pytest.raises(UserError, match="501 letters"):
        studio.make(order(method="si", model="avatars64_latent", prompt="x" * 501), stop=lambda: False)
    wide = photo(70, 2000)
    hole = np.ones(wide.shape, bool)
    hole[:, :8] = False
    with pytest.raises(UserError, match=r"takes \d+ crops .* up to 4 are made here"):
        studio.make(order(photo=wide, hole=hole), stop=lambda: False)


def test_numbers_beyond_the_limits_are_refused():
    gradio = pytest.importorskip("gradio", reason="gradio is not installed")
    from isdiff.app.page import Page

    page = Page(Limits(variants=3))
    for part, wrong in ((page.steps, (251, 0)), (page.seed, (-1, 2**31)), (page.variants, (4, 0))):
        for value in wrong:
            with pytest.raises(gradio.Error):
                part.preprocess(value)
    page.line.close()


def test_configurations_are_composed_in_several_threads():
    """The page's handlers and its work do so at the same time."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: compose_run([f"seed={n}"]).seed, range(12)))
    assert made == list(range(12))


@pytest.fixture
def enter():
    """``enter(name, visitor)`` in a line of at most 3: a ticket, whose work goes on at ``enter.go.release()``."""
    line, go, made = Line(longest=3), threading.Semaphore(0), []

    def work(name, ticket):
        ticket.tell(f"sees {name}")
        assert go.acquire(timeout=SLOW_ENOUGH)
        if name == "bad":
            raise UserError("bad is refused")
        if name == "broken":
            raise ZeroDivisionError("broken inside")
        made.append(name)
        return name.upper()

    def enter(name, visitor=""):
        return line.enter(lambda ticket: work(name, ticket), visitor or name)

    enter.line, enter.go, enter.made = line, go, made
    yield enter
    go.release(10)
    line.close()
    line.pool.shutdown()


def test_places_in_the_line_move_up_and_closing_gives_everything_up(enter):
    first, second, third, fourth = map(enter, "abcd")
    assert "sees a" in first.follow()
    assert [next(ticket.follow()) for ticket in (second, third, fourth)] == [1, 2, 3]
    with pytest.raises(UserError, match="3 requests are waiting already"):
        enter("e")
    enter.line.cancel(third)
    assert list(third.follow()) == [] and third.result() is None and next(fourth.follow()) == 2
    enter.go.release(2)
    assert second.future.result(SLOW_ENOUGH) == "B" and first.result() == "A"
    assert "sees d" in fourth.follow()
    fifth = enter("e")
    enter.line.close()
    enter.go.release()
    list(fourth.follow())
    assert fourth.result() is fifth.result() is None and enter.made == ["a", "b", "d"]


def test_one_visitor_fills_half_of_the_line_at_most(enter):
    enter.line.longest = 4
    enter("a")
    first, _ = enter("b", "greedy"), enter("c", "greedy")
    with pytest.raises(UserError, match="2 of your requests are waiting already"):
        enter("d", "greedy")
    enter("e", "another")
    enter.line.cancel(first)
    enter("f", "greedy")


def test_a_request_that_fails_or_is_given_up_leaves_the_others_alone(enter, caplog):
    first, bad, broken, good = map(enter, ("a", "bad", "broken", "good"))
    assert "sees a" in first.follow()
    enter.line.cancel(first)
    assert first.given_up, "the work may ask"
    enter.go.release(4)
    assert good.future.result(SLOW_ENOUGH) == good.result() == "GOOD" and first.result() is None
    for ticket, error in ((bad, UserError), (broken, ZeroDivisionError)):
        with pytest.raises(error):
            ticket.result()
    assert "ZeroDivisionError" in caplog.text and "UserError" not in caplog.text


def test_paint_goes_to_the_page_and_back_without_loss_and_no_other_size_is_decoded(monkeypatch):
    given, hole = photo(48, 64), np.random.default_rng(0).random((48, 64)) < 0.5
    assert (given.painted(paint_of(hole)) == hole).all()
    assert paint_of(hole & False) == "" and not given.painted("").any()
    faint = np.zeros((48, 64, 4), np.uint8)
    faint[..., 3] = 100
    assert not given.painted(in_page(faint)).any(), "a trace of paint that was erased is no hole"
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("it is decoded"))
    for sent in (paint_of(np.ones((8, 13_300), bool)), "data:image/png;base64,AAAA", "data:,%!PS-Adobe-3.0"):
        with pytest.raises(UserError, match="does not fit the photo on the page"):
            given.painted(sent)


def test_thumbnails_show_what_is_about_the_hole():
    pixels, hole = noisy(300, 400), np.zeros((300, 400), bool)
    hole[280:300, 10:60] = True
    assert (close_up(pixels, hole) == pixels[289 - 49 : 300, 0 : 34 + 49]).all()
    assert close_up(pixels, ~hole).shape == pixels.shape


def test_a_desk_keeps_the_history_and_changes_the_hole(tmp_path):
    desk_module = pytest.importorskip("isdiff.app.desk", reason="gradio is not installed")
    desk, first = desk_module.Desk(), photo(60, 80)
    with pytest.raises(UserError, match="there is no photo yet"):
        desk.step  # noqa: B018
    desk.put(first, box(60, 80))
    before = desk.step.hole
    for how, more in (("Grow", True), ("Shrink", False), ("Shrink", False)):
        area = desk.step.hole.sum()
        desk.change(how)
        assert (desk.step.hole.sum() > area) == more
    desk.change("Invert")
    assert (desk.step.hole | before).all()
    desk.change("half")
    assert desk.step.hole[:, 40:].all()
    desk.step.hole = before
    desk.variants = Studio(Limits()).make(order(photo=first, hole=before, variants=2), stop=lambda: False)
    desk.chosen = 1
    png, jpg = (desk.shown.write(tmp_path, suffix) for suffix in (".png", ".jpg"))
    desk.put(desk.shown)
    assert png.name == "given-ddnm+isdiff-seed1.png" and desk.at == 1 and not desk.step.hole.any()
    with Image.open(png) as exact, Image.open(jpg) as near:
        assert (np.asarray(exact)[~before] == first.picture.samples[~before]).all()
        assert near.format == "JPEG" and near.size == exact.size
    desk.extend((3, 0, 5, 2), megapixels=1)
    assert desk.step.photo.shape == (62, 88) and desk.step.hole.sum() == 62 * 88 - 60 * 80
    with pytest.raises(UserError, match="more than 1 megapixels"):
        desk.extend((900, 900, 900, 900), megapixels=1)
    desk.go_to(0)
    assert desk.step.photo is first and (desk.step.hole == before).all(), "a step keeps its hole"
    for _ in range(20):
        desk.put(photo())
    assert len(desk.steps) == desk_module.LONGEST and desk.steps[0].photo is first


def test_borders_make_a_shape():
    borders_for = pytest.importorskip("isdiff.app.desk").borders_for
    for shape, height, width in (("1:1", 60, 81), ("16:9", 90, 90), ("3:4", 50, 80), ("4:3", 60, 80)):
        left, top, right, bottom = borders_for(shape, height, width)
        wide, high = map(int, shape.split(":"))
        assert (width + left + right) / (height + top + bottom) == pytest.approx(wide / high, rel=0.02)
        assert abs(left - right) <= 1 and abs(top - bottom) <= 1 and min(left, top) >= 0 in (left, top)
    assert borders_for("25 %", 60, 80) == (20, 15, 20, 15)


def test_uploads_keep_what_they_are(tmp_path):
    turned = Image.fromarray(noisy(20, 30))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif, icc_profile=b"profile")
    found = uploaded(tmp_path / "turned.jpg", "my photo.jpg", 1)
    assert found.shape == (30, 20) and found.name == "my photo" and found.info["icc_profile"] == b"profile"
    deep = np.full((20, 30), 40_000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for name in ("deep.png", "turned.jpg"):
        found = uploaded(tmp_path / name, name, 1)
        hole = box(*found.shape)
        filled = found.picture.filled(np.zeros((*hole.shape, 3), np.float32), hole)
        write_picture(tmp_path / "out.png", filled, found.info)
        with Image.open(tmp_path / "out.png") as written:
            again = np.asarray(written)
        assert (again[hole] == 0).all() and (again[~hole] == found.picture.samples.squeeze()[~hole]).all(), name


def test_uploads_that_cannot_be_used_are_one_sentence(tmp_path):
    Image.fromarray(noisy(100, 200)).save(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "post.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    whole = (tmp_path / "large.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name in ("large.png", "text.png", "post.eps", "cut.png"):
        with pytest.raises(UserError, match=r"mine (cannot be read as an image|has more than)") as said:
            uploaded(tmp_path / name, "mine", 0.01 if name == "large.png" else 1)
        assert str(tmp_path) not in str(said.value)


def test_the_guard_knows_uploads_from_everything_else(tmp_path):
    names_others = pytest.importorskip("isdiff.app.guard", reason="gradio is not installed").names_others
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "link").symlink_to("/etc")
    upload = {"path": str(folder / "x" / "photo.png"), "url": "http://127.0.0.1:7860/gradio_api/file=photo.png"}
    assert not names_others({"data": [upload, {"path": None}, "see http://example.com", None, 3]}, str(folder))
    for path in (
        "http://example.com/a.png", "file:///etc/passwd", "/etc/passwd", f"{folder}/../secret", f"{folder}/link/passwd",
        f"{folder}x/photo.png", "photo.png", "", str(folder), 3, [],
    ):  # fmt: skip
        assert names_others({"data": [[{"deep": {"path": path, "meta": {}}}]]}, str(folder)), path


@pytest.fixture
def guarded(tmp_path):
    """``guarded(method, path, body, *headers)``: the answer's status, of a guard in front of what takes anything."""
    guard = pytest.importorskip("isdiff.app.guard")
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    async def anything(request):
        body = await request.body()
        return JSONResponse([body.decode()] if request.url.path.endswith("upload") else len(body))

    app = Starlette(routes=[Route("/{path:path}", anything, methods=["GET", "POST"])])
    client = TestClient(guard.Guard(app, str(tmp_path)), "http://127.0.0.1:7860")

    def ask(method, path, body=b"{}", *headers):
        return client.request(method, f"/gradio_api/{path}", content=body, headers=[*headers]).status_code

    return ask


def test_only_the_page_s_own_requests_get_through(guarded, tmp_path):
    join, host = ("POST", "queue/join"), ("host", "127.0.0.1:7860")
    assert guarded(*join) == guarded(*join, b"{}", ("origin", "http://127.0.0.1:7860")) == 200
    proxy = ("x-forwarded-host", "example.org"), ("origin", "https://example.org")
    assert guarded(*join, b"{}", *proxy) == guarded("GET", "startup-events") == 200
    for origin in ("https://example.org", "http://127.0.0.1:9", "null", "", "http://127.0.0.1:7860.example.org"):
        assert guarded(*join, b"{}", ("origin", origin)) == guarded("GET", "", b"", ("origin", origin)) == 403
    other = json.dumps({"data": [{"path": "/etc/passwd"}]}).encode()
    form = ("content-type", "multipart/form-data; boundary=x"), ("content-type", "application/json")
    for body in (other, b" " * 4_000_001, b"no json", b"[" * 100_000):
        assert guarded(*join, body) == guarded(*join, body, form[0]) == guarded(*join, body, *form) == 403
    assert guarded(*join, b"{}", host, host) == 403
    for path in ("component_server", "process_recording", "call/run", "queue/join/x", "x/upload"):
        assert guarded("POST", path) == 403, path
    assert guarded("POST", "upload", other, form[0]) == 200
    assert guarded("POST", "upload", b"", ("content-length", str(1 << 30))) == 403


def test_visitors_have_a_share_of_desks_and_of_files(guarded, tmp_path):
    desks = pytest.importorskip("isdiff.app.desk").Desks()
    other = desks.open(None, "another")
    names = [desks.open(None, "greedy") for _ in range(70)]
    assert len(desks) == 64 and other in desks and names[-1] in desks and names[0] not in desks
    assert desks.open(other, "another") == other and desks.open("guessed", "another") != "guessed"
    with pytest.raises(UserError, match="reload it"):
        desks.of(names[0])
    files = [tmp_path / f"{number}.png" for number in range(130)]
    for file in files:
        file.touch()
        assert guarded("POST", "upload", str(file).encode()) == 200
    assert [file.exists() for file in files] == [False] * 2 + [True] * 128


def test_the_command_says_what_is_missing_or_wrong(capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isdiff.cli.app.find_spec", lambda name: None)
        assert main(["app"]) == 1
    said = "isdiff: the web page needs the package gradio: pip install 'isdiff[app]'\n"
    assert capsys.readouterr().err == said
    pytest.importorskip("gradio", reason="gradio is not installed (pip install 'isdiff[app]')")
    for words, sentence in ((["--port", "0"], "--port is 0"), (["--variants", "0"], "variants is 0")):
        assert main(["app", *words]) == 1
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1


@pytest.mark.slow
def test_the_page_starts_whatever_proxy_there_is():
    proxies = {"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "isdiff", "app", "--port", f"{port}"]
    env = {key: value for key, value in os.environ.items() if key.lower() != "no_proxy"} | proxies
    with subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=-1, stderr=subprocess.STDOUT) as page:
        said = page.stdout.readline()
        page.terminate()
        rest = page.stdout.read()
    assert said == f"isdiff: the page is at http://127.0.0.1:{port}/ (Ctrl-C ends it)\n", said + rest
    assert page.returncode == 0 and not rest
