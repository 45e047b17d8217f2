"""Drawings of the site in the theme that its reader chose.

A drawing that has a second set of colours follows the system's colour scheme, as Markdown shows it. A page of the site
shows two forms of it instead, a light and a dark one, of which the theme hides one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.site.links import Html

MODES: Final = ("light", "dark")
FOLLOWS: Final = "prefers-color-scheme"
DARK: Final = re.compile(r"@media[^{]*\(\s*prefers-color-scheme\s*:\s*dark\s*\)\s*\{((?:[^{}]*\{[^{}]*\})*[^{}]*)\}")


def fixed(drawing: str, mode: str) -> str:
    """Return a drawing in the colours of one mode, whatever the system prefers."""
    return DARK.sub(r"\1" if mode == "dark" else "", drawing)


def ill_coloured(site: Path) -> Iterator[str]:
    """Yield the drawings of a site that do not follow the theme that its reader chose."""
    for path in sorted(site.rglob("*.html")):
        where = path.relative_to(site)
        forms: dict[str, set[str]] = {}
        for line, values in Html(path).images:
            drawing = path.parent / values.get("src", "")
            if drawing.suffix != ".svg" or not drawing.is_file():
                continue
            if FOLLOWS in drawing.read_text(encoding="utf-8"):
                yield f"{where}:{line}: {drawing.name} follows the system's colour scheme, not the site's theme"
            for mode in {*MODES} & {name.removeprefix("only-") for name in values.get("class", "").split()}:
                forms.setdefault(drawing.name.removesuffix(f"-{mode}.svg"), set()).add(mode)
        for name, modes in forms.items():
            for mode in MODES:
                if mode not in modes:
                    yield f"{where}: {name} is not shown in the {mode} theme"
