"""Compositions that are kept: what Hydra makes anew, and nobody's changes."""

import pytest

from isdiff.config.composing import by_hydra, composed

WORDS = [
    [], ["seed=3", "prompt=dog", "limit=null"], ["method=ddnm", "isdiff=on", "isdiff.start.lambda=0.3"],
    ["dataset=celeba", "method=si", "metrics.names=[ssim,lpips]"], ["isdiff/seed=mean", "output={seam: 9}"],
    ["+model.how=x", "~output.seam", "seed=4"], ["sampler.steps=3", "sampler=heun", "sampler.steps=4"],
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_what_is_kept_is_what_hydra_makes(words):
    for _ in range(2):
        found = composed(words)
        assert found == by_hydra.__wrapped__(tuple(words), ())
        found.seed, found.method.name = 99, "changed"


def test_a_file_that_changes_is_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "configs" / "mask" / "mine.yaml"
    file.parent.mkdir(parents=True)
    for name in ("first", "second"):
        file.write_text(f"name: {name}")
        assert composed(["mask=mine", "seed=1"]).mask.name == name
