"""Files are looked for in ISDIFF_HOME, in the working folder and in the package, and written outside of the package."""

import shutil
from pathlib import Path

import pytest
from conftest import ROOT

from isdiff import paths
from isdiff.cli import main
from isdiff.config.composing import compose_run
from isdiff.config.search_path import config_names
from isdiff.config.setup import Setup, config_hash
from isdiff.data.shipped import DrawnDataset, PhotoDataset
from isdiff.errors import Missing
from isdiff.io.hub import is_hub_id
from isdiff.io.weights import Weights
from isdiff.runs.experiment import Experiment

MODEL = "models/avatars64/unet.safetensors"


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("ISDIFF_HOME", raising=False)
    return tmp_path / "here"


def file(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_home_comes_before_the_working_folder_and_both_before_the_package(empty, tmp_path, monkeypatch):
    assert paths.located(MODEL) == ROOT / MODEL
    assert paths.located(tmp_path / MODEL) == tmp_path / MODEL == paths.placed(tmp_path / MODEL)
    assert paths.located("models/none") == Path("models/none") == paths.placed("models/none")
    file(empty / MODEL)
    assert paths.located(MODEL) == Path(MODEL)
    monkeypatch.setenv("ISDIFF_HOME", str(tmp_path / "home"))
    assert paths.located(MODEL) == Path(MODEL), "what ISDIFF_HOME lacks is looked for further on"
    file(tmp_path / "home" / MODEL)
    assert paths.located(MODEL) == tmp_path / "home" / MODEL
    assert paths.located("models/none") == tmp_path / "home" / "models/none" == paths.placed("models/none")


def test_only_what_travels_is_looked_for_in_the_package(empty):
    for inside in ("tests/conftest.py", "models/../README.md", "README.md", "../README.md"):
        assert not paths.located(inside).exists(), inside


def test_one_own_model_hides_no_shipped_one(empty):
    file(empty / "models" / "mine" / "unet.safetensors")
    file(empty / "data" / "avatars" / "train_9_64.npy")
    assert paths.located(MODEL).is_file() and paths.located("models/mine").is_dir()
    assert len(DrawnDataset("avatars", count=3).ids()) == 3
    assert DrawnDataset("avatars", count=3).caption("avatars-test-00000")
    assert PhotoDataset(count=2).image("photos-test-0001").shape == (64, 64, 3)
    assert Weights().entries and Weights().root == Path("models")
    assert not is_hub_id("models/sd2_inpainting") and is_hub_id("somebody/sd2_inpainting")


def test_where_things_lie_changes_no_hash(empty, tmp_path, monkeypatch):
    def name():
        return config_hash(Setup.of(compose_run(["method=ddnm", "dataset=photos"])).fingerprint("fp32"))

    def folder():
        return Experiment.of(compose_run(["method=ddnm", "dataset=photos"])).store.path

    here, before = name(), folder()
    monkeypatch.setenv("ISDIFF_HOME", str(tmp_path / "home"))
    shutil.copytree(ROOT / "models" / "photos64", tmp_path / "home" / "models" / "photos64")
    assert name() == here and folder() == tmp_path / "home" / before and not before.is_absolute()


def test_training_photographs_that_are_not_here_are_one_sentence(empty, monkeypatch):
    """As in an installed package, which carries those of the test split alone."""
    package = empty.parent / "package"
    for name in ("photos.csv", "dev.csv"):
        (package / "data" / "photos").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "data" / "photos" / name, package / "data" / "photos" / name)
    monkeypatch.setattr(paths, "shipped", lambda: package)
    dataset = PhotoDataset("dev", count=2)
    with pytest.raises(Missing, match=r"2 of 2 photographs .* copy the repository's data/photos/train to data/photos"):
        dataset.require(dataset.ids())


def test_a_whole_set_of_configurations_replaces_the_packages_and_others_add_to_it(empty, tmp_path, monkeypatch):
    ours = (ROOT / "configs").resolve()
    assert paths.config_folders() == [ours]
    file(empty / "configs" / "dataset" / "mine.yaml", "name: mine")
    file(empty / "configs" / "config.yaml", "of: another program")
    file(empty / "configs" / "compare" / "own.yaml", "title: x")
    assert paths.config_folders() == [ours, empty / "configs"]
    assert compose_run(["dataset=mine"]).dataset.name == "mine" and compose_run([]).dataset.name == "avatars"
    assert {"own", "demo"} <= set(config_names("compare"))
    shutil.copytree(ours, tmp_path / "home" / "configs")
    file(tmp_path / "home" / "configs" / "mask" / "half.yaml", "name: another")
    monkeypatch.setenv("ISDIFF_HOME", str(tmp_path / "home"))
    assert paths.config_folders() == [tmp_path / "home" / "configs", ours, empty / "configs"]
    assert compose_run(["mask=half"]).mask.name == "another" and compose_run(["dataset=mine"]).dataset.name == "mine"


def test_files_of_another_program_stop_no_list(empty, capsys):
    odd = {"bad": b"a: [", "latin": b"a: caf\xe9", "resnet": b"_target_: torchvision.models.resnet18"}
    for name, content in odd.items():
        file(empty / "configs" / "model" / f"{name}.yaml").write_bytes(content)
    assert main(["models"]) == 0
    said = capsys.readouterr()
    assert "Traceback" not in said.err and "photos64" in said.out
    for name in odd:
        assert f"{name}.yaml is left out: " in said.err and f"\n{name} " not in said.out
