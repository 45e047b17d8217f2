"""The base of the parts of `AsyncArker`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._basics.guidance import findable, instead, no_end, no_plain_block
from arker._basics.lazy import later

if TYPE_CHECKING:
    from arker import _context as contexts
else:
    contexts = later("arker._context")


class ClientBase:
    """The state that the parts of a client share."""

    _context: contexts.Context

    if not TYPE_CHECKING:
        __getattr__ = instead
        __enter__ = no_plain_block
        __exit__ = no_end
        __init_subclass__ = findable

    def _place(self, base_url: str, vm_id: str) -> contexts.Place:
        return contexts.Place(base_url, vm_id, self._context)


__all__ = ["ClientBase"]
