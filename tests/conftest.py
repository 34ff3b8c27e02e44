"""Shared fixtures. Tests run on the CPU, offline, on what ships with the repository."""

import atexit
import contextlib
import importlib
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from safetensors.torch import load_file

from isdiff.errors import Missing, UserError

# Machines are slow and busy. Where slow tests are left out, ten examples, each time the same.
settings.register_profile("all", deadline=None)
settings.register_profile("few", settings.get_profile("all"), max_examples=10, derandomize=True)
os.environ.setdefault("WANDB_MODE", "offline")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="isdiff-cache-")  # nothing of the user's is read or written
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
os.environ.pop("ISDIFF_HOME", None)  # a test that wants one sets it
ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
sys.path.append(str(ROOT / "scripts"))  # for the package ``training``, which is not in the wheel
UNHURRIED = Path(__file__).parent / "unhurried.txt"

# No network, here (what is imported below), in Python processes that tests start, and in others that heed proxies.
OFFLINE = str(Path(__file__).parent / "offline")
sys.path.insert(0, OFFLINE)
sys.modules.pop("sitecustomize", None)  # a distribution's own
importlib.import_module("sitecustomize")
sys.path.remove(OFFLINE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
for name in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ[name] = os.environ[name.upper()] = "http://127.0.0.1:9"  # where nobody listens
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1"


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="leave out the tests that tests/unhurried.txt names")
    parser.addoption("--rest", action="store_true", help="only those, which --fast leaves out")
    parser.addoption("--unhurried", type=float, metavar="S", help="write there which tests took more than S seconds")


def pytest_configure(config):
    settings.load_profile("few" if "not slow" in config.getoption("markexpr") else "all")


def pytest_ignore_collect(collection_path, config):
    """Files of which ``--rest`` runs nothing are not even imported."""
    if config.getoption("--rest") and collection_path.name.startswith("test_"):
        named = {name.partition("::")[0] for name in UNHURRIED.read_text().splitlines()}
        return True if str(collection_path.relative_to(ROOT)) not in named else None
    return None


def pytest_collection_modifyitems(config, items):
    fast, rest = config.getoption("--fast"), config.getoption("--rest")
    if fast and rest:
        raise pytest.UsageError("--fast and --rest together are all tests: give neither")
    if fast or rest:
        named = set(UNHURRIED.read_text().splitlines())
        config.hook.pytest_deselected(items=[item for item in items if (item.nodeid in named) != rest])
        items[:] = [item for item in items if (item.nodeid in named) == rest]


def pytest_terminal_summary(terminalreporter, config):
    """The list that ``--fast`` goes by, from this run; setting up counts, since the next test would have to do it."""
    if limit := config.getoption("--unhurried"):
        took = Counter()
        for report in [r for kind in terminalreporter.stats.values() for r in kind if hasattr(r, "duration")]:
            took[report.nodeid] += report.duration
        UNHURRIED.write_text("".join(f"{name}\n" for name in sorted(took) if took[name] > limit))


NO_SENTENCES: list[str] = []


def noting(error: UserError, message: str, init=UserError.__init__) -> None:
    init(error, message)
    if not isinstance(error, Missing) and (not message or "\n" in str(error)):
        NO_SENTENCES.append(str(error))


UserError.__init__ = noting


@pytest.fixture(autouse=True)
def every_error_is_one_sentence():
    """Whatever a test does; of what is missing it is a line each."""
    yield
    found = NO_SENTENCES[:]
    NO_SENTENCES.clear()
    assert not found


def golden_json(name: str) -> dict:
    return json.loads((GOLDEN / name).read_text())


class Answers:
    """A prior in pixel space whose answers are a function's."""

    def __init__(self, predict) -> None:
        self.predict = predict

    def prepare(self, task, prompt=""):
        return task

    def decode(self, states, tasks):
        return states


