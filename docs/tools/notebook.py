"""A script in cells (`# %%`) -> a page with its code, what it prints and its pictures; and the same as a notebook."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def cells(text: str) -> Iterator[tuple[bool, str]]:
    """(whether it is code, text) of each cell; the text of the others is Markdown."""
    parts = CELL.split(text)[1:]  # before the first cell is what editors need
    for kind, body in zip(parts[::2], parts[1::2], strict=True):
        code = "[markdown]" not in kind
        yield code, body.strip() if code else re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE)


def convert(text: str) -> str:
    """The same cells as a notebook, without results. Needs jupytext."""
    import jupytext

    return str(jupytext.writes(jupytext.reads(text, "py:percent"), "ipynb"))


def render(text: str, page: Path, *, run: bool, downloads: str = "") -> None:
    """Write the page of a script and, with `run`, what it prints and the pictures that it draws, beside the page."""
    page, shown = page.resolve(), list[str]()
    with _elsewhere(), _pictures(page) as pictures:
        names: dict[str, Any] = {"__name__": "__main__"}
        for code, body in cells(text):
            shown.append(f"```python\n{body}\n```" if code else body)
            if code and run:
                shown += [*_run(body, names, page.stem), *pictures()]
    page.write_text("\n\n".join(one for one in (shown[0], downloads, *shown[1:]) if one) + "\n", encoding="utf-8")


def _run(body: str, names: dict[str, Any], file: str) -> list[str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(body, file, "exec"), names)
    return [f"```text\n{printed.getvalue().rstrip()}\n```"] if printed.getvalue().strip() else []


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """A folder of its own, so that what a script writes does not stay."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


@contextlib.contextmanager
def _pictures(page: Path) -> Iterator[Callable[[], list[str]]]:
    """A function that saves the figures that are open beside the page, and gives the links to them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder, written = page.parent, 0
    keep, plt.show = plt.show, lambda *args, **options: None

    def save() -> list[str]:
        nonlocal written
        links = []
        for number in plt.get_fignums():
            written += 1
            name = f"{page.stem}-{written}.png"
            plt.figure(number).savefig(folder / name, dpi=90, bbox_inches="tight")
            links.append(f"![picture {written}]({name})")
        plt.close("all")
        return links

    try:
        yield save
    finally:
        plt.show = keep
