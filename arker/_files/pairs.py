"""The pairs that name many files: where from and where to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any, cast

from arker._files.sources import is_buffer
from arker.errors import InvalidArgumentError


def pairs_of(files: Iterable[object]) -> list[tuple[Any, Any]]:
    """Return the caller's pairs."""
    expected = "expected pairs of where from and where to"
    if isinstance(files, (str, bytes)) or not isinstance(files, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("files", files, expected)
    pairs: list[tuple[Any, Any]] = []
    for number, pair in enumerate(files):
        members = _members(pair)
        if len(members) != 2:
            raise InvalidArgumentError(f"files[{number}]", pair, expected)
        pairs.append((members[0], members[1]))
    return pairs


def _members(pair: object) -> list[Any]:
    return list(cast("Iterable[Any]", pair)) if isinstance(pair, (tuple, list)) else []


def refuse_twice(argument: str, places: Iterable[tuple[str, Hashable]]) -> None:
    """Raise if two files have the same place, since either of them could be the one that stays.

    Args:
        argument: The argument's name within each pair.
        places: Each place as the caller named it, and a value that is equal for equal places.
    """
    seen: set[Hashable] = set()
    for number, (named, place) in enumerate(places):
        if place in seen:
            raise InvalidArgumentError(f"files[{number}]{argument}", named, "expected each only once")
        seen.add(place)


def place_of(path: str) -> Hashable:
    """Return a value that is equal for paths in the VM that differ only in needless ``.`` and ``/``."""
    # What comes before `..` may be a symlink.
    return path.startswith("/"), tuple(name for name in path.split("/") if name not in {"", "."})


def local_places(paths: Sequence[str]) -> Iterator[Hashable]:
    """Return such a value for each local path."""
    try:
        here = "" if all(map(os.path.isabs, paths)) else os.getcwd()
    except OSError:
        here = ""  # it has been removed
    return (PurePath(here, path) for path in paths)


def refuse_spent(sources: Iterable[tuple[str, object]]) -> None:
    """Raise if one source that can be read only once is there twice: each file would get a part of it, or nothing.

    Args:
        sources: Each source that is no path, and the name of its argument.
    """
    seen: set[int] = set()
    for argument, source in sources:
        if is_buffer(source) or not _is_spent_by_reading(source):
            continue
        if id(source) in seen:
            expected = "expected each file object and each iterator only once, because it can be read only once"
            raise InvalidArgumentError(argument, source, expected)
        seen.add(id(source))


def _is_spent_by_reading(source: object) -> bool:
    return callable(getattr(source, "read", None)) or isinstance(source, (Iterator, AsyncIterator))


__all__ = ["local_places", "pairs_of", "place_of", "refuse_spent", "refuse_twice"]
