"""A run's folder after anything: files torn, emptied, exchanged or added, and two processes at once."""

import json
import math
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from configured import run_quietly, tiny_images, tiny_run, write_images
from PIL import Image

from isdiff.config.composing import compose_run
from isdiff.config.setup import Setup
from isdiff.data.base import safe_id
from isdiff.runs.run import execute
from isdiff.runs.store import parsed

COUNT = 3
MEASURED = ["metrics.names=[ssim]", "metrics.bootstrap=5"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, golden_net):
    path = tmp_path_factory.mktemp("folders")
    tiny_images(path, golden_net, 6)
    return path


@pytest.fixture(scope="module")
def others(place) -> list[Path]:
    """A finished run, and one whose files are of the same names and other content."""
    return [
        execute(tiny_run(place, out, COUNT, *MEASURED, *more)).experiment.store.path
        for out, more in (("whole", []), ("strange", ["seed=1"]))
    ]


def told(folder: Path) -> dict:
    """What a run's folder says, without times and memory."""
    records = [json.loads(line) for line in (folder / "per_image.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    not_hashed = {"seconds_per_image", "images_per_second", "peak_memory_mib"}
    return {
        "pictures": {path.name: path.read_bytes() for path in (folder / "images").glob("im*.png")},
        "records": [{k: v for k, v in record.items() if k not in ("seconds", "stamps")} for record in records],
        "summary": {k: v for k, v in summary.items() if k not in not_hashed},
        "config": (folder / "config.yaml").read_text(),
        "metrics": [line for line in (folder / "summary.md").read_text().splitlines() if "s per image" not in line],
    }


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def damage(file: Path, how: str, share: float, other: Path) -> None:
    content = file.read_bytes() if file.exists() else b""
    if how == "torn":
        file.write_bytes(content[: int(share * len(content))])
    elif how == "exchanged":
        if other.exists():
            file.write_bytes(other.read_bytes())
    elif how == "gone":
        file.unlink(missing_ok=True)
    else:
        for name in (f"{file.name}.orig", ".DS_Store", f".{file.name}.1234.tmp"):
            file.with_name(name).write_bytes(content)


# What no record says of these, whatever it is of.
NO_NUMBER = [None, True, "3", [3], -1, math.nan, math.inf, 10**400]
NO_COUNT = [*NO_NUMBER, 1.5]
NO_NUMBERS = [None, 3, "3", *([value] for value in (None, True, "x", math.nan, 10**400))]
NO_TEXT = [None, True, 3, ["a"]]
NO_HASH = [*NO_TEXT, "", "0" * 15, "g" * 16]
IMPOSSIBLE = {
    "id": [*NO_TEXT, "", "../x", ".x", "a/b", "\ud800"],
    **dict.fromkeys(("network_calls", "attempts", "chosen_attempt"), NO_COUNT),
    **dict.fromkeys(("seconds", "hole"), NO_NUMBER),
    **dict.fromkeys(("dce", "start_timesteps"), NO_NUMBERS),
    **dict.fromkeys(("image_sha", "mask_sha", "picture_sha"), NO_HASH),
    "stamps": [None, {}, [], [3]],
    **dict.fromkeys(("run", "model", "weights", "size"), NO_TEXT),
    "seed": [None, True, "0", 0.5],
    "version": [None, True, "1", 0, 1.5],
}
# Values that fit one by one and not together.
APART = [
    {"chosen_attempt": 99}, {"attempts": 0}, {"attempts": 4}, {"start_timesteps": []}, {"start_timesteps": [9] * 9},
    {"attempts": 9, "start_timesteps": [9] * 9}, {"dce": [1.0] * 9}, {"attempts": 0, "start_timesteps": [], "dce": []},
]  # fmt: skip


def wronged() -> list[dict]:
    """Changes to a record after which it is none; ``...`` takes a value away."""
    single = [{name: value} for name, values in IMPOSSIBLE.items() for value in values]
    return [*single, *APART, *({name: ...} for name in IMPOSSIBLE if name not in ("hole", "version"))]


def changed_record(line: str, change: dict) -> str:
    """The line of a record with these values."""
    return json.dumps({key: value for key, value in (json.loads(line) | change).items() if value is not ...})


def test_a_record_that_says_what_cannot_be_is_none(others):
    line = (others[0] / "per_image.jsonl").read_text().splitlines()[0]
    assert parsed(line) == json.loads(line) and json.loads(line).keys() == IMPOSSIBLE.keys()
    for change in wronged():
        assert parsed(changed_record(line, change)) is None or not safe_id(change.get("id", "a")), change
    assert parsed("[" * 10**6) is None
    for dce in ([], [2.0], [2.0, 1.0]):  # nothing is said of an attempt that was not judged
        start = [900] * (len(dce) + 1)
        change = {"dce": dce, "attempts": len(start), "start_timesteps": start, "chosen_attempt": 0}
        assert parsed(changed_record(line, change)), change


@pytest.mark.parametrize("how", ["torn", "exchanged", "gone", "added"])
def test_every_file_of_a_folder_is_mended(place, others, how):
    """All of them at once: nothing is asked of anybody."""
    whole, strange = others
    shutil.rmtree(place / "damaged", ignore_errors=True)
    shutil.copytree(place / "whole", place / "damaged")
    folder = place / "damaged" / whole.relative_to(place / "whole")
    for name in names(whole):
        damage(folder / name, how, 0.6, strange / name)
    execute(tiny_run(place, "damaged", COUNT, *MEASURED))
    assert told(folder) == told(whole)
    if how != "added":
        assert names(folder) == names(whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here, to be at the same place at once")
def test_two_processes_sample_into_one_folder(place):
    """At the same time, in batches of different sizes: together what one process makes, every image recorded once."""
    count = 6
    whole = execute(tiny_run(place, "alone", count)).experiment.store
    context = multiprocessing.get_context("fork")
    both = [
        context.Process(target=run_quietly, args=(tiny_run(place, "shared", count, f"runtime.batch_size={size}"),))
        for size in (2, 3)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    folder = place / "shared" / whole.path.relative_to(place / "alone")
    lines = [json.loads(line)["id"] for line in (folder / "per_image.jsonl").read_text().splitlines()]
    assert sorted(lines) == sorted(whole.records()), "none twice, none missing"
    for image_id in lines:
        assert (folder / "images" / f"{image_id}.png").read_bytes() == whole.image_path(image_id).read_bytes()
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert left == {path.name for path in whole.path.rglob("*") if path.is_file()}, "nothing torn or forgotten"
    assert json.loads((folder / "summary.json").read_text())["n"] == count


@pytest.mark.parametrize("root", ["outputs", "."])
def test_results_and_masks_below_the_images_are_no_images(tmp_path, capsys, root):
    write_images(tmp_path / "photos", 16, 2)
    mask = tmp_path / "photos" / "mask.png"
    Image.fromarray(np.tile(np.uint8([0, 255]), (16, 8))).save(mask)
    cfg = compose_run(
        ["dataset=folder", f"dataset.path={tmp_path / 'photos'}", "dataset.size=16", "mask=files", f"mask.path={mask}",
         "method=mean_color", "metrics.names=[]", f"output_root={tmp_path / 'photos' / root}"]
    )  # fmt: skip
    folders = {execute(cfg).experiment.store.path for _ in range(3)}
    (folder,) = folders
    assert "2 files are left out: 2 with results or masks" in capsys.readouterr().err
    assert json.loads((folder / "summary.json").read_text())["n"] == 2
    cfg.dataset.path = str(folder / "images")
    assert len(Setup.of(cfg).dataset.ids()) == 2, "results can be images when they are asked for"
