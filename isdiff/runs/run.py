"""One experiment from configuration to folder: sample what is missing, then measure and report."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from isdiff.config.nodes import Config
from isdiff.config.setup import Setup
from isdiff.errors import SomeFailed, UserError, summed_up
from isdiff.loggers.base import Session, Subject
from isdiff.progress import Reporter
from isdiff.runs.experiment import MODEL_CACHE, Experiment
from isdiff.runs.measure import absent
from isdiff.runs.report import draw_grid, logged_images, readable, summarise
from isdiff.runs.sampling import sample_all

Listener = Callable[[Mapping[str, float]], None]


@dataclass
class Outcome:
    """A run that went to its end, with the images that ``failed`` and why."""

    experiment: Experiment
    summary: dict[str, Any]
    failed: dict[str, str]


def current_records(experiment: Experiment, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return the folder's records that still hold; drop the others, and say so.

    They do not hold for another run, a damaged picture, or another image, mask or text than went in. Files are read
    again only where their size or date changed; what cannot be read now is kept.
    """
    store, records = experiment.store, experiment.store.records()
    hashes = store.picture_hashes([i for i in ids if i in records])
    spoiled = {image_id for image_id, digest in hashes.items() if digest != records[image_id]["picture_sha"]}
    spoiled |= {image_id for image_id, record in records.items() if record["run"] != experiment.hash}
    changed, stamps = set(), {}
    for image_id in [i for i in ids if i in records]:
        record = records[image_id]
        try:
            now = experiment.stamps(image_id)
            if now == record["stamps"] and all(now[:2]):
                continue
            given = experiment.read(image_id)
        except UserError:
            continue
        same = given.content == {key: record[key] for key in given.content}
        if same and given.stamps[-1] == record["stamps"][-1]:
            stamps[image_id] = {"stamps": given.stamps}
        else:
            changed.add(image_id)
    whys = {"pictures are damaged or not what was made": spoiled, "images or masks changed since the last run": changed}
    for why, dropped in whys.items():
        if dropped:
            print(f"isdiff: {why}: {len(dropped)} (first: {min(dropped)}); sampled anew", file=sys.stderr)
    return store.tidy(ids, spoiled | changed, stamps) if spoiled or changed or stamps else records


def execute(run: Config | Setup, listen: Listener | None = None, quiet: bool = False) -> Outcome:
    """Make a run: images that its folder already has are kept, missing ones are sampled.

    Args:
        listen: hears how far sampling has come, as :class:`~isdiff.progress.Reporter` counts it.
        quiet: show no progress.
    """
    setup = run if isinstance(run, Setup) else Setup.of(run)
    experiment = Experiment(setup, absent(setup.metrics), MODEL_CACHE)
    setup.logger.prepare()  # one that could not log is refused at once
    store, ids = experiment.store, experiment.ids()
    for note in experiment.remarks():
        print(f"isdiff: {note}", file=sys.stderr)
    store.sweep()
    done = current_records(experiment, ids)
    todo = [image_id for image_id in ids if image_id not in done]
    experiment.require(todo)  # before anything is sampled or logged
    failed: dict[str, str] = {}
    with setup.logger.session(subject(experiment)) as session:
        kept = yaml.safe_dump(experiment.kept, sort_keys=False, allow_unicode=True)
        store.write_text("config.yaml", f"# {experiment.hash}: hash of what the results depend on\n{kept}")
        if todo:
            failed = sample_missing(experiment, len(ids), todo, session, listen, quiet)
        records = store.tidy(ids)
        chosen = [records[image_id] for image_id in ids if image_id in records]
        if not chosen:
            if not records:
                store.drop_empty()
            raise SomeFailed(f"no image could be sampled: {'; '.join(summed_up(failed, 3)) or 'there are no images'}")
        summary = summarise(experiment, chosen, failed, len(todo) - len(failed))
        store.write_json("summary.json", summary)
        store.write_text("summary.md", readable(summary, experiment))
        if todo or not (store.path / "grid.png").exists():
            draw_grid(experiment, chosen)
        session.finish(summary, logged_images(experiment, chosen))
    return Outcome(experiment, summary, failed)


def sample_missing(
    experiment: Experiment, count: int, todo: list[str], session: Session, listen: Listener | None, quiet: bool
) -> dict[str, str]:
    title = f"{experiment.setup.title} on {', '.join(experiment.setup.names)}"

    def hear(numbers: Mapping[str, float]) -> None:
        session.progress(numbers)
        if listen:
            listen(numbers)

    with Reporter(title, count, done=count - len(todo), listen=hear, quiet=quiet) as bar:
        return sample_all(experiment, todo, bar)


def subject(experiment: Experiment) -> Subject:
    setup, folder = experiment.setup, experiment.store.path
    row = setup.config["logger"].get("job_type") or setup.title
    # Runs that differ in their seeds alone have one cell.
    facts = {"cell": f"{', '.join(setup.names)}: {row}", "result_hash": experiment.hash, "network": experiment.network}
    return Subject(
        f"{setup.label}-{setup.names[1]}-{folder.name}", folder, {**setup.config, **facts}, job_type=setup.label,
        tags=(*setup.names, setup.label),
    )  # fmt: skip
