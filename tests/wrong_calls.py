"""Wrong calls and what is said about each, from data/wrong_calls.toml.

`python tests/wrong_calls.py` writes them into docs/reliability.md, as a table.
"""

import tomllib
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- wrong calls -->\n", "<!-- end of wrong calls -->\n"
CALLS = tomllib.loads((Path(__file__).parent / "data" / "wrong_calls.toml").read_text(encoding="utf-8"))
TITLES = {
    "commands": "On the command line",
    "any_size": "Images of any size",
    "recipes": "In a recipe",
    "python": "In Python",
}
LONG = {
    "(2,000,000 bytes)": b"#" * 2_000_000,
    "a.a.a. ... = 1 (10,000 tables)": b"a." * 10_000 + b"b = 1",
    "a = [[[ ... ]]] (10,000 lists)": b"a = " + b"[" * 10_000 + b"]" * 10_000,
    "a = 99 ... 9 (5,000 digits)": b"a = " + b"9" * 5_000,
}


def content_of(recipe):
    """The bytes of a recipe; of a very long one the table tells only how it is made."""
    return LONG.get(recipe, recipe.encode("latin-1"))


def table():
    """All wrong calls with their lines, as the tables of the document."""
    parts = []
    for kind, title in TITLES.items():
        rows = [f"| `{_cell(call)}` | {_cell(line)} |" for call, line in CALLS[kind].items()]
        parts += [f"### {title} ({len(rows)})", "", "| call | what is said |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def _cell(text):
    plain = text.encode("ascii", "backslashreplace").decode().replace("\0", "")
    return plain.replace("\n", "; ").replace("|", r"\|").replace("<", "&lt;")


def write():
    """Put the table into the document, between its two marks."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write()
