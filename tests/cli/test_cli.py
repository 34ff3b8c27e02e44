"""The command ``isdiff``, from any folder, and the scripts that call it."""

import io
import os
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT
from PIL import Image

import isdiff
from isdiff.cli import COMMANDS, doctor, main


def test_version(capsys):
    assert main(["--version"]) == 0 and capsys.readouterr().out.strip() == f"isdiff {isdiff.__version__}"
    assert isdiff.__version__ != "unknown"


def test_doctor_names_networks_of_metrics_with_their_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "try_one", lambda device: None)  # the test image is tested elsewhere
    assert main(["doctor"]) == 0
    lines = {line[:24].strip(): line[24:].strip() for line in capsys.readouterr().out.splitlines()}
    assert lines["metric lpips"].endswith("is missing: isdiff weights get alexnet") and lines["metric ssim"] == "here"


@pytest.mark.parametrize("words", [[], ["nothing"], ["Run"]])
def test_unknown_commands_are_one_sentence(capsys, words):
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(name in said for name in COMMANDS)


def test_help_loads_neither_torch_nor_hydra():
    code = "import sys; from isdiff.cli import main; main(['--help']); print({'torch', 'hydra'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()") and all(f"  {name} " in done.stdout for name in COMMANDS)


def test_what_an_encoding_lacks_is_printed_as_a_question_mark(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "cp1252"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "ascii"))
    monkeypatch.setattr("isdiff.cli.usage", lambda: "KID ↓ é \udcff")
    assert main(["--help"]) == 0 and main(["é"]) == 1
    assert sys.stdout.buffer.getvalue() == "KID ? é ?\n".encode("cp1252")
    sys.stderr.flush()
    assert b"there is no command '?'" in sys.stderr.buffer.getvalue()


@pytest.mark.parametrize("words", [["--help"], ["methods", "--help"], ["run", "--cfg", "job"]], ids=lambda w: w[0])
@pytest.mark.parametrize("buffering", [1, -1])
def test_a_closed_pipe_ends_a_command_in_silence(monkeypatch, capsys, words, buffering):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "argv", ["isdiff"])
    with open(writing, "w", buffering=buffering) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as ended:
            main(words)
    assert ended.value.code == 141 and capsys.readouterr().err == ""


def test_what_windows_lacks_is_not_needed(tmp_path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    code = (
        "import os, sys; sys.modules |= dict.fromkeys(['fcntl', 'resource', 'termios', 'pwd', 'grp'])\n"
        "for name in ('pread', 'pwrite', 'fork', 'getuid', 'killpg', 'sched_getaffinity'): delattr(os, name)\n"
        "from isdiff.cli import main; main(['run', 'dataset=folder', 'dataset.path=.', 'dataset.size=8', 'mask=half',"
        " 'method=mean_color', 'output_root=out', 'metrics.names=[]'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "unknown MiB at most" in done.stdout and len(list(tmp_path.rglob("per_image.jsonl"))) == 1, done.stderr


def test_an_id_from_the_environment_is_not_that_of_several_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["isdiff"])
    for words, kept in (["run"], "mine"), (["run", "--multirun"], None):
        monkeypatch.setenv("WANDB_RUN_ID", "mine")
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        assert os.environ.get("WANDB_RUN_ID") == kept
        assert ("WANDB_RUN_ID is ignored" in capsys.readouterr().err) == (kept is None)


def test_failed_images_are_not_counted_and_leave_no_folder(tmp_path, monkeypatch, capsys):
    """Of two runs of which one has no image; -m may stand anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["isdiff"])
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / name / "x.png")
    (tmp_path / "b" / "x.png").write_bytes(b"no image")
    words = ["dataset=folder", "method=telea", "metrics.names=[]", "-m", "dataset.path=a,b"]
    assert main(["run", *words]) == 3
    err = capsys.readouterr().err
    assert err.count("1/1 images") == 1 and "no image could be sampled: x: image b/x.png cannot be read" in err
    assert len(list(tmp_path.glob("outputs/folder/*/telea/*"))) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["isdiff"])  # Hydra's commands set it
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0 and not list(tmp_path.iterdir())
    assert ("dataset: " if command == "run" else f"usage: isdiff {command}") in capsys.readouterr().out


def test_hydras_own_options_work_in_any_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "more" / "mask").mkdir(parents=True)
    (tmp_path / "more" / "mask" / "mine.yaml").write_text("name: mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["isdiff"])
    assert main(["run", "--cfg", "job", "--config-dir", "more", "mask=mine", "dataset=photos"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["mask"] == {"name": "mine"}


@pytest.mark.long
def test_a_multirun_with_two_processes_outside_of_the_repository(tmp_path):
    (tmp_path / "here").mkdir()
    words = "run -m dataset=avatars limit=2 sampler.steps=2 sampler.repeat=1 metrics.names=[] runtime.workers=2"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": path, "ISDIFF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "isdiff", *words.split()]
    done = subprocess.run(command, cwd=tmp_path / "here", capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    outputs = tmp_path / "home" / "outputs"
    assert len(list(outputs.rglob("avatars-test-*.png"))) == 2 and (outputs / "multirun" / "multirun.yaml").exists()
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("script", ["run", "make_photos", "make_avatars"])
def test_a_script_says_where_the_package_is_not_installed(tmp_path, script):
    """``-S``: a Python without any packages."""
    command = [sys.executable, "-S", str(ROOT / "scripts" / f"{script}.py")]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "is not installed" in done.stderr, done.stderr


def test_weights_of_a_table(capsys):
    """Those of its models and metrics, each once; a name or a table is needed."""
    assert main(["weights", "list", "--for", "table1"]) == 0
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(named) == ["adm256_uncond", "alexnet", "inception", "powerpaint", "sd2_inpainting"]
    assert main(["weights", "get"]) == 1 and "--for table1" in capsys.readouterr().err
