"""Looks at a built site: `python -m docs.tools.links FOLDER`. Ends with status 1, and names them, where

- a link leads to a page, picture or heading that is not there;
- a page loads something from another host: a script, a style, a font or a picture. Plain links may lead elsewhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}
IN_STYLES = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """The anchors of a page, and the addresses that it names: (address, whether it is loaded with the page)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.addresses: list[tuple[str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if value and (name == "href" or (tag, name) in LOADED):
                self.addresses.append((value, (tag, name) in LOADED))


def faults(site: Path) -> Iterator[str]:
    """One line for each fault of a built site."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    if not pages:
        yield f"{site}: holds no page"
    for path, page in pages.items():
        here = path.relative_to(site.resolve())
        for address, loaded in page.addresses:
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if loaded:
                    yield f"{here}: loads {address}"
                continue
            named = unquote(parts.path)
            target = path if not named else (site.resolve() / named[1:] if named[0] == "/" else path.parent / named)
            target = (target / "index.html" if target.is_dir() else target).resolve()
            if not target.is_file():
                yield f"{here}: {address} leads nowhere"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{here}: {address} has no such heading"
    for path in site.rglob("*.css"):
        for one, other in IN_STYLES.findall(path.read_text(encoding="utf-8")):
            if urlsplit(one or other).netloc:
                yield f"{path.relative_to(site)}: loads {one or other}"


if __name__ == "__main__":
    found = list(faults(Path(sys.argv[1])))
    print(*found, f"{len(found)} fault(s)", sep="\n")
    sys.exit(bool(found))
