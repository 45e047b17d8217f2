"""A check of links, offline: those of the built site, and those of the Markdown files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

LOADED: Final = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
"""Elements that a browser loads by itself, and the attribute with the address."""
OF_NO_FILE: Final = frozenset(["canonical", "search"])
MARKDOWN: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


class Html(HTMLParser):
    """The ids of a page, its links, its images, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[int, str]] = []
        self.loads: list[tuple[int, str]] = []
        self.images: list[tuple[int, dict[str, str]]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element says."""
        values = {name: value for name, value in attrs if value is not None}
        self.ids.update(values[name] for name in ("id", "name") if name in values)
        line = self.getpos()[0]
        if tag == "a" and "href" in values:
            self.links.append((line, values["href"]))
        elif tag in LOADED and LOADED[tag] in values and values.get("rel") not in OF_NO_FILE:
            self.loads.append((line, values[LOADED[tag]]))
        if tag == "img":
            self.images.append((line, values))


def broken(site: Path, root: Path | None = None) -> Iterator[str]:
    """Yield what is wrong with the links of a site: they lead nowhere, or load something from elsewhere.

    Args:
        site: The directory of its pages.
        root: The directory that is published, with other versions beside this one; the site's own by default.
    """
    site = site.resolve()  # links are compared with its pages
    published = (root or site).resolve()
    pages = {path: Html(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(site)
        for line, address in page.loads:
            if urlsplit(address).scheme not in {"", "data"} or address.startswith("//"):
                yield f"{where}:{line}: loads {address} from elsewhere"
        for line, address in [*page.links, *page.loads]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if not target.is_relative_to(published) or not target.exists():
                yield f"{where}:{line}: {address} is not there"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{where}:{line}: {address} has no such place"


def broken_in_markdown(path: Path) -> Iterator[str]:
    """Yield the relative links of a Markdown file that lead to no file."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for match in MARKDOWN.finditer(line):
            parts = urlsplit(match[1] or match[2])
            if not parts.scheme and parts.path and not (path.parent / unquote(parts.path)).exists():
                yield f"{path.name}:{number}: {parts.path} is not there"
