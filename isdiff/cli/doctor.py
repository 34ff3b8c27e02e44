"""What isdiff works with here: versions, device, precision, which weights there are, a test image with its time."""

from __future__ import annotations

import time

from isdiff.cli.command import Parser

STEPS = 10


def main(arguments: list[str]) -> None:
    """Print all of it."""
    parser = Parser("isdiff doctor", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    args = parser.parse_args(arguments)
    from isdiff.cli.models import model_states
    from isdiff.config.metrics import build_metrics
    from isdiff.config.search_path import config_names
    from isdiff.devices import resolve_device, resolve_precision
    from isdiff.environment import device_name, git_commit, package_versions
    from isdiff.paths import located, placed
    from isdiff.runs.measure import absent

    for name, version in package_versions().items():
        print(f"{name:24} {version}")
    print(f"{'commit':24} {git_commit()}")
    device = resolve_device(args.device)
    print(f"{'device':24} {device}: {device_name(device)}")
    print(f"{'precision':24} {resolve_precision('auto', device)}")
    print(f"{'written to':24} {placed('outputs').absolute()}")
    print(f"{'models from':24} {located('models').absolute()}")
    for name, (_, state, _) in model_states().items():
        print(f"{'model ' + name:24} {state}")
    for name in config_names("metric"):
        print(f"{'metric ' + name:24} {'; '.join(absent(build_metrics([name]))) or 'here'}")
    try_one(args.device)


def try_one(device: str) -> None:
    """Fill half of a shipped photograph, twice: the second time nothing is set up any more."""
    from isdiff.config.build import build
    from isdiff.config.composing import compose_run
    from isdiff.data.base import Dataset
    from isdiff.errors import UserError
    from isdiff.pictures.inpaint import hole_of, job_of
    from isdiff.pictures.jobs import Inpainter
    from isdiff.pictures.picture import picture_of

    dataset = build(compose_run(["dataset=photos"]).dataset, Dataset)
    picture = picture_of(dataset.image(dataset.ids()[0]), "the test image")
    inpainter = Inpainter(steps=STEPS, overrides=[f"runtime.device={device}"])
    job = job_of(picture, hole_of("half", picture), picture.name, 0)
    for _ in range(2):
        begun = time.perf_counter()
        (filled,) = inpainter.stream([job])
        seconds = time.perf_counter() - begun
        if filled.failure:
            raise UserError(f"the test image could not be made: {filled.failure}")
    calls = sum(trace.network_calls for trace in filled.trace)
    print(f"{'test image':24} {inpainter.label} with {inpainter.model}: {calls} network calls in {seconds:.2f} s")
