"""The content of a directory as plain values, for both sides, and checks of names and symlinks that come from a VM.

A path is relative to the directory, with ``/`` between its components; the directory itself is ``""``. Bytes that are
not UTF-8 are surrogates, as `os.fsdecode` makes them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    Kind: TypeAlias = Literal["file", "directory", "symlink", "special"]
    RootState: TypeAlias = Literal["absent", "directory", "other"]
    Ignores: TypeAlias = Callable[[str, bool], bool]
    """Takes a path and whether it is a directory; returns whether a pattern matches it."""

PERMISSIONS: Final = 0o777
"""The bits of a mode that are copied: read, write and execute permissions."""


@frozen
class Entry:
    """An entry of a directory.

    Attributes:
        kind: Its kind; ``special`` is a FIFO, a socket or a device.
        mode: Its permission bits; None where the system has none.
        size: Bytes of a file.
        target: The target of a symlink.
        digest: The digest of a file's content, if computed.
    """

    kind: Kind
    mode: int | None = None
    size: int = 0
    target: str | None = None
    digest: str | None = None


@frozen
class Tree:
    """The content of a directory.

    Attributes:
        root: Whether the directory exists; ``other`` when its path is something else.
        entries: Its entries by path; parents come before their content.
        ignored: Paths that match a pattern, without the paths below them; they are not among the entries.
        unreadable: Directories whose content could not be listed, with the reason; they are among the entries.
        digest: The name of the tool that made the digests; None when none was made.
    """

    root: RootState
    entries: Mapping[str, Entry]
    ignored: frozenset[str] = frozenset()
    unreadable: Mapping[str, str] = {}
    digest: str | None = None


def order(path: str) -> list[str]:
    """Return a sort key that puts parents before their content and keeps each directory's content together."""
    return path.split("/")


def parent_of(path: str) -> str:
    """Return the directory that contains a path."""
    return path.rpartition("/")[0]


def ancestors(path: str) -> Iterator[str]:
    """Return the directories above a path, the innermost first, without the root."""
    path = parent_of(path)
    while path:
        yield path
        path = parent_of(path)


def to_text(path: bytes) -> str:
    """Return a path as text, as this module keeps it."""
    return path.decode("utf-8", "surrogateescape")


def to_bytes(path: str) -> bytes:
    """Return a path as the system's bytes."""
    return path.encode("utf-8", "surrogateescape")


def is_utf8(path: str) -> bool:
    """Return whether a path is valid UTF-8, so that JSON can carry it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- what is on its way ----------------------------------------------------------------------------------------------

STAGING_PREFIX: Final = ".arker-"
"""The prefix of staging directories' names on both sides; a ULID follows."""

_STAGING: Final = re.compile(r"(?:.*/)?\.arker-[0-9A-HJKMNP-TV-Z]{26}(?:-[a-z0-9]+)?(?:/.*)?", re.DOTALL)
"""Those at any depth, since a transfer may be of a directory in this one; and parts of a single file."""


def without_staging(tree: Tree) -> Tree:
    """Return the tree without the staging entries of other transfers, running or left behind by a crash."""
    entries = {path: entry for path, entry in tree.entries.items() if not _STAGING.fullmatch(path)}
    unreadable = {path: reason for path, reason in tree.unreadable.items() if path in entries or not path}
    return Tree(tree.root, entries, tree.ignored, unreadable, tree.digest)


# --- what may come from a VM -----------------------------------------------------------------------------------------

_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in "123456789")}
)


def unsafe_name(path: str, *, windows: bool = False) -> str | None:
    """Return why a path must not be written to, as text for people; None when it is safe."""
    for name in path.split("/"):
        if name in {"", ".", ".."}:
            return "it is not a path below the directory"
        if "\0" in name:
            return "it contains a NUL"
        if windows and _unsafe_on_windows(name):
            return "Windows has no such names"
    return None


def _unsafe_on_windows(name: str) -> bool:
    strange = any(letter in '<>:"\\|?*' or letter < " " or "\ud800" <= letter <= "\udfff" for letter in name)
    return strange or name[-1] in ". " or name.partition(".")[0].rstrip(" ").lower() in _RESERVED


def leads_outside(path: str, target: str, *, windows: bool = False) -> bool:
    """Return whether a symlink could lead out of the directory that contains it.

    It cannot if it is relative, goes up only at its beginning, and by at most its depth. Then each step up is from a
    real directory. The path down may go through a symlink, for which the same holds.
    """
    if target.startswith("/") or (windows and ("\\" in target or ":" in target)):
        return True
    names = [name for name in target.split("/") if name not in {"", "."}]
    ups = 0
    while ups < len(names) and names[ups] == "..":
        ups += 1
    return ".." in names[ups:] or ups > path.count("/")


# --- digests ---------------------------------------------------------------------------------------------------------

RANGES: Final = 400


def size_ranges(sizes: Iterable[int], limit: int = RANGES) -> list[tuple[int, int]]:
    """Return inclusive ranges that contain all the sizes, as tight as this number of ranges allows."""
    distinct = sorted(set(sizes))
    if not distinct:
        return []
    gaps = sorted(range(1, len(distinct)), key=lambda index: distinct[index - 1] - distinct[index])
    begins = [0, *sorted(gaps[: limit - 1])]
    ends = [*(begin - 1 for begin in begins[1:]), len(distinct) - 1]
    ranges: list[tuple[int, int]] = []
    for begin, end in zip(begins, ends, strict=True):
        # What follows without a gap needs no range of its own.
        if ranges and distinct[begin] == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], distinct[end])
        else:
            ranges.append((distinct[begin], distinct[end]))
    return ranges


_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Cksum:
    """The checksum of POSIX's ``cksum``, for a VM without a better tool: CRC-32 with reversed bits.

    zlib's runs over mirrored bytes and gives a mirrored result; the value that it begins with stands for zero.
    """

    def __init__(self) -> None:
        self._crc = 0xFFFFFFFF
        self._size = 0

    def update(self, data: bytes | memoryview) -> None:
        self._crc = zlib.crc32(bytes(data).translate(_MIRRORED), self._crc)
        self._size += len(data)

    def hexdigest(self) -> str:
        """Return the checksum in decimal digits, as ``cksum`` prints it."""
        length = self._size.to_bytes((self._size.bit_length() + 7) // 8, "little")
        mirrored = zlib.crc32(length.translate(_MIRRORED), self._crc)
        return str(int(f"{mirrored:032b}"[::-1], 2))


__all__ = [
    "PERMISSIONS",
    "STAGING_PREFIX",
    "Cksum",
    "Entry",
    "Tree",
    "ancestors",
    "is_utf8",
    "leads_outside",
    "order",
    "parent_of",
    "size_ranges",
    "to_bytes",
    "to_text",
    "unsafe_name",
    "without_staging",
]
