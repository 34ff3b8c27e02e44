"""The wheel, built and installed without a network, and used in an empty folder."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow
JUNK = [  # as downloads, drawings for training and crashes leave it behind
    "models/hashes.json", "models/downloads/net.pt", "models/celeba_hq/weights.safetensors", "models/metrics/vgg.pth",
    "models/sd2_inpainting/unet/diffusion_pytorch_model.safetensors", "models/avatars64/.unet.safetensors.tmp",
    "data/avatars/train_40000_64.npy", "data/avatars/train_40000_captions.txt", "data/celeba/0.jpg",
    "outputs/avatars/half/ddnm/00000000/images/a.png", "isdiff/cli/__pycache__/run.cpython-311.pyc",
    "build/lib/isdiff/_shipped/data/photos/train/old.webp",
]  # fmt: skip


def output(*command: object, **options) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """What the repository holds."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no checkout: nobody says which files belong to it")
    names = output("git", "ls-files", cwd=ROOT).splitlines()
    return {name for name in names if (ROOT / name).is_file() and not name.startswith("tests/golden/")}


@pytest.fixture(scope="module")
def source(tracked, tmp_path_factory) -> Path:
    """A copy of the repository to build from, with junk in it."""
    folder = tmp_path_factory.mktemp("source")
    for name in sorted(tracked):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    for name in JUNK:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("junk")
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    for name, oldest in (("pip", 23), ("setuptools", 77)):
        if importlib.util.find_spec(name) is None or int(version(name).split(".")[0]) < oldest:
            pytest.skip(f"{name} {oldest} is not in this environment, and without it no wheel can be built offline")
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    output(sys.executable, "-m", "pip", "wheel", source, *options, "--wheel-dir", folder)
    (found,) = folder.glob("isdiff-*.whl")
    return found


def ships(name: str) -> bool:
    """Whether a file of the repository belongs into the wheel: all data but the photographs for training."""
    return name.startswith(("configs/", "models/", "data/")) and not name.startswith("data/photos/train/")


def test_the_wheel_holds_what_ships_and_nothing_else(wheel, tracked):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    code = {name for name in tracked if name.startswith("isdiff/")}
    assert names == code | {f"isdiff/_shipped/{name}" for name in tracked if ships(name)}
    assert wheel.stat().st_size < 100e6


def test_the_source_distribution_holds_what_is_built_and_tested(source, tracked, tmp_path):
    build = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    output(sys.executable, "-c", build, tmp_path, cwd=source)
    (found,) = tmp_path.glob("isdiff-*.tar.gz")
    with tarfile.open(found) as archive:
        names = {entry.name.partition("/")[2] for entry in archive if entry.isfile()}
    made = {name for name in names if name.startswith("isdiff.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    wanted = {name for name in tracked if ships(name) or name.startswith(("isdiff/", "scripts/", "tests/"))}
    assert wanted <= names <= tracked | made and {"setup.py", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert not any(name.startswith("data/photos/train/") for name in names) and found.stat().st_size < 100e6


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The ``bin`` of a fresh environment with the wheel, which sees the packages of this one behind its own."""
    folder = tmp_path_factory.mktemp("environment")
    output(sys.executable, "-m", "venv", "--without-pip", folder)
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet"]
    output(sys.executable, "-m", "pip", "--python", folder, "install", *options, wheel)
    own = output(folder / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # A path in a .pth file comes after the folder that the file is in, and .pth files there, editable installs
    # among them, are not read.
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(own, "zz_others.pth").write_text("".join(f"{path}\n" for path in sorted(others)))
    return folder / "bin"


CHECKS = """
import sys
from isdiff.cli import main
assert main(["weights", "list"]) == 0
assert main(["data", "masks", "imagenet", "half"]) == 0
assert main(["run", "dataset=photos", "dataset.split=dev", "limit=1"]) == 2
"""


def test_the_installed_command_works_in_an_empty_folder(installed, tmp_path):
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "ISDIFF_HOME")}
    options = {"cwd": tmp_path, "env": env | {"PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}}
    site = Path(output(installed / "python", "-c", "import isdiff; print(isdiff.__file__)", **options)).parents[1]
    assert site.is_relative_to(installed.parent), "the wheel, not an editable install"
    before = set(site.rglob("*"))
    said = output(
        installed / "isdiff", "run", "dataset=photos", "mask=half", "method=ddnm+isdiff", "limit=2", "sampler.steps=5",
        "metrics.names=[]", **options,
    )  # fmt: skip
    (folder,) = (tmp_path / "outputs" / "photos" / "half" / "ddnm+isdiff").iterdir()
    assert said.strip().endswith(f"results: {folder.relative_to(tmp_path)}")
    assert sorted(p.name for p in (folder / "images").iterdir()) == ["photos-test-0000.png", "photos-test-0001.png"]
    assert json.loads((folder / "summary.json").read_text())["git_commit"] == "unknown"
    done = subprocess.run([installed / "python", "-c", CHECKS], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    assert "celeba_hq " in done.stdout and "the masks are those of" in done.stdout
    assert "photographs are missing" in done.stderr and "Traceback" not in done.stderr
    assert output(installed / "isdiff", "--version", **options).startswith("isdiff ")
    assert set(site.rglob("*")) == before, "nothing is written into the package"
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}
