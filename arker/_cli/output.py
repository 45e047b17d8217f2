"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final, TextIO

import attrs

from arker._basics.shown import shown
from arker._tasks import clock

_SECRET: Final = frozenset({"auth_token", "misfits"})
"""Fields that are never printed: a tunnel's token, and what does not fit a model, which may be anything."""
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def as_json(value: Any) -> Any:
    """Return a model as values of JSON, without fields that are None. Bytes are UTF-8 if they can be, else Base64."""
    kind: Any = value.__class__
    if attrs.has(kind):
        fields = [attribute.name for attribute in attrs.fields(kind) if attribute.name not in _SECRET]
        found = {name: getattr(value, name) for name in fields}
        for name in fields:
            if isinstance(found[name], bytes) and f"{name}_encoding" in found:
                # What the server's JSON has need not be what this one has: it is text wherever it can be.
                found[f"{name}_encoding"] = "utf-8" if _is_text(found[name]) else "base64"
        return {name: as_json(each) for name, each in found.items() if each is not None}
    if isinstance(value, bytes):
        return value.decode() if _is_text(value) else _base64(value)
    if isinstance(value, Mapping):
        return {str(name): as_json(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _base64(data: bytes) -> str:
    import pybase64  # few outputs are not text

    return pybase64.b64encode(data).decode()


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def print_json(value: Any, *, line: bool = False) -> None:
    """Print a value as JSON, in ASCII; ``line`` on one line."""
    write(json.dumps(as_json(value), indent=None if line else 2) + "\n", foreign=False)


def write(text: str, *, foreign: bool = True) -> None:
    """Print a line or more; characters that could move a terminal's cursor are escaped.

    Args:
        text: The text, with its ends of lines.
        foreign: Whether there may be such characters.
    """
    lines = text.split("\n")
    safe = "\n".join(shown(line) for line in lines) if foreign else text
    encoding = sys.stdout.encoding or "utf-8"
    write_bytes(sys.stdout, safe.replace("\n", os.linesep).encode(encoding, "replace"))


def write_bytes(stream: TextIO, data: bytes) -> None:
    """Write bytes, all of them, to a standard stream.

    With ``PYTHONUNBUFFERED`` the stream's own buffer may write fewer without saying so, as when a disk gets full or
    a reader ends; and it raises if another program has made the stream non-blocking.
    """
    stream.flush()
    descriptor, rest = stream.fileno(), memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: on a terminal in its width, with bold heads; elsewhere, and in a narrow one, in whole values."""
    if sys.stdout.isatty() and console().width >= _LEAST_WIDTH:
        console().print(table(heads, rows))
        return
    cells = [list(heads), *([shown(cell) or "-" for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    write("\n".join([*lines, ""]), foreign=False)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """Return a table for a terminal."""
    from rich import box, table, text  # an extra, and what goes into a pipe does not need it

    made = table.Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    widest = [max(text.Text(cell).cell_len for cell in cells) for cells in zip(heads, *rows, strict=True)]
    for head, width in zip(heads, _narrowed(widest, console().width - _GAP * (len(heads) - 1)), strict=True):
        made.add_column(head, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        # Not strings, in which rich would look for its markup.
        made.add_row(*(text.Text(shown(cell) or "-", style=_STYLES.get(cell, "")) for cell in row))
    return made


_LEAST_WIDTH: Final = 72
"""Width of a terminal that has room for a table. In a narrower one lines go on below, as values are whole."""
_LEAST_HELP: Final = 40
"""Columns that help is written in at least."""
_GAP: Final = 2
"""Characters between two columns of a table on a terminal."""
_NARROW: Final = 4
"""Characters that a column is not narrowed below."""


def _narrowed(widths: Sequence[int], available: int) -> list[int]:
    """Return the widths of columns that fit. The last are narrowed first, and the first, which has ids, never is."""
    found = list(widths)
    for index in range(len(found) - 1, 0, -1):
        excess = sum(found) - available
        if excess > 0:
            found[index] = max(min(found[index], _NARROW), found[index] - excess)
    return found


_STYLES: Final = {"running": "green", "failed": "red", "cancelled": "yellow", "pending": "cyan"}


def console() -> Any:
    """Return what draws on standard output; without colours if ``NO_COLOR`` is set."""
    from rich import console  # an extra, and what goes into a pipe does not need it

    return console.Console(width=None if sys.stdout.isatty() else shutil.get_terminal_size((120, 24)).columns)


def help_console() -> Any:
    """Return what writes help: in a terminal of one or two columns rich would never come to an end."""
    from rich import console  # an extra, and few commands print help

    return console.Console(width=max(shutil.get_terminal_size().columns, _LEAST_HELP))


def age(text: str | None) -> str:
    """Return how long ago a time (RFC 3339) was, such as ``5m``; the text itself if it is no time."""
    if not text:
        return ""
    try:
        then = datetime.fromisoformat(re.sub(r"\.[0-9]+", "", text).replace("Z", "+00:00"))
    except ValueError:
        return text
    if then.tzinfo is None:
        then = then.replace(tzinfo=timezone.utc)
    passed = max(0.0, clock.wall() - then.timestamp())
    return next((f"{int(passed // unit)}{name}" for unit, name in _UNITS if passed >= unit), "0s")


def size(mebibytes: int | None) -> str:
    """Return a size for people."""
    if mebibytes is None:
        return ""
    return f"{mebibytes // 1024} GiB" if mebibytes % 1024 == 0 and mebibytes else f"{mebibytes} MiB"


__all__ = [
    "age",
    "as_json",
    "console",
    "help_console",
    "print_json",
    "print_table",
    "size",
    "table",
    "write",
    "write_bytes",
]
