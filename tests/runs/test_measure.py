"""What is measured is measured once: kept beside the run, found again, made anew where what it was made of changed."""

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run_script
from PIL import Image

from isdiff.config.composing import compose_run
from isdiff.config.metrics import build_metrics
from isdiff.errors import UserError
from isdiff.metrics.base import FeatureExtractor, SetMetric
from isdiff.metrics.intervals import estimate
from isdiff.metrics.samples import KernelStatistic
from isdiff.metrics.store import ArrayStore
from isdiff.nets.drawings import AttributeNet
from isdiff.runs.experiment import Experiment
from isdiff.runs.measure import PORTION, samples
from isdiff.runs.run import execute

NAMES = ["perceptual", "frechet", "ssim"]
QUICK = ["dataset=avatars", "method=ddnm", "sampler.repeat=1", "sampler.steps=2", "metrics.bootstrap=20"]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory) -> Path:
    """Runs of three images with two seeds, nothing measured yet; tests take copies."""
    out = tmp_path_factory.mktemp("sampled")
    for seed in (0, 1):
        execute(compose_run([*QUICK, "limit=3", f"output_root={out}", f"data_root={ROOT}/data", "metrics.names=[]",
                             f"model_root={ROOT}/models", f"seed={seed}"]))  # fmt: skip
    return out