def images_of(dataset: str, count: int) -> torch.Tensor:
    """The first images of a shipped test split, (count, 3, 64, 64) in [-1, 1]."""
    from isdiff.data.images import to_tensor
    from isdiff.data.shipped import DrawnDataset, PhotoDataset

    root = str(ROOT / "data")
    data = PhotoDataset(root=root) if dataset == "photos" else DrawnDataset(dataset, root=root)
    return torch.stack([to_tensor(data.image(i)) for i in data.ids()[:count]])


@pytest.fixture(scope="session")
def golden_net():
    """The small recorded network of the sampler recordings."""
    from isdiff.nets.unet import UNet

    net = UNet(**golden_json("unet_numeric/gd_p1.json")["constructor"])
    tensors = load_file(GOLDEN / "unet_numeric" / "gd_p1.safetensors")
    net.load_state_dict({k.removeprefix("sd."): v.float() for k, v in tensors.items() if k.startswith("sd.")})
    return net.eval()


@pytest.fixture(scope="session")
def golden_ddim_net():
    """The small recorded network of the DDIM family."""
    from isdiff.nets.ddim import DDIMUNet

    recorded = golden_json("unet_numeric/ddim_p1.json")["constructor"]
    names = ("ch", "ch_mult", "num_res_blocks", "attn_resolutions", "dropout")
    options = {name: recorded["model"][name] for name in names}
    net = DDIMUNet(image_size=recorded["data"]["image_size"], **options)
    tensors = load_file(GOLDEN / "unet_numeric" / "ddim_p1.safetensors")
    net.load_state_dict({k.removeprefix("sd."): v.float() for k, v in tensors.items() if k.startswith("sd.")})
    return net.eval()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, golden_net) -> list[str]:
    """Overrides for a run on a small model and six small images."""
    from configured import tiny_images

    return tiny_images(tmp_path_factory.mktemp("tiny"), golden_net, 6)


@pytest.fixture
def latent_copy(tmp_path):
    """The shipped latent model, without the note that would catch every change."""
    left_out = shutil.ignore_patterns("SHA256SUMS", "card", "README.md")
    return Path(shutil.copytree(ROOT / "models" / "avatars64-latent", tmp_path / "latent", ignore=left_out))


@pytest.fixture
def posteriors_mean(monkeypatch):
    """Pipelines draw latents from the autoencoder's posterior; here they get its mean, as isdiff takes it."""
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)


@pytest.fixture
def golden_prior(golden_net):
    from isdiff.priors.pixel import PixelPrior

    return PixelPrior(golden_net, torch.device("cpu"))


def run_script(
    *args: str, command: str = "run", script: str = "", check: bool = True, process: bool = False, **options
) -> subprocess.CompletedProcess:
    """A command of isdiff, or a script of the repository, with what a user types behind it: exit status and all said.

    It runs in this process, where everything is imported already; in its own with ``process=True``, or where
    ``options`` of ``subprocess.run`` are given (an environment, limits).
    """
    path = str(ROOT / "scripts" / script) if script else ""
    words = [path, *args] if script else ["-m", "isdiff", command, *args]
    if process or options:
        done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, **options)
    else:
        done = run_here(path, *words[1 if script else 2 :])
    if check and done.returncode:
        raise AssertionError(f"{script or command} {' '.join(args)} failed:\n{done.stdout}\n{done.stderr}")
    return done


def run_here(path: str, *args: str) -> subprocess.CompletedProcess:
    """Run a script, or isdiff, as ``__main__`` here; only what no script may end with (an exception) gets out."""
    before, out, err = (sys.argv, sys.path[:], os.getcwd()), io.StringIO(), io.StringIO()
    status: int | str | None = 0
    try:
        sys.argv = [path or "isdiff", *args]
        sys.path.insert(0, os.path.dirname(path))  # as Python does
        os.chdir(ROOT)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(path, run_name="__main__") if path else runpy.run_module("isdiff", run_name="__main__")
    except SystemExit as ended:
        status = ended.code
        if isinstance(status, str):  # sys.exit("a sentence")
            err.write(f"{status}\n")
            status = 1
    finally:
        sys.argv, sys.path[:] = before[:2]
        os.chdir(before[2])
    return subprocess.CompletedProcess([path, *args], status or 0, out.getvalue(), err.getvalue())
