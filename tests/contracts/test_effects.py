"""No key is without effect: each of a method, a sampler, a seed or a rule changes pictures where it is asked for.

What criteria are made of need only change what they say.
"""

import pytest
from omegaconf import OmegaConf

from isdiff.config.composing import compose_run
from isdiff.runs.run import execute

SHARED = {
    "sampler.steps": [5], "sampler.spacing": ["linspace", "trailing"], "sampler.repeat": [2], "sampler.jump": [3],
    "sampler.eta": [0.3],
}  # fmt: skip
ISDIFF = {
    "isdiff.seed.enabled": [False], "isdiff.seed.components": [1], "isdiff.seed.scale": [4],
    "isdiff.seed.max_pixels": [20], "isdiff.seed.fit": ["sklearn"],
    "isdiff.criterion.bins": [4], "isdiff.criterion.smoothing": [1.0], "isdiff.criterion.texture": [0],
    "isdiff.criterion.direction": ["known"],
    "isdiff.start.step": [0.8], "isdiff.start.lambda": [0.1],
    "isdiff.refine.enabled": [False], "isdiff.refine.attempts": [1, 2], "isdiff.refine.tau": [9],
    "isdiff.refine.checkpoint": [0.2], "isdiff.refine.margin": [0.9],
}  # fmt: skip
LANPAINT = {
    "sampler.inner_steps": [1], "sampler.step_size": [0.3], "sampler.friction": [2.0], "sampler.known_weight": [1.0],
    "sampler.exponent": [0.5], "sampler.signal_share": [0.5],
}  # fmt: skip
RESAMPLED = ["sampler.repeat=3", "sampler.jump=2"]
RETRIED = [
    "isdiff.refine.tau=0", "isdiff.refine.checkpoint=0.4", "isdiff.start.step=0.95", "isdiff.start.lambda=0.15",
]  # fmt: skip
CASES = {
    "ddnm": (["method=ddnm", *RESAMPLED], SHARED | {"sampler.version": ["simplified"]}),
    "repaint": (["method=repaint", "sampler.eta=1", *RESAMPLED], SHARED | {"method.known.clip_denoised": [False]}),
    "ancestral": (
        ["method=repaint", "sampler=ancestral", *RESAMPLED],
        SHARED | {"method.known.clip_denoised": [False]},
    ),
    "dpmpp": (["method=ddnm", "sampler=dpmpp_2m", *RESAMPLED], SHARED | {"sampler.stochastic": [True]}),
    "lanpaint": (
        ["method=lanpaint", "sampler.inner_steps=2", *RESAMPLED],
        SHARED | LANPAINT | {"sampler.spacing": ["trailing"]},
    ),
    "isdiff": (["method=ddnm+isdiff", "sampler.eta=0", *RETRIED], ISDIFF),
    "sonic": (
        ["method=sonic", *RETRIED, "isdiff.refine.enabled=true", "isdiff.start.iterations=2", "isdiff.start.steps=3"],
        {
            "isdiff.start.step": [0.8], "isdiff.start.lambda": [0.1], "isdiff.start.iterations": [1],
            "isdiff.start.steps": [2], "isdiff.start.rate": [0.5],
        },
    ),
}  # fmt: skip
SEEDS = {  # the paper's is among ISDIFF
    "gmm_position": {"components": [1], "height": [0.3], "max_pixels": [20]},
    "telea": {"radius": [5]},
    "patchmatch": {"loops": [1]},
    "patches": {"steps": [4], "eta": [0.0]},
}
for seed, keys in SEEDS.items():
    whole = ["method=ddnm", "isdiff=seed_only", "sampler.eta=0", f"isdiff/seed={seed}"]
    CASES[seed] = (whole, {f"isdiff.seed.{key}": values for key, values in ({"enabled": [False]} | keys).items()})
FLOORS = {"telea": {"method.fill.radius": [5]}, "patchmatch": {"method.fill.loops": [1]}}
CASES |= {f"method {name}": ([f"method={name}"], changes) for name, changes in FLOORS.items()}
# Whose keys a case is about.
GROUPS = {"isdiff": ["isdiff"], "sonic": ["isdiff.start"]} | {seed: ["isdiff.seed"] for seed in SEEDS}
GROUPS |= {f"method {name}": ["method.fill"] for name in FLOORS}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, tiny):
    """From overrides to the pictures of six small images, with the DCE of their attempts."""
    common = [
        *tiny, "metrics.names=null", "output.composite=raw", f"output_root={tmp_path_factory.mktemp('effects')}",
        "runtime.precision=fp32", "sampler.steps=8",
    ]  # fmt: skip

    def of(overrides):
        done = execute(compose_run([*common, *overrides])).experiment.store
        return {name: (done.image(name).tobytes(), record["dce"]) for name, record in done.records().items()}

    return of


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_each_key_changes_pictures(pictures, name):
    base, changes = CASES[name]
    config = compose_run(base)
    groups = GROUPS.get(name, ["sampler", "method.known"])
    there = {f"{group}.{key}" for group in groups for key in leaves(OmegaConf.select(config, group))}
    assert there <= changes.keys(), "a key that is not listed here"
    before = pictures(base)
    assert len(before) == 6
    silent = [f"{k}={v}" for k in sorted(there) for v in changes[k] if pictures([*base, f"{k}={v}"]) == before]
    assert not silent


def leaves(node, prefix=""):
    """The keys below a node that have values, as one writes them."""
    for key, value in OmegaConf.to_container(node, resolve=True).items():
        if isinstance(value, dict):
            yield from leaves(node[key], f"{prefix}{key}.")
        elif key != "_target_":
            yield f"{prefix}{key}"
