"""What isdiff works with here: versions, device, precision, which weights there are, a test image with its time."""

import time

from isdiff.cli.command import Parser

STEPS = 10


def main(arguments: list[str]) -> None:
    parser = Parser("isdiff doctor", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    device_asked = parser.parse_args(arguments).device
    from isdiff.cli.models import model_states
    from isdiff.config.metrics import build_metrics
    from isdiff.config.search_path import config_names
    from isdiff.devices import resolve_device, resolve_precision
    from isdiff.environment import device_name, git_commit, package_versions
    from isdiff.paths import located, placed
    from isdiff.runs.measure import absent

    device = resolve_device(device_asked)
    lines: dict[str, object] = {
        **package_versions(),
        "commit": git_commit(),
        "device": f"{device}: {device_name(device)}",
        "precision": resolve_precision("auto", device),
        "written to": placed("outputs").absolute(),
        "models from": located("models").absolute(),
    }
    lines |= {f"model {name}": state for name, (_, state, _) in model_states().items()}
    lines |= {f"metric {name}": "; ".join(absent(build_metrics([name]))) or "here" for name in config_names("metric")}
    for name, text in lines.items():
        print(f"{name:24} {text}")
    try_one(device_asked)


def try_one(device: str) -> None:
    """Fill half of a shipped photograph, twice: the second time nothing is set up any more."""
    from isdiff.data.shipped import PhotoDataset
    from isdiff.errors import UserError
    from isdiff.masks.generated import HalfMask
    from isdiff.pictures.jobs import Inpainter, Job

    dataset = PhotoDataset()
    pixels = dataset.image(dataset.ids()[0])
    inpainter = Inpainter(steps=STEPS, overrides=[f"runtime.device={device}"])
    job = Job("the test image", pixels, HalfMask().hole("", *pixels.shape[:2]))
    for _ in range(2):
        begun = time.perf_counter()
        (filled,) = inpainter.stream([job])
        seconds = time.perf_counter() - begun
        if filled.failure:
            raise UserError(f"the test image could not be made: {filled.failure}")
    calls = sum(trace.network_calls for trace in filled.trace)
    print(f"{'test image':24} {inpainter.label} with {inpainter.model}: {calls} network calls in {seconds:.2f} s")
