"""Where the ways are registered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from tests.generations.wire import Wire

Walk: TypeAlias = Callable[[Wire, str], Awaitable[None]]
"""A function of a client and of the path of a new VM."""

WALKS: Final[dict[str, Walk]] = {}
"""One for each operation, by its name in the contract."""
NOWHERE: Final = "/v1/vms/vm_that_is_not_there"


def walk(way: Walk) -> Walk:
    """Register a function under its name, which is the operation's in the spelling of Python."""
    first, *rest = way.__name__.split("_")
    WALKS["".join([first, *[word.capitalize() for word in rest]])] = way
    return way


__all__ = ["NOWHERE", "WALKS", "Walk", "walk"]
