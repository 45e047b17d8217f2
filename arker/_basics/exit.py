"""What the package does when the interpreter ends, and its place among what the program does then.

Functions of `atexit` are called in reverse order. The place is taken when the package is imported, not when it is first
used: so what a program registers after the import, such as the deletion of its VMs, can still use its clients.
"""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from typing import Final

_functions: Final[list[Callable[[], object]]] = []


def at_exit(function: Callable[[], object]) -> None:
    """Have a function called when the interpreter ends."""
    _functions.append(function)


def _end() -> None:
    for function in _functions:
        function()


# With its first finalizer, weakref registers the function that calls all of them at exit. They are to come after ours:
# clients still need directories and processes that finalizers remove.
weakref.finalize(at_exit, object).detach()
atexit.register(_end)

__all__ = ["at_exit"]
