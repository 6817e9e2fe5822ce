"""The layers of ARCHITECTURE.md: a room imports only from lower layers, lazy imports included."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "contractile"
LAYERS = (
    ("compiled",),
    ("images", "tiles", "unet", "targets", "augment", "loss", "instances", "metrics", "synthetic"),
    ("model", "dataset", "engine"),
    ("predict", "recipe", "check"),
    ("evaluate", "export"),
    ("train",),
    ("report", "viewer"),
    ("demo",),
    ("cli",),
)
LAYER = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
FORBIDDEN = {"utils", "core", "common", "helpers", "base", "config", "registry", "misc"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path):
    """Every room of the package that a file names in an import, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("contractile."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_points_upward(path):
    room = room_of(path)
    assert room in LAYER, f"{room} has no layer: add it to ARCHITECTURE.md and here"
    for other in imported_rooms(path):
        if other != room:
            assert LAYER[other] < LAYER[room], f"{room} (layer {LAYER[room]}) imports {other} (layer {LAYER[other]})"


def test_no_room_is_a_junk_drawer():
    names = {part.removesuffix(".py") for path in FILES for part in path.relative_to(PACKAGE).parts}
    assert not names & FORBIDDEN


def test_the_architecture_names_every_room():
    text = (PACKAGE.parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for room in {room_of(path) for path in FILES}:
        assert f"`{room}" in text, f"ARCHITECTURE.md does not say what {room} owns"
