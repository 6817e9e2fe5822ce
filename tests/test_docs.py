"""Every page: its commands, options and recipe fields exist, its links lead somewhere; the README's code runs."""

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
from contractile.recipe import check_fields, derive

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in (ROOT, ROOT / "docs", ROOT / "docs/reference", ROOT / "docs/science", ROOT / "benchmarks")
    for path in sorted(folder.glob("*.md"))
}
README = PAGES["README.md"]
WRONG_CALLS = "docs/reliability.md"  # they are there because they are wrong
CODE = {
    name: [
        part.replace("\n", " ")
        for part in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    ]
    for name, text in PAGES.items()
    if name not in (WRONG_CALLS, "CHANGELOG.md", "docs/log.md", "benchmarks/RESULTS.md")
}
COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for name, text in PAGES.items()
        if name != WRONG_CALLS
        for line in [
            *text.splitlines(),
            *(one for one in CODE.get(name, ()) if re.search(r" \w*images| \w+\.tif", one)),
        ]
        if re.match(r"(    )* *contractile [a-z]+ .*\w", line) and "..." not in line and "OPTIONS" not in line
    }
)
VERBS = typer.main.get_command(app).commands
# options of dask, SLURM, pip and others that pages name
FOREIGN = {"--gres", "--scheduler-file", "--nworkers", "--nthreads", "--no-binary", "--help", "--verbose", "--offline"}
MARK_PLANES, NUMBER_PARTS, PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
VOLUME, RECIPE = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_can_be_parsed(line):
    verb, *words = shlex.split(line)[1:]
    VERBS[verb].make_context(verb, words, resilient_parsing=False)


@pytest.mark.parametrize("page", CODE)
def test_every_option_exists(page):
    known = {verb: {name for one in command.params for name in one.opts} for verb, command in VERBS.items()}
    for code in CODE[page]:
        first, *_ = code.split()
        if first in ("python", "dask", "pip", "make"):
            continue
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)) - FOREIGN
        assert named <= known.get(first, set().union(*known.values())), code


@pytest.mark.parametrize("page", [name for name in PAGES if name != WRONG_CALLS])
def test_every_recipe_field_exists(page):
    for text in re.findall(r"```toml\n(.*?)```", PAGES[page], re.DOTALL):
        check_fields(tomllib.loads(text))
    for line, table in re.findall(r"`(\w+ = [^`]+)`[^`]{0,60} under\s+`\[([\w.]+)\]`", PAGES[page]):
        check_fields(tomllib.loads(f"[{table}]\n{line}"))


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


def anchors(page):
    """The names of the headings of a page, as code hosts have them."""
    headings = re.findall(r"^#+ (.*)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", PAGES[page], re.MULTILINE)
    for target in (inline or defined for inline, defined in targets):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = (ROOT / page).parent / file if file else ROOT / page
        assert found.is_file(), target
        if anchor:
            assert anchor in anchors(found.resolve().relative_to(ROOT).as_posix()), target


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
