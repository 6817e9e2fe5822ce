"""Gathers the pages of the site from the repository: `python -m docs.tools.site FOLDER`, in the folder of the Makefile.

Links of pages lead between files of the repository, so that they can be read without a build. Here these become links
between pages of the site. Where Markdown is read in another way than on a code host, the text is adapted.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

from docs.tools.notebook import convert, render

ROOT = Path(__file__).parents[2]
# Pages from outside of `docs`, and where they are on the site.
OTHERS = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "results.md",
}
TUTORIAL = "docs/tutorial.py"
LINK = re.compile(r"(\]\(|^\[[^\]]+\]: )([^)\s]+)", re.MULTILINE)
MARKER = re.compile(r"(?:[-*]|\d+\.) ")


def places() -> dict[str, str]:
    """File of the repository -> file of the site, for all that the site shows."""
    pages = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "docs").rglob("*")
        if path.suffix in (".md", ".png", ".css")
    }
    inside = {source: source.removeprefix("docs/") for source in sorted(pages) if not source.startswith("docs/tools/")}
    return {**inside, **OTHERS, TUTORIAL: "tutorial.md"}


def gather(folder: Path, *, run: bool = True) -> None:
    """Write all pages and pictures into `folder`, which is emptied first. With `run` the tutorial is run."""
    shutil.rmtree(folder, ignore_errors=True)
    known = places()
    for source, target in known.items():
        place = folder / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if source == TUTORIAL:
            _tutorial(ROOT / source, place, run=run)
        elif source.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            place.write_text(adapt(relink(text, source, known)), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, place)


def _tutorial(script: Path, page: Path, *, run: bool) -> None:
    """The page of the tutorial, with the script and, where it is run, the notebook beside it."""
    text = script.read_text(encoding="utf-8")
    downloads = {script.name: text, **({f"{page.stem}.ipynb": convert(text)} if run else {})}
    for name, content in downloads.items():
        (page.parent / name).write_text(content, encoding="utf-8")
    links = ", ".join(f"[{name}]({name})" for name in downloads)
    render(text, page, run=run, downloads=f"To download: {links}")


def relink(text: str, source: str, known: dict[str, str]) -> str:
    """The text of the file `source` with links to pages of the site. Raises KeyError for a file that is not on it."""
    here = PurePosixPath(known[source]).parent

    def follow(match: re.Match[str]) -> str:
        target, _, anchor = match[2].partition("#")
        if "://" in target or not target or target.startswith("mailto:"):
            return match[0]
        wanted = os.path.normpath(PurePosixPath(source).parent / target)
        moved = os.path.relpath(known[wanted], here)
        return f"{match[1]}{moved}{'#' if anchor else ''}{anchor}"

    return "".join(
        part if number % 2 else LINK.sub(follow, part)
        for number, part in enumerate(re.split(r"(```.*?```)", text, flags=re.DOTALL))
    )


def adapt(text: str) -> str:
    """Text for Python-Markdown, which wants an empty line before a list, and four spaces within its items."""
    adapted: list[str] = []
    in_list = in_code = False
    for line in text.splitlines():
        if line.startswith("```"):
            in_code = not in_code
        begins = bool(MARKER.match(line)) and not in_code
        if begins and not in_list and adapted and adapted[-1].strip():
            adapted.append("")
        if line.strip() and not line.startswith(" ") and not in_code:
            # a line that goes on without a marker is a part of the item above it, unless an empty line is between
            in_list = begins or (in_list and bool(adapted[-1].strip()))
        if in_list and not begins and not in_code and re.match(r" {2,3}\S", line):
            line = "    " + line.lstrip()
        adapted.append(line)
    return "\n".join(adapted) + "\n"


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
