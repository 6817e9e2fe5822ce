"""What the README and the architecture page claim can be checked, and is."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer.main

import contractile
from contractile.cli import app
from contractile.dataset import Example
from contractile.recipe import derive

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for page in ("README.md", "docs/log.md", "benchmarks/RESULTS.md")
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
    if re.match(r"    contractile \w", line)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_can_be_parsed(line):
    verb, *words = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[verb]
    command.make_context(verb, words, resilient_parsing=False)


def test_the_python_example_names_what_exists():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    used = {
        node.attr
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ct"
    }
    assert used
    assert used <= set(contractile.__all__)


def test_the_recipe_example_is_one():
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    volume = np.random.default_rng(0).integers(0, 2, (8, 32, 32)).astype(np.int32)
    recipe = derive([Example("a", volume[None].astype(np.uint8), volume)], tomllib.loads(block))
    assert (recipe.targets.ignore_label, recipe.network.dims) == (255, 3)


def test_the_tree_names_every_room():
    rooms = {
        path.name
        for path in (ROOT / "src" / "contractile").iterdir()
        if path.suffix in ("", ".py") and path.name[0] != "_"
    }
    named = {
        f"{name}{slash}".rstrip("/") for name, slash in re.findall(r"^      (\w+(?:\.py)?)(/?) ", README, re.MULTILINE)
    }
    assert named == rooms


def test_the_public_names_stay_few():
    assert len(contractile.__all__) <= 16
