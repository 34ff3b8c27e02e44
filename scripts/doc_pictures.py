"""The pictures of docs/algorithm.md: what a seed looks like, and what a retry changes.

The first images of the drawn landscapes with expand masks, deterministic steps, seed 0. Which are shown is a rule: for
the seed the first image whose first attempt passed, for the retry the first of which a later one did.
"""

from __future__ import annotations

from isdiff.config.composing import compose_run
from isdiff.io.contact_sheet import contact_sheet, with_hole
from isdiff.paths import placed
from isdiff.pictures.inpaint import inpaint
from isdiff.runs.experiment import Experiment

COUNT = 16
SETTINGS = ["dataset=landscapes", "mask=expand", "sampler.steps=50", "sampler.repeat=1", "sampler.eta=0"]


def main() -> None:
    run = Experiment.of(compose_run(["method=ddnm+isdiff", *SETTINGS, f"limit={COUNT}"]))
    ids = run.ids()
    truths = [run.dataset.image(image_id) for image_id in ids]
    holes = [run.setup.masks.hole(image_id, *truth.shape[:2]) for image_id, truth in zip(ids, truths, strict=True)]

    def filled(method: str, *settings: str):
        overrides = [*SETTINGS[2:], *settings]
        return inpaint(truths, holes, method, run.network["model"], ids=ids, overrides=overrides, progress=True)

    plain, first, kept = filled("ddnm"), filled("ddnm+isdiff", "isdiff=seed_only"), filled("ddnm+isdiff")
    passed = next(n for n, (window,) in enumerate(kept.trace) if len(window.dce) == 1)
    refinement = run.setup.refinement
    assert refinement is not None
    retried = next(
        n
        for n, (window,) in enumerate(kept.trace)
        if window.chosen > 0 and refinement.passes(window.dce[window.chosen])
    )
    folder = placed("docs/pictures")
    shown = (
        with_hole(truths[passed], holes[passed]),
        plain.images[passed],
        kept.seed_images[passed],
        kept.images[passed],
    )
    titles = ["input", "from noise", "the seed", "from the seed", "truth"]
    contact_sheet(folder / "seed.png", titles, [[(picture, "") for picture in (*shown, truths[passed])]])
    (window,) = kept.trace[retried]
    captions = [
        f"DCE {value:.2f}, start {start:.0f}" for value, start in zip(window.dce, window.start_timesteps, strict=True)
    ]
    tiles = [
        (with_hole(truths[retried], holes[retried]), ""),
        (first.images[retried], captions[0]),
        (kept.images[retried], captions[window.chosen]),
        (truths[retried], ""),
    ]
    contact_sheet(folder / "retry.png", ["input", "without a retry", "what was kept", "truth"], [tiles])


if __name__ == "__main__":
    main()
