"""Benchmarks run as their first lines say; what they report is not tested, speeds differ."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, run_here


def benchmark(name: str, *args: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("words", ["throughput.py", "ladder.py --device cuda", "gpu.py"])
def test_without_a_gpu_it_is_one_sentence(words):
    name, *args = words.split()
    done = run_here(str(ROOT / "benchmarks" / name), *args)
    assert done.returncode == 1 and "there is no CUDA device here" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.long
def test_throughput_on_the_cpu(tmp_path):
    out = tmp_path / "found.json"
    small = ["--models", "avatars64", "--weights", "own", "--device", "cpu", "--steps", "4", "--repeats", "1"]
    benchmark("throughput.py", *small, "--batches", "1", "2", "--out", str(out), check=True)
    found = json.loads(out.read_text())["models"]["avatars64"]
    assert found["tflop_per_call"] > 0 and 0 < found["share_of_matmul"] < 1.5
    assert set(found["milliseconds_per_image_and_call"]) == {"1", "2"}
    assert found["runs"]["ddnm"]["network_calls_per_image"] == 4
    assert found["runs"]["ddnm+isdiff"]["network_calls_per_image"] >= 3


@pytest.mark.long
def test_the_latent_model_is_measured(tmp_path):
    out = tmp_path / "found.md"
    benchmark("latent_model.py", "--images", "2", "--out", str(out), check=True)
    rows = [line.split("|") for line in out.read_text().splitlines() if line.startswith("| ")][1:]
    assert [row[1].strip() for row in rows] == ["half", "expand", "wide"]
    errors = [[float(cell) for cell in row[2:-1]] for row in rows]
    assert all(row[0] < 0.4 and row[1] < row[-1] for row in errors), "known latents stay, noise makes it harder"


@pytest.mark.long
def test_the_ladder_on_the_cpu(tmp_path):
    """Two images in few steps, nothing compiled: every rung makes the same decisions."""
    out = tmp_path / "found.json"
    small = ["--images", "2", "--steps", "3", "--repeats", "1", "--batch", "2", "--no-compile", "--out", str(out)]
    done = benchmark("ladder.py", *small, check=True)
    rungs = json.loads(out.read_text())["rungs"]
    assert [r["rung"] for r in rungs[:3]] == ["float32, one image a call", "2 images a call", "channels last"]
    assert [r["rung"] for r in rungs[-2:]] == ["disk to disk, in turn", "disk to disk, overlap"]
    assert all(r["images_per_second"] > 0 and r["share_of_matmul"] > 0 for r in rungs)
    assert all(r["decided_otherwise"] == 0 and r["levels_apart_most"] < 1 for r in rungs if r["precision"] == "fp32")
    assert "channels last" in done.stdout


@pytest.mark.long
def test_what_is_measured_on_a_gpu_runs_on_the_cpu(tmp_path):
    """Memory grows with the batch, graphs are refused in a sentence, and refilling needs no more batches than waves."""
    out = tmp_path / "found.json"
    small = ["--images", "3", "--batch", "2", "--batches", "1", "2", "--steps", "3", "--repeats", "1"]
    model = ["--device", "cpu", "--model", "avatars64", "--weights", "own"]
    benchmark("gpu.py", *model, *small, "--out", str(out), check=True)
    found = json.loads(out.read_text())
    assert 0 < found["memory"]["1"]["peak_mib"] <= found["memory"]["2"]["peak_mib"]
    assert "needs a CUDA device" in found["graphs"]["refused"]
    assert list(found["refill"]) == ["10%", "30%", "60%"]
    for share in found["refill"].values():
        assert share["network_batches"]["refilled"] <= share["network_batches"]["waves"] and share["times_faster"] > 0


@pytest.mark.long
def test_peers_are_run_beside_the_engine(tmp_path):
    """Two photographs in few steps: published settings resample, the stock pipeline runs on our network."""
    out = tmp_path / "found.json"
    benchmark("peers.py", "--images", "2", "--steps", "3", "--repeats", "1", "--out", str(out), check=True)
    found = json.loads(out.read_text())
    assert len(found["milliseconds_per_image_and_call"]) == 5
    assert "diffusers' RePaintPipeline, 1 a call" in found["times_the_engine"]
    assert found["an_image"]["DDNM as published"]["calls"] >= 3
    assert found["an_image"]["engine, DDNM + IS-Diff"]["distance_of_ours_minus_this"] == [0, 0, 0]


@pytest.mark.slow
def test_what_a_sampling_takes_beside_the_network(tmp_path):
    """The parts are of the whole, and a method without seeds and refinement spends nothing on them."""
    small = ["--images", "2", "--steps", "4", "--repeats", "1", "--parts", "beside_the_network", "--out", str(tmp_path)]
    benchmark("engine.py", *small, check=True)
    found = json.loads((tmp_path / "beside_the_network.json").read_text())
    shares = {method: found[method]["share_of_time"] for method in ("ddnm", "ddnm+isdiff")}
    assert all(found[method]["times_the_network"][0] > 1 for method in shares)
    assert all(0 < sum(share.values()) < 1 for share in shares.values())
    assert shares["ddnm"]["seeds"] == shares["ddnm"]["DCE"] == 0
    assert min(shares["ddnm+isdiff"].values()) > 0


@pytest.mark.long
def test_patches_are_measured_beside_others(tmp_path):
    pytest.importorskip("patchmatch_cython")
    small = ["--repeats", "2", "--steps", "4", "--parts", "small", "--out", str(tmp_path)]
    benchmark("patches.py", *small, check=True)
    (found,) = json.loads((tmp_path / "patches.json").read_text())["cases"]
    assert found["hole_pixels"] == 2048 and found["known_windows"] > 1000
    counts = {way: len(seconds) for way, seconds in found["seconds"].items()}
    assert counts == {"patches": 2, "Telea": 2, "PatchMatch": 2, "photos64": 2, "brute force": 1}
    assert "| 64x64, half | 2,048 |" in (tmp_path / "patches.md").read_text()
