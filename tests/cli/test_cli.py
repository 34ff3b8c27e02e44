"""The command ``isdiff``, from any folder, and the scripts that call it."""

import io
import os
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT
from PIL import Image

from isdiff.cli import COMMANDS, main


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


@pytest.mark.parametrize("words", [["--help"], ["run", "--cfg", "job"]], ids=lambda w: w[0])
@pytest.mark.parametrize("buffering", [1, -1])
def test_a_closed_pipe_ends_a_command_in_silence(monkeypatch, capsys, words, buffering):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "argv", ["isdiff"])
    with open(writing, "w", buffering=buffering) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(words) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.slow
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


def test_failed_images_are_not_counted_and_leave_no_folder(tmp_path, monkeypatch, capsys):
    """Of two runs of which one has no image; -m may stand anywhere. An id of wandb's is that of one run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    monkeypatch.setattr(sys, "argv", ["isdiff"])
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / name / "x.png")
    (tmp_path / "b" / "x.png").write_bytes(b"no image")
    words = ["dataset=folder", "method=telea", "metrics.names=[]", "-m", "dataset.path=a,b"]
    assert main(["run", *words]) == 3
    err = capsys.readouterr().err
    assert "WANDB_RUN_ID is ignored" in err and "WANDB_RUN_ID" not in os.environ
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


@pytest.mark.parametrize("script", ["run", "make_avatars"])
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
