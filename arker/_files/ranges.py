"""The division of files into parts, ranges and batches. Pure (contract, sections 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

Span: TypeAlias = tuple[int, int]
"""The bytes ``[start, end)`` of a file."""

MIB: Final = 1024 * 1024

CONCURRENCY: Final = 8
"""The default number of concurrent requests of one file, or of one call on many."""

WORTH_PARTS: Final = 64 * MIB
"""Bytes from which several connections are worth their cost, which is a session and a command for an upload."""

MAX_CONTENT: Final = 8 * MIB
"""Bytes of content in one request (contract, section 6)."""

MAX_ENTRIES: Final = 500
"""Entries in one request (contract, section 6)."""

INLINE_CHUNK: Final = MIB
"""Bytes of a chunk of a larger file: small, since each is in memory four times over while it is sent."""

_SMALLEST_PART: Final = 8 * MIB
_LARGEST_PART: Final = 512 * MIB
_PARTS_EACH: Final = 4
"""Parts for each connection: a slow or repeated part delays the others less."""


def split(start: int, end: int, size: int) -> list[Span]:
    """Split a range into pieces of a size. The last one may be smaller; an empty range has none."""
    return [(low, min(low + size, end)) for low in range(start, end, size)]


def part_size(total: int, concurrency: int) -> int:
    """Return the size in bytes of a part, so that each connection gets several parts."""
    wanted = -(-total // (concurrency * _PARTS_EACH))
    whole_mib = -(-wanted // MIB) * MIB
    # However large the file is, one request asks for all of its URLs.
    return max(min(max(whole_mib, _SMALLEST_PART), _LARGEST_PART), -(-total // MAX_ENTRIES))


def missing(held: Iterable[Span], size: int) -> list[Span]:
    """Return the ranges of a file that are missing. The present ranges may come in any order and overlap."""
    gaps: list[Span] = []
    done = 0
    for start, end in sorted(span for span in held if span[0] < span[1]):
        if start > done:
            gaps.append((done, min(start, size)))
        done = max(done, end)
        if done >= size:
            break
    if done < size:
        gaps.append((done, size))
    return [(start, end) for start, end in gaps if start < end]


def batches(sizes: Sequence[int], *, content: int = MAX_CONTENT, entries: int = MAX_ENTRIES) -> list[range]:
    """Group neighbouring files so that one request can carry each group. A file that is too large goes alone."""
    groups: list[range] = []
    first = total = 0
    for number, size in enumerate(sizes):
        if number > first and (total + size > content or number - first == entries):
            groups.append(range(first, number))
            first, total = number, 0
        total += size
    if first < len(sizes):
        groups.append(range(first, len(sizes)))
    return groups


__all__ = [
    "CONCURRENCY",
    "INLINE_CHUNK",
    "MAX_CONTENT",
    "MAX_ENTRIES",
    "MIB",
    "WORTH_PARTS",
    "Span",
    "batches",
    "missing",
    "part_size",
    "split",
]
