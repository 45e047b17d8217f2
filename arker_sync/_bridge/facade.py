"""The base of every object of the blocking surface: its async twin, which does the work, and its client's lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from arker._basics.guidance import findable, instead, no_async_block, no_end, not_by_hand, whole
from arker._basics.lazy import later
from arker._basics.pickling import refuse_to_be_pickled

if TYPE_CHECKING:
    from arker_sync._bridge import lease as leases
else:
    leases = later("arker_sync._bridge.lease")  # it brings the event loop along


class Facade:
    """An object whose calls are carried out by its async twin."""

    _async: Any
    _lease: leases.Lease

    if not TYPE_CHECKING:
        __getattr__ = instead
        __aenter__ = no_async_block
        __aexit__ = no_end

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not any(part.startswith("_") for part in cls.__module__.split(".")):
            whole(cls)
        findable(cls)

    def __init__(self, asynchronous: Any, lease: leases.Lease | None = None) -> None:
        """Wrap an async object. Only the client and its handles do so.

        Args:
            asynchronous: The async twin.
            lease: The client's share in the loop.

        Raises:
            TypeError: A caller tries to make a handle; the client and its handles return them.
        """
        if lease is None:
            raise not_by_hand(type(self))
        self._async = asynchronous
        self._lease = lease

    def __repr__(self) -> str:
        if "_async" not in self.__dict__:  # its making has failed, and a debugger or a traceback shows it
            return f"<{type(self).__name__}, not made>"
        twin = type(self._async).__name__
        return repr(self._async).replace(f"<{twin} ", f"<{type(self).__name__} ", 1)

    def __eq__(self, other: object) -> bool:
        """Return whether both stand for the same object of the async client."""
        return isinstance(other, Facade) and other._async is self._async

    def __hash__(self) -> int:
        return hash(self._async)

    __reduce__ = refuse_to_be_pickled


def twin(value: Any) -> Any:
    """Return the async twin of an object of the blocking surface, and any other value unchanged."""
    return value._async if isinstance(value, Facade) else value  # pyright: ignore[reportPrivateUsage]


def held(value: Any, attribute: str, cls: type[Facade], lease: leases.Lease) -> Any:
    """Return a value with its async handle replaced by the blocking one.

    Args:
        value: The value, of an attrs class.
        attribute: The attribute with the handle.
        cls: The class of the blocking handle.
        lease: The client's share in the loop.
    """
    handle = getattr(value, attribute)
    return value if handle is None else attrs.evolve(value, **{attribute: cls(handle, lease)})


__all__ = ["Facade", "held", "twin"]