@pytest.fixture
def finished(sampled, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    shutil.copytree(sampled, tmp_path / "out")
    return run_of(tmp_path / "out")


def run_of(out: Path, *overrides: str, names=NAMES):
    given = [*QUICK, "limit=3", f"output_root={out}", f"metrics.names=[{','.join(names)}]"]
    return Experiment.of(compose_run([*given, *overrides]))


def measure(experiment: Experiment):
    found, skipped = samples(experiment, list(experiment.store.records().values()), experiment.setup.metrics)
    assert not skipped
    return {name: sample.value(np.arange(sample.n)) for name, sample in found.items()}


@pytest.fixture
def seen(monkeypatch):
    """How many images the attribute network has looked at, counted at the network itself."""
    counts = []
    original = AttributeNet.features

    def features(net, x):
        counts.append(len(x))
        return original(net, x)

    monkeypatch.setattr(AttributeNet, "features", features)
    return counts


def test_one_pass_serves_all_metrics_of_a_network_and_is_never_repeated(finished, seen):
    first = measure(finished)
    assert sum(seen) == 6, "three results and three truths, though two metrics rest on the network"
    again = measure(Experiment(finished.setup))
    assert again == first and sum(seen) == 6
    ids = list(finished.store.records())
    results, truths = [finished.store.image(i) for i in ids], [finished.dataset.image(i) for i in ids]
    for metric in finished.setup.metrics:
        assert first[metric.name] == pytest.approx(metric.measure(results, truths).value(np.arange(3)), rel=1e-6)


def test_truths_are_seen_once_for_all_runs(finished, seen, tmp_path):
    samples(finished, list(finished.store.records().values()), build_metrics(["frechet"], finished.setup.config))
    assert sum(seen) == 6
    measure(run_of(tmp_path / "out", "seed=1", names=["frechet"]))
    assert sum(seen) == 9, "of another run the results alone"


def test_a_changed_picture_is_measured_anew_and_no_other(finished, seen):
    first = measure(finished)
    path = finished.store.image_path(finished.ids()[1])
    Image.fromarray(255 - finished.store.image(finished.ids()[1])).save(path)
    second = measure(Experiment(finished.setup))
    assert sum(seen) == 6 + 2, "the picture and, for its distance, its truth"
    assert all(second[name] != first[name] for name in NAMES)


def test_other_weights_measure_anew(finished, seen, tmp_path):
    folder = tmp_path / "models" / "avatars64"
    folder.mkdir(parents=True)
    source = ROOT / "models" / "drawings64" / "classifier.safetensors"
    (folder / "classifier.safetensors").write_bytes(source.read_bytes())
    first = measure(finished)
    given = [f"metrics.options.{name}.model_root={tmp_path / 'models'}" for name in ("perceptual", "frechet")]
    other = measure(run_of(tmp_path / "out", *(f"+{line}" for line in given)))
    assert sum(seen) == 12 and other["ssim"] == first["ssim"]
    assert other["perceptual"] != first["perceptual"] and other["frechet"] != first["frechet"]


@pytest.mark.parametrize("damage", [b"PK\x03\x04 no archive", None], ids=["torn", "one bit"])
def test_damaged_files_are_measured_again(finished, damage):
    first = measure(finished)
    files = [*finished.store.path.rglob("*.npz"), *finished.store.path.parents[2].glob("measured/**/*.npz")]
    assert len(files) == 4, "values and features of the results, values of SSIM, features of the truths"
    for path in files:
        content = bytearray(path.read_bytes())
        content[-len(content) // 3] ^= 1
        path.write_bytes(content if damage is None else damage)
    (finished.store.path / "measured" / "pictures.json").write_text("[")
    again = measure(Experiment(finished.setup))
    assert again == pytest.approx(first, rel=1e-6)
    assert all(ArrayStore(path.parent).rows for path in files)


def test_no_pickle_is_ever_read(tmp_path):
    marker = tmp_path / "called"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    with (tmp_path / "x.npz").open("wb") as stream:
        np.savez(stream, keys=np.array(["a"]), rows=np.array([Trap()], dtype=object))
    assert ArrayStore(tmp_path).rows == {} and not marker.exists()


@dataclass(frozen=True, eq=False)
class Counted(FeatureExtractor):
    """Sees two numbers of each image; ends the process, as a kill would, at the image before which it is told to."""

    before: int = 10**9
    shown: list[int] = field(default_factory=list)
    name = version = "counted"

    def features(self, images):
        self.shown.append(len(images))
        if sum(self.shown) > self.before:
            raise KeyboardInterrupt
        return np.array([[image.mean(), image.std()] for image in images], np.float32)


class CountedKernel(SetMetric):
    name, title = "counted", "counted"

    def __init__(self, look: Counted) -> None:
        self.look = look

    @property
    def extractor(self):
        return self.look

    def between(self, results, truths):
        return KernelStatistic(results, truths)


def synthetic(folder: Path, images: int, size: int):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from measure_memory import make_run
    finally:
        sys.path.pop(0)
    folder.mkdir()
    return make_run(folder, images, size, ["ssim"])


def test_a_measurement_that_was_ended_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment, records = synthetic(tmp_path / "run", 2 * PORTION + 5, 16)
    ended = Counted(before=3 * PORTION)
    with pytest.raises(KeyboardInterrupt):
        samples(experiment, records, [CountedKernel(ended)])
    assert ended.shown == [PORTION] * 4, "two portions, results and truths of each"
    second = Counted()
    found, _ = samples(experiment, records, [CountedKernel(second)])
    assert second.shown == [PORTION, 5, 5], "the truths of the second portion, and the rest"
    whole, _ = samples(*synthetic(tmp_path / "other", 2 * PORTION + 5, 16), [CountedKernel(Counted())])
    assert estimate(found["counted"], 20) == estimate(whole["counted"], 20)


def test_an_image_that_changes_meanwhile_spoils_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment, records = synthetic(tmp_path / "run", 2, 16)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "run" / "truths" / "00001.png")
    with pytest.raises(UserError, match="image 00001 changed while it was measured; run the same command again"):
        samples(experiment, records, [CountedKernel(Counted())])
    assert not [path for path in (tmp_path / "run").rglob("*.npz") if "ddnm" not in path.parts], "of truths nothing"


def peak(folder: Path, images: int) -> int:
    """Bytes that measuring so many images of 128x128 (48 KiB each) took at most, as numpy and Pillow allocate them."""
    experiment, records = synthetic(folder, images, 128)
    tracemalloc.start()
    try:
        samples(experiment, records, [CountedKernel(Counted())])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    size = 128 * 128 * 3
    few, many = peak(tmp_path / "few", PORTION), peak(tmp_path / "many", 5 * PORTION)
    assert few > PORTION * size, "a portion of results or truths is held"
    assert many - few < PORTION * size, "of four times as many more, not even one portion more"


@pytest.mark.long
def test_two_processes_measure_the_same_folder(finished):
    out = finished.setup.config["output_root"]
    overrides = [*QUICK, "limit=3", f"output_root={out}", f"metrics.names=[{','.join(NAMES)}]"]
    command = [sys.executable, str(ROOT / "scripts" / "run.py"), *overrides]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == [b"", b""] and not any(p.returncode for p in both)
    kept = json.loads((finished.store.path / "summary.json").read_text())["metrics"]
    assert {name: entry["value"] for name, entry in kept.items()} == pytest.approx(measure(finished), rel=1e-6)


HEAVY = {"timm", "lpips", "torch_fidelity", "transformers", "sklearn", "torchmetrics", "diffusers", "torchvision"}
AGAIN = """
import json, sys
from isdiff.config.composing import compose_run
from isdiff.runs.experiment import Experiment
from isdiff.runs.run import execute
import torch
torch.nn.Module.__call__ = lambda *args: sys.exit("a network was asked")
execute(compose_run(sys.argv[1:]))
for method in ("hd_painter", "si+isdiff"):
    Experiment.of(compose_run([f"method={{method}}"]))
print(json.dumps(sorted(set(sys.modules) & set({heavy!r}))))
"""


def test_a_finished_run_loads_no_network_and_no_package_of_metrics(tmp_path):
    names = "metrics.names=[lite0_perceptual,lite0_kid,perceptual,ssim]"
    overrides = [*QUICK, "limit=2", f"output_root={tmp_path}", names]
    run_script(*overrides)
    again = AGAIN.format(heavy=HEAVY)
    command = [sys.executable, "-c", again, *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
