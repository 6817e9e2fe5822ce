"""The README, the log and the results: their commands parse, their code runs, their links lead somewhere."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer.main

import contractile
from contractile.cli import app
from contractile.dataset import Example
from contractile.images import read_labels
from contractile.recipe import derive

ROOT = Path(__file__).parents[1]
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "docs/annotate.md",
        "docs/formats.md",
        "docs/quality.md",
        "docs/log.md",
        "benchmarks/RESULTS.md",
    )
}
README = PAGES["README.md"]
COMMANDS = [
    line.split("#")[0].strip()
    for text in PAGES.values()
    for line in text.splitlines()
    if re.match(r" {4,}contractile \w", line)
]
MARK_PLANES, NUMBER_PARTS, PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
VOLUME, RECIPE = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_can_be_parsed(line):
    verb, *words = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[verb]
    command.make_context(verb, words, resilient_parsing=False)


def test_the_python_example_names_what_exists():
    used = {
        node.attr
        for node in ast.walk(ast.parse(PYTHON))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ct"
    }
    assert used
    assert used <= set(contractile.__all__)


def test_the_recipe_examples_are_recipes():
    volume = np.random.default_rng(0).integers(0, 2, (8, 32, 32)).astype(np.int32)
    examples = [Example("a", volume[None].astype(np.uint8), volume)]
    recipe = derive(examples, tomllib.loads(RECIPE))
    assert (recipe.targets.ignore_label, recipe.network.dims) == (255, 3)
    volumes = derive(examples, {"network": {"dims": 3}, **tomllib.loads(VOLUME)})
    assert volumes.targets.spacing == (5, 1, 1)


def test_planes_are_marked_by_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.zeros((21, 8, 8), np.uint16)
    labels[:, 1:4, 1:4], labels[:, 5:7, 5:7] = 1, 2
    tifffile.imwrite("labels.tif", labels, photometric="minisblack")
    exec(compile(MARK_PLANES, "README.md", "exec"), {})
    marked = read_labels("marked.tif", dims=3)
    assert (np.delete(marked, [0, 10, 20], axis=0) == -1).all()
    assert (marked[::10] == labels[::10]).all()


def test_the_parts_of_a_mask_are_numbered_by_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((8, 8), np.uint8)
    mask[1:3, 1:3] = mask[5:7, 1:7] = 255
    Path("labels").mkdir()
    tifffile.imwrite("labels/a.tif", mask)
    exec(compile(NUMBER_PARTS, "README.md", "exec"), {})
    numbered = read_labels("numbered/a.tif")
    assert (numbered[1, 1], numbered[5, 1]) == (1, 2)
    assert ((numbered > 0) == (mask > 0)).all()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    headings = re.findall(r"^#+ (.*)$", PAGES[page], re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}  # as GitHub has them
    targets = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", PAGES[page], re.MULTILINE)
    for target in (inline or defined for inline, defined in targets):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif "://" not in target:
            assert ((ROOT / page).parent / target).is_file()


def test_the_tree_names_every_room():
    rooms = {
        path.name
        for path in (ROOT / "src" / "contractile").iterdir()
        if path.suffix in ("", ".py") and path.name[0] != "_"
    }
    named = {
        f"{name}{slash}".rstrip("/")
        for name, slash in re.findall(r"^      (\w+(?:\.py)?)(/?) ", README.split("## Where")[-1], re.MULTILINE)
    }
    assert named == rooms


def test_the_public_names_stay_few():
    assert len(contractile.__all__) <= 17
