"""The layers of ARCHITECTURE.md: a room imports only from lower layers, lazy imports included."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "contractile"
ROW = re.compile(r"^\| (\d+) \| `(\w+)` \| .* \| ([^|]*) \|$", re.MULTILINE)
TABLE = ROW.findall((PACKAGE.parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8"))
LAYER = {room: int(layer) for layer, room, _ in TABLE}
MAY_IMPORT = {room: last for _, room, last in TABLE}
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
def test_imports_are_those_of_the_table(path):
    room = room_of(path)
    assert room in LAYER, f"{room} has no line in the table of ARCHITECTURE.md"
    for other in set(imported_rooms(path)) - {room}:
        assert LAYER[other] < LAYER[room], f"{room} (layer {LAYER[room]}) imports {other} (layer {LAYER[other]})"
        named = MAY_IMPORT[room] == "below" or other in MAY_IMPORT[room].split(", ")
        assert named, f"{room} imports {other}, which its line in ARCHITECTURE.md does not name"


def test_the_table_names_no_import_that_is_not_there():
    imported = {}
    for path in FILES:
        imported.setdefault(room_of(path), set()).update(imported_rooms(path))
    for room, names in MAY_IMPORT.items():
        if names not in ("below", "-"):
            assert set(names.split(", ")) <= imported[room], f"the line of {room} names rooms that it does not import"


def test_no_room_is_a_junk_drawer():
    names = {part.removesuffix(".py") for path in FILES for part in path.relative_to(PACKAGE).parts}
    assert not names & FORBIDDEN


def test_every_line_of_the_table_is_a_room():
    assert {room_of(path) for path in FILES} == set(LAYER)
