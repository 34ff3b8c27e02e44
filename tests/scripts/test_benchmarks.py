"""Benchmarks run as their first lines say; what they report is not tested, speeds differ."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, run_here


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("words", ["throughput.py", "ladder.py --device cuda", "gpu.py"])
def test_without_a_gpu_it_is_one_sentence(words):
    name, *args = words.split()
    done = run_here(str(ROOT / "benchmarks" / name), *args)
    assert done.returncode == 1 and "there is no CUDA device here" in done.stderr and "Traceback" not in done.stderr


OWN = "avatars64 --weights own --device cpu"
SMALL = {
    "throughput.py": f"--models {OWN} --steps 4 --repeats 1 --batches 1 2 --out found.json",
    "latent_model.py": "--images 2 --out found.md",
    "ladder.py": "--images 2 --steps 3 --repeats 1 --batch 2 --no-compile --out found.json",
    "gpu.py": f"--model {OWN} --images 3 --batch 2 --batches 1 2 --steps 3 --repeats 1 --out found.json",
    "peers.py": "--images 2 --steps 3 --repeats 1 --out found.json",
    "engine.py": "--images 2 --steps 4 --repeats 1 --parts beside_the_network --out .",
    "patches.py": "--repeats 2 --steps 4 --parts small --out .",
}
# What is no speed: rungs of the ladder make the same decisions, and our pictures are the peers'.
SAME = {
    "ladder.py": lambda found: all(r["decided_otherwise"] == 0 for r in found["rungs"] if r["precision"] == "fp32"),
    "peers.py": lambda found: (
        found["an_image"]["engine, DDNM + IS-Diff"]["distance_of_ours_minus_this"] == [0, 0, 0]
        and found["an_image"]["DDNM as published"]["calls"] >= 3
    ),
    "gpu.py": lambda found: all(
        share["network_batches"]["refilled"] <= share["network_batches"]["waves"] for share in found["refill"].values()
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_it_runs_in_the_small_and_writes_what_it_found(name, tmp_path):
    words = [str(tmp_path / word) if word in (".", "found.json", "found.md") else word for word in SMALL[name].split()]
    command = [sys.executable, str(ROOT / "benchmarks" / name), *words]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (written, *_) = sorted(tmp_path.glob("*.json")) or tmp_path.glob("*.md")
    text = written.read_text()
    assert text
    if name in SAME:
        assert SAME[name](json.loads(text))
