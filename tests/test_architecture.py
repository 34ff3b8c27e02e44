"""The house keeps its shape: imports run downwards, without circles, and configurations stay upstairs."""

import ast
import re
from pathlib import Path

from conftest import ROOT

# From the ground up: a module imports from its own floor and those below. What comes before config is the library:
# tensors in, tensors out.
FLOORS = [
    ("errors", "environment", "devices", "packages", "paths", "progress", "checks", "component", "process_state"),
    ("diffusion",),
    ("prediction", "trajectory"),
    ("nets", "known", "seeds", "refine"),
    ("io", "samplers"),
    ("priors", "data"),
    ("masks",),
    ("engine", "method", "metrics", "models", "plugin"),
    ("config", "loggers"),
    ("runs", "parallel"),
    ("pictures", "tables"),
    ("study",),
    ("app",),
    ("cli",),
    ("__main__",),
]
RANK = {name: floor for floor, names in enumerate(FLOORS) for name in names}
CONFIGURED = ("config", "cli")


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "isdiff").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path: Path) -> set[str]:
    """Modules of isdiff that a file imports anywhere in it, type checking included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name in MODULES and name != "isdiff"}


IMPORTS = {name: imported(path) - {name} for name, path in MODULES.items()}


def rank(module: str) -> int:
    return RANK[module.split(".")[1]]


def test_every_module_has_a_floor():
    assert {name.split(".")[1] for name in MODULES if "." in name} == set(RANK)


def test_imports_run_downwards():
    upward = [(a, b) for a, found in IMPORTS.items() if "." in a for b in found if rank(b) > rank(a)]
    assert not upward


def test_there_are_no_circles():
    left = {name: set(found) for name, found in IMPORTS.items()}
    while free := [name for name, found in left.items() if not found & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"circles among {sorted(left)}"


def test_the_library_knows_no_configuration():
    for name, path in MODULES.items():
        if "." in name and name.split(".")[1] not in CONFIGURED:
            code = path.read_text("utf-8")
            assert "omegaconf" not in code and "import hydra" not in code, name


def test_modules_stay_short():
    long = {name: n for name, path in MODULES.items() if (n := path.read_text("utf-8").count("\n")) > 340}
    assert not long


def test_classes_name_their_arguments_and_not_keys_of_configurations():
    """Who builds an object from YAML adds the key; a key in the class would stand there twice."""
    key = re.compile(
        r'(?:check_\w+|BadValue)\(\s*f?"(?:sampler|isdiff|model|latent|dataset|mask|metric|logger|output|runtime)\.'
    )
    found = [name for name, path in MODULES.items() if key.search(path.read_text("utf-8"))]
    assert not [name for name in found if not name.startswith("isdiff.config.")]
