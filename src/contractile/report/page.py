"""The content of a page as one frozen value, and that value as HTML (`page.html.j2`, `page.css`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contractile.report.curves import Curve
from contractile.report.pictures import LEGEND, Picture
from contractile.report.scores import ScoreRow, Table
from contractile.storage import replacing


@dataclass(frozen=True)
class Facts:
    """A short list of names and values under one heading."""

    heading: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Text:
    """A long text that the reader may unfold, such as a recipe."""

    heading: str
    text: str


@dataclass(frozen=True)
class Page:
    """Everything on a page, in the order of reading. All strings are plain text."""

    title: str
    subtitle: str
    scores: tuple[ScoreRow, ...]
    scored: str  # which images the scores were measured on
    curves: tuple[Curve, ...]
    table: Table
    pictures: tuple[Picture, ...]
    pictures_note: str
    command: str
    command_note: str
    facts: tuple[Facts, ...]
    texts: tuple[Text, ...]
    footer: str


def write_page(page: Page, path: Path) -> Path:
    """Write the page as HTML; an existing file is replaced once the new one is complete."""
    return write_html(path, "page.html.j2", page=page, legend=LEGEND)


def write_html(path: Path, template: str, **values: Any) -> Path:
    """Write a template of this folder as HTML, every string escaped. Raises NotWritten and NotWritable."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(template).render(**values)
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8", errors="backslashreplace")  # names of files need not be text
    return path
