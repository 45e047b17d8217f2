"""Paths that match a pattern, as `pathlib.Path.glob` finds them: one list of the VM, matched here."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator
from typing import Final

from arker._context import Place
from arker._paths.checks import check_bytes, check_path
from arker._paths.listing import Listing
from arker._paths.shell import PathShell
from arker._paths.status import test
from arker.errors import InvalidArgumentError, RemoteFileNotFoundError, RemoteNotADirectoryError

_MAGIC: Final = re.compile(r"[*?\[]")
_WHAT: Final = "a pattern such as *.txt or src/**/*.py"


async def glob(place: Place, pattern: object, *, root: object, deadline: float | None) -> list[str]:
    """List the paths that match a pattern; see `AsyncFiles.glob`."""
    text = _checked(pattern)
    parts, only_directories = [part for part in text.split("/") if part not in ("", ".")], text.endswith("/")
    for part in parts:
        if part == "..":
            raise InvalidArgumentError("pattern", pattern, f"expected {_WHAT}, without ..")
    if text.startswith("/"):
        base = "/"
    elif root is None:
        base = ""
    else:
        check_path(root, "root")
        base = str(root)
    # What stands before the first wildcard is where to look.
    fixed = next((number for number, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    shell = PathShell(place, "glob")
    with shell.within(deadline):
        if fixed == len(parts):
            path = posixpath.join(base, *parts) or "."
            found = await test(place, path, "-d" if only_directories else "-e", "glob", deadline=None)
            return [path] if found else []
        base = posixpath.join(base, *parts[:fixed])
        try:
            paths = await _matches(place, base, parts[fixed:], only_directories)
        except (RemoteFileNotFoundError, RemoteNotADirectoryError):
            return []
    return [posixpath.join(base, path) for path in paths]


def _checked(pattern: object) -> str:
    if not isinstance(pattern, str) or not pattern.strip("/") or "\0" in pattern:
        raise InvalidArgumentError("pattern", pattern, f"expected {_WHAT}")
    check_bytes("pattern", pattern, _WHAT)
    return pattern


async def _matches(place: Place, base: str, parts: list[str], only_directories: bool) -> list[str]:
    deep = "**" in parts
    listing = Listing(place, base or ".", "glob", depth=None if deep else len(parts), follow=not deep)
    matcher = re.compile("".join(_translated(parts)), re.DOTALL)
    found: list[str] = []
    async for path, stat in listing:
        if matcher.fullmatch(path):
            leads_to = stat.target_kind if stat.is_symlink else stat.kind
            if not only_directories or leads_to == "directory":
                found.append(path)
    return sorted(found)


def _translated(parts: list[str]) -> Iterator[str]:
    """Return the regular expressions of a pattern's parts."""
    last = len(parts) - 1
    for number, part in enumerate(parts):
        if part == "**":
            # At the end it stands for whatever is below, before other parts for none or some directories.
            yield ".+" if number == last else "(?:[^/]+/)*"
        else:
            yield _of_one_name(part) + ("" if number == last else "/")


def _of_one_name(part: str) -> str:
    pieces = re.split(r"(\*+|\?|\[!?\]?[^\]]*\])", part)
    translated = ""
    for piece in pieces:
        if piece.startswith("*"):
            translated += "[^/]*"
        elif piece == "?":
            translated += "[^/]"
        elif len(piece) > 2 and piece.startswith("["):
            translated += "(?!/)" + re.sub(r"^\(\?s:(.*)\)\\Z$", r"\1", fnmatch.translate(piece), flags=re.DOTALL)
        else:
            translated += re.escape(piece)
    return translated


__all__ = ["glob"]
