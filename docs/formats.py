"""Writes the table of formats into docs/formats.md, between its two markers, from the tuple that the readers are in.

python docs/formats.py
"""

from __future__ import annotations

from pathlib import Path

from contractile.images.known import HEADINGS, table_rows

PAGE = Path(__file__).with_suffix(".md")
BEGIN, END = "<!-- table of formats: python docs/formats.py -->", "<!-- end of the table -->"


def table() -> str:
    rows = [HEADINGS, ("---",) * len(HEADINGS), *table_rows()]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def page(old: str) -> str:
    """The page with the table as it is now."""
    before, rest = old.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
