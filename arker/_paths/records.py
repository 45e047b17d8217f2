"""The status of paths, as the VM's tools print it, and its parser."""

from __future__ import annotations

import re
from typing import Final

from arker.entries import FileKind, FileStat

FIELDS: Final = 2
"""Fields of a record before the name, as ``find`` prints it: the facts, and the target of a symlink."""

_LETTERS: Final[dict[str, FileKind]] = {
    "f": "file",
    "-": "file",
    "d": "directory",
    "l": "symlink",
    "p": "fifo",
    "s": "socket",
    "c": "character_device",
    "b": "block_device",
}
_TYPES: Final[dict[int, FileKind]] = {
    0o10: "file",
    0o04: "directory",
    0o12: "symlink",
    0o01: "fifo",
    0o14: "socket",
    0o02: "character_device",
    0o06: "block_device",
}
_NOWHERE: Final = ("N", "L", "?")
_FRACTION: Final = re.compile(r":[0-9]{2}\.([0-9]{9}) ")
_MODE: Final = re.compile(r"[a-zA-Z-][r-][w-][xsS-][r-][w-][xsS-][r-][w-][xtT-][.+@]?")


class MisprintError(ValueError):
    """A text that no tool prints."""


def text_of(data: bytes) -> str:
    """Return bytes of a path as text."""
    return data.decode("utf-8", "surrogateescape")


def parse_found(facts: bytes, target: bytes, *, links: bool = True) -> FileStat:
    """Parse what ``find`` of GNU prints. Raises `MisprintError`.

    Args:
        facts: The facts.
        target: Where a symlink leads.
        links: Whether symlinks were not followed.
    """
    parts = facts.decode("ascii", "replace").split(" ")
    if len(parts) != 11:
        raise MisprintError(f"{len(parts)} facts")
    kind = _LETTERS.get(parts[0], "unknown")
    is_link = kind == "symlink" and links
    leads = parts[10]
    try:
        return FileStat(
            kind=kind,
            size=int(parts[2]),
            mode=int(parts[1], 8),
            uid=int(parts[3]),
            gid=int(parts[4]),
            links=int(parts[5]),
            inode=int(parts[6]),
            atime_ns=_nanoseconds(parts[7]),
            mtime_ns=_nanoseconds(parts[8]),
            ctime_ns=_nanoseconds(parts[9]),
            target=text_of(target) if is_link else None,
            target_kind=None if not is_link or leads in _NOWHERE else _LETTERS.get(leads, "unknown"),
        )
    except ValueError:
        raise MisprintError("a fact is no number") from None


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.partition(".")
    # A negative number of seconds has a fraction that is added to it, as in the system's own clock.
    return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))


def parse_line(line: bytes, target: bytes, kind: bytes) -> FileStat:
    """Parse a line of ``stat`` or ``ls``. Raises `MisprintError`.

    Args:
        line: The line, without its path.
        target: Where a symlink leads.
        kind: To what.
    """
    text = line.decode("ascii", "replace").strip()
    leads = kind.decode("ascii", "replace")
    to = text_of(target) or None
    to_kind = None if to is None or leads in _NOWHERE else _LETTERS.get(leads, "unknown")
    facts, *readable = text.split("|")
    parts = facts.split()
    try:
        if _MODE.fullmatch(parts[0]):
            return _of_ls(parts, to, to_kind)
        raw = int(parts[0], 16)
        size, uid, gid, links, inode, *seconds = (int(part) for part in parts[1:])
        times = [_with_fraction(*pair) for pair in zip(seconds, readable, strict=True)]
        return FileStat(
            kind=_TYPES.get(raw >> 12, "unknown"),
            size=size,
            mode=raw & 0o7777,
            uid=uid,
            gid=gid,
            links=links,
            inode=inode,
            atime_ns=times[0],
            mtime_ns=times[1],
            ctime_ns=times[2],
            target=to,
            target_kind=to_kind,
        )
    except (ValueError, IndexError):
        raise MisprintError("a line has other facts") from None


def _with_fraction(seconds: int, readable: str) -> int:
    match = _FRACTION.search(readable)
    return seconds * 1_000_000_000 + (int(match[1]) if match is not None else 0)


def _of_ls(parts: list[str], target: str | None, target_kind: FileKind | None) -> FileStat:
    letters = parts[0]
    bits = int("".join("0" if letter in "-ST" else "1" for letter in letters[1:10]), 2)
    for place, bit in ((3, 0o4000), (6, 0o2000), (9, 0o1000)):
        bits |= bit if letters[place] in "sStT" else 0
    kind = _LETTERS.get(letters[0], "unknown")
    # In place of a device's size, ls writes its number.
    size = 0 if kind in ("character_device", "block_device") else int(parts[4])
    return FileStat(
        kind=kind,
        size=size,
        mode=bits,
        uid=int(parts[2]),
        gid=int(parts[3]),
        links=int(parts[1]),
        target=target,
        target_kind=target_kind,
    )


__all__ = ["FIELDS", "MisprintError", "parse_found", "parse_line", "text_of"]
