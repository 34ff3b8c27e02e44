"""What is measured of a run, once: values and features are kept beside its records, and from then on only read.

``<run>/measured/<extractor>-<version>/`` has values of pairs and features of results; features of truths are the same
for all runs and lie in ``<output_root>/<dataset>/measured/``. Keys are hashes of what was looked at.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from isdiff.data.images import pixels_hash
from isdiff.errors import UserError
from isdiff.metrics.base import Absent, FeatureExtractor, Features, Metric, Unavailable
from isdiff.metrics.networks import DEVICE
from isdiff.metrics.samples import Statistic
from isdiff.metrics.store import ArrayStore
from isdiff.runs.experiment import Experiment

PORTION = 64  # images that are looked at before what was seen is kept; nothing holds more of them
PAIRS, RESULTS, TRUTHS = range(3)  # kinds of what is seen

Records = list[dict[str, Any]]


def absent(metrics: Sequence[Metric]) -> list[str]:
    """List networks of metrics that are not here, each with the command that gets it."""
    lines: dict[str, None] = {}
    for metric in metrics:
        try:
            _ = metric.version
        except Unavailable as error:  # others measure other images than these, which the summary says
            lines |= {str(error): None} if isinstance(error, Absent) else {}
    return list(lines)


def samples(
    experiment: Experiment, records: Records, metrics: Sequence[Metric]
) -> tuple[dict[str, Statistic], dict[str, str]]:
    """Measure the images of ``records``, by metric; also returns why others cannot run here."""
    found: dict[str, Statistic] = {}
    skipped: dict[str, str] = {}
    for extractor in dict.fromkeys(metric.extractor for metric in metrics):
        served = [metric for metric in metrics if metric.extractor == extractor]
        try:
            prompts = [experiment.prompt(r["id"]) if extractor.prompted else "" for r in records]
            extractor.require(prompts)
            run = RunFeatures(experiment, records, prompts, extractor)
            values, features = (any(m.of_sets == of_sets for m in served) for of_sets in (False, True))
            seen = Features(*run.seen([values, features, features]))
        except Unavailable as error:
            skipped |= {metric.name: str(error) for metric in served}
            continue
        for metric in served:
            try:
                found[metric.name] = metric.sample(seen)
                found[metric.name].groups = sources(experiment, records)
                found[metric.name].folder = run.folder
            except Unavailable as error:
                skipped[metric.name] = str(error)
    return found, skipped


def result_features(experiment: Experiment, records: Records, extractor: FeatureExtractor) -> np.ndarray:
    """Return features (N, D) of a run's results alone."""
    features = RunFeatures(experiment, records, [""] * len(records), extractor).seen([False, True, False])[RESULTS]
    assert features is not None
    return features


def sources(experiment: Experiment, records: Records) -> np.ndarray | None:
    """Return the number of each image's source; None where each has its own."""
    named = [experiment.dataset.source(record["id"]) for record in records]
    return None if len(set(named)) == len(named) else np.unique(named, return_inverse=True)[1]


class RunFeatures:
    """The images of a run as one extractor has seen them."""

    def __init__(
        self, experiment: Experiment, records: Records, prompts: list[str], extractor: FeatureExtractor
    ) -> None:
        self.experiment, self.records, self.prompts, self.extractor = experiment, records, prompts, extractor
        label = f"{extractor.name}-{extractor.version}"
        self.folder = own = experiment.store.path / "measured" / label
        shared = experiment.setup.folder / "measured" / label
        self.stores = [ArrayStore(own / "values"), ArrayStore(own / "features"), ArrayStore(shared / "features")]
        hashes = experiment.store.picture_hashes([r["id"] for r in records])
        pictures = [digest or pixels_hash(experiment.store.image(name)) for name, digest in hashes.items()]
        truths = [r["image_sha"] for r in records]
        pairs = [f"{a}-{b}" for a, b in zip(pictures, truths, strict=True)]
        if extractor.masked:
            pairs = [f"{pair}-{record['mask_sha']}" for pair, record in zip(pairs, records, strict=True)]
        if extractor.prompted:
            texts = [hashlib.sha256(prompt.encode()).hexdigest()[:16] for prompt in prompts]
            pairs = [f"{pair}-{text}" for pair, text in zip(pairs, texts, strict=True)]
        self.keys = [pairs, pictures, truths]

    def seen(self, wanted: Sequence[bool]) -> list[np.ndarray | None]:
        """Return what is kept of the wanted kinds, after a look at what is not."""
        DEVICE.set(str(self.experiment.device))
        for start in range(0, len(self.records), PORTION):
            self.look(range(start, min(start + PORTION, len(self.records))), wanted)
        return [s.take(k) if w else None for s, k, w in zip(self.stores, self.keys, wanted, strict=True)]

    def missing(self, kind: int, places: Sequence[int]) -> list[int]:
        first = {self.keys[kind][i]: i for i in reversed(places)}
        return sorted(i for key, i in first.items() if key not in self.stores[kind])

    def look(self, places: Sequence[int], wanted: Sequence[bool]) -> None:
        if pairs := self.missing(PAIRS, places) if wanted[PAIRS] else []:
            before, after = ([self.read(kind, i) for i in pairs] for kind in (RESULTS, TRUTHS))
            given: list[Any] = [self.prompts[i] for i in pairs]  # beside result and truth
            if self.extractor.masked:
                holes, ids = self.experiment.setup.masks, [self.records[i]["id"] for i in pairs]
                given = [holes.hole(name, *truth.shape[:2]) for name, truth in zip(ids, after, strict=True)]
            seen = self.extractor.extract(before, after, given)
            for kind, rows in enumerate((seen.values, seen.results, seen.truths)):
                if rows is not None:
                    self.keep(kind, pairs, rows)
        for kind in (RESULTS, TRUTHS):
            if rest := self.missing(kind, places) if wanted[kind] else []:
                self.keep(kind, rest, self.extractor.features([self.read(kind, i) for i in rest]))

    def keep(self, kind: int, places: list[int], rows: np.ndarray) -> None:
        """What is kept already stays as it is: other portions give other last digits."""
        new = [n for n, i in enumerate(places) if self.keys[kind][i] not in self.stores[kind]]
        if new:
            self.stores[kind].add([self.keys[kind][places[n]] for n in new], rows[new])

    def read(self, kind: int, place: int) -> np.ndarray:
        image_id = self.records[place]["id"]
        pixels = (self.experiment.store if kind == RESULTS else self.experiment.dataset).image(image_id)
        if pixels_hash(pixels) != self.keys[kind][place]:  # what is kept must not become wrong
            raise UserError(f"image {image_id} changed while it was measured; run the same command again")
        return pixels
