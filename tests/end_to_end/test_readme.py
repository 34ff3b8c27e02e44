"""What README and documentation show works as shown."""

import json
import re
import shlex
from itertools import takewhile

import pytest
import yaml
from conftest import ROOT
from PIL import Image
from plugin_parts import MAKERS

from isdiff.cli import main
from isdiff.cli.inpaint import parse
from isdiff.data.shipped import DrawnDataset
from isdiff.masks.generated import HalfMask

PAGES = {path: path.read_text("utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TEXT = "\n".join(PAGES.values())


MADE_UP = {"models/metrics/", "models/hpsv2"}
BLOCKS = [(path.name, code) for path, text in PAGES.items() for code in re.findall(r"```python\n(.*?)```", text, re.S)]
NOTEBOOK = "\n".join(code for page, code in BLOCKS if page == "notebook.md")  # one program
BLOCKS = [*(block for block in BLOCKS if block[0] != "notebook.md"), ("notebook.md", NOTEBOOK)]


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A folder with the files that printed code opens; Flux is a tiny random one."""
    folder = tmp_path_factory.mktemp("beside")
    data = DrawnDataset("avatars", root=str(ROOT / "data"))
    photo, mask = Image.fromarray(data.image(data.ids()[0])), Image.fromarray(HalfMask().hole("", 64, 64))
    photo.save(folder / "photo.jpg")
    photo.save(folder / "photo.png")
    mask.save(folder / "mask.png")
    MAKERS["fill"]().save_pretrained(folder / "models/flux-fill")
    return folder


@pytest.mark.parametrize("page, code", BLOCKS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(BLOCKS)])
def test_python_runs_as_printed(page, code, beside, monkeypatch, capsys):
    """From an empty namespace; the notebook in the small. Classes run with their YAML in test_contributing."""
    monkeypatch.chdir(beside)
    names: dict = {}
    exec(code.replace('"sampler.steps=25"', '"sampler.steps=2"').replace('"limit=12"', '"limit=3"'), names)
    if page == "notebook.md":
        assert names["values"]["gain"].notna().sum() == 3 and (beside / "gain.png").stat().st_size > 5000
    if page == "diffusers.md" and "picture" in names:
        assert names["picture"].size == (64, 64) and not hasattr(names["pipe"], "isdiff")
        assert "dce=" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_links_to_is_there(page):
    links = [*re.findall(r"\]\((?!http)([^)#\s]+)[^)]*\)", PAGES[page]), *re.findall(r'src="([^"]+)"', PAGES[page])]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_path_that_a_page_names_is_there():
    """Files of this repository between backticks, but for one that is made up and one that comes with downloads."""
    named = set(re.findall(r"`((?:configs|benchmarks|tests|models|data|scripts)/[\w./+-]+)`", TEXT))
    assert named and [name for name in sorted(named - MADE_UP) if not (ROOT / name).exists()] == []


def test_every_configuration_choice_in_the_table_is_there():
    for group in ("dataset", "mask", "method", "isdiff", "isdiff/seed", "isdiff/criterion", "sampler", "logger"):
        row = re.search(rf"^\| `{group}` \|(.*)\|$", TEXT, re.M).group(1)
        for choice in re.findall(r"`([a-z0-9_+]+)`", row.split("keys")[0]):
            if choice not in ("dev", "train"):
                assert (ROOT / "configs" / group / f"{choice}.yaml").exists(), (group, choice)


def shell_lines() -> list[str]:
    """The runs in README's blocks and sentences."""
    blocks = re.findall(r"```\n(.*?)```", TEXT, re.S)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("isdiff run ")]
    return [*lines, *re.findall(r"`(isdiff run [^`]*=[^`]*)`", TEXT)]


@pytest.mark.parametrize("line", shell_lines())
def test_runs_are_understood_as_written_in_a_shell(line, capsys):
    """Quotes, commas and all: composed, not run."""
    words = shlex.split(line, comments=True)[1:]
    if "-m" in words:
        words = [re.sub(r"^(\w+=\w+),.*", r"\1", word) for word in words if word != "-m"]
    assert main([*words, "--cfg", "job"]) == 0
    for text in re.findall(r"prompt=\"([^\"]+)\"", line):
        assert yaml.safe_load(capsys.readouterr().out)["prompt"] == text


def test_commands_for_own_pictures_are_understood():
    lines = re.findall(r"^isdiff inpaint ([^#\n]+)", TEXT, re.M)
    assert len(lines) > 5 and all(parse(shlex.split(line)).out for line in lines)


def test_the_table_has_the_numbers_of_its_results():
    """README's table and benchmarks/results/floors.json, which `make floors` wrote."""
    rows = json.loads((ROOT / "benchmarks/results/floors.json").read_text())["rows"]
    found = {(row["group"], row["mask"], row["label"]): row for row in rows}
    lines = [line.strip("| ").split(" | ") for line in PAGES[ROOT / "README.md"].splitlines() if line.startswith("| ")]
    head, *table = lines
    assert len(table) == 6
    for name, *cells in table:
        for where, cell in zip(head[1:], cells, strict=True):
            side, mask = where.split(", ")
            row = found.get((f"{side} pixels", mask, name.strip("*")))
            values = row and f"{row['lite0_perceptual']['value']:.2f}, {row['lite0_kid']['value']:.0f}"
            assert cell == (values or "-"), (name, where)
            assert row is None or row["n"] == (200 if side == "64" else 60)


def test_the_document_has_the_hours_that_were_counted():
    def rows(name: str) -> list[list[str]]:
        lines = (ROOT / name).read_text().splitlines()
        begun = next(i for i, line in enumerate(lines) if "| runs |" in line and "GB of results" in line)
        body = takewhile(lambda line: line.startswith("| "), lines[begun + 2 :])
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]

    counted = [[runs, *shared, each, size] for _, runs, *shared, _, each, size in rows("benchmarks/results/scaling.md")]
    assert [row[1:] for row in rows("docs/scaling.md")] == counted and len(counted) == 8
