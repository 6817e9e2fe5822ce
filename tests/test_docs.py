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
from PIL import Image

import contractile
from contractile.cli import app
from contractile.dataset import Example, load_examples, pair_up
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
FOREIGN = {
    "--bilinear",
    "--gres",
    "--scheduler-file",
    "--nworkers",
    "--nthreads",
    "--no-binary",
    "--help",
    "--verbose",
    "--offline",
}
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
    marked, kept = read_labels("marked.tif", dims=3), read_labels("kept.tif", dims=3)
    assert (np.delete(marked, [0, 20], axis=0) == -1).all()
    assert (np.delete(kept, 10, axis=0) == -1).all()
    assert (marked[::20] == labels[::20]).all()
    assert (kept[10] == labels[10]).all()


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


FOLDERS = {
    "Cellpose": ("a.tif a_cp_masks.png", "b.tif b_masks.tif"),
    "StarDist": ("images/a.tif masks/a.tif", "images/b.tif masks/b.tif"),
    "QuPath": ("a.tif a-labelled.tif", "b.tif b-labelled.tif"),
    "nnU-Net": (
        "imagesTr/a_0000.tif imagesTr/a_0001.tif labelsTr/a.tif",
        "imagesTr/b_0000.tif imagesTr/b_0001.tif labelsTr/b.tif",
    ),
    "BiaPy": ("x/a.tif y/a.tif", "x/b.tif y/b.tif"),
    "Data Science Bowl": ("A/images/A.png A/masks/1.png A/masks/2.png", "B/images/B.png B/masks/1.png"),
    "Cell Tracking Challenge": ("01/t000.tif 01_GT/SEG/man_seg000.tif", "01/t001.tif 01_GT/SEG/man_seg001.tif"),
}


@pytest.mark.parametrize("program", FOLDERS)
def test_the_folders_of_other_programs_are_understood_as_they_are(program, tmp_path):
    assert f"| {program}" in PAGES["docs/labels.md"]
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 48), np.uint8)
    mask[5:15, 5:20], mask[20:35, 10:30] = 1, 2
    for name in " ".join(FOLDERS[program]).split():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        truth = any(word in name.lower() for word in ("mask", "label", "seg0", "y/"))
        pixels = mask if truth else rng.integers(0, 99, mask.shape).astype(np.uint8) + 50 * (mask > 0).astype(np.uint8)
        tifffile.imwrite(path, pixels) if path.suffix == ".tif" else Image.fromarray(pixels).save(path)
    examples = load_examples(pair_up(tmp_path, tmp_path))
    assert len(examples) == 2
    assert {one.pixels.shape[0] for one in examples} == {2 if program == "nnU-Net" else 1}
    assert all(one.labels.max() > 0 for one in examples)


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
