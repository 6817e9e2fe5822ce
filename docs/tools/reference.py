"""Writes the pages of `docs/reference` from the code: `python -m docs.tools.reference`, in the folder of the Makefile.

The pages are kept beside the others, so that links lead to them without a build; a test holds them equal to the code.
"""

from __future__ import annotations

from pathlib import Path

from docs.tools import commands, python_page, recipe_page, score_page

FOLDER = Path(__file__).parents[1] / "reference"
NOTE = "<!-- Written by `python -m docs.tools.reference`. Change the code, not this page. -->\n\n"


def pages() -> dict[str, str]:
    """The text of each page, by the name of its file."""
    made = {"commands": commands, "recipe": recipe_page, "scores": score_page, "python": python_page}
    return {f"{name}.md": NOTE + room.page() for name, room in made.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
