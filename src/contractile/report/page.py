"""What a page can show, as one frozen value, and that value as HTML (`page.html.j2`, `page.css`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contractile.images import replacing
from contractile.report.curves import Curve
from contractile.report.pictures import Picture, Swatch
from contractile.report.scores import ScoreRow, Table


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
class Command:
    """What to type, and what to know before doing so."""

    text: str
    note: str


@dataclass(frozen=True)
class Page:
    """Everything on a page, in the order of reading; empty parts are left out. All strings are plain text."""

    kind: str
    title: str
    subtitle: str
    scores: tuple[ScoreRow, ...] = ()
    scored: str = ""  # on what the scores were measured
    curves: tuple[Curve, ...] = ()
    pictures: tuple[Picture, ...] = ()
    pictures_title: str = ""
    pictures_note: str = ""
    legend: tuple[Swatch, ...] = ()
    tables: tuple[Table, ...] = ()
    command: Command | None = None
    facts: tuple[Facts, ...] = ()
    texts: tuple[Text, ...] = ()
    footer: str = ""


def write_page(page: Page, path: Path) -> Path:
    """Write the page as HTML; an existing file is replaced only when the new one is complete."""
    html = render(page)
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")
    return path


def render(page: Page) -> str:
    """The page as HTML text; every string in it is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(page=page)
