"""Reports of calls on many VMs: outcomes and progress of fleets, and the report of `reap`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, cast

import attrs
from attrs import field, frozen

from arker._basics.guidance import instead
from arker.errors import ArkerError

V = TypeVar("V")


Item = TypeVar("Item")


Value = TypeVar("Value")


FleetOperation: TypeAlias = Literal["fork_many", "map", "run", "upload", "delete"]


@frozen(kw_only=True)
class FleetOutcome(Generic[V, Item, Value]):
    """The outcome of one item: a value or an error.

    Attributes:
        index: The item's index among the items, from 0.
        item: The item.
        vm: The VM of the last try. It is None in an unpickled outcome, because handles cannot be pickled.
        value: The function's return value; None if it raised an exception.
        error: The function's exception; None if it returned.
        seconds: Duration of the last try in seconds.
        tries: Number of tries: more than one only if a VM died during a try; 0 if no VM was left for the item.
    """

    index: int
    item: Item
    vm: V
    value: Value | None = field(default=None, repr=False)
    error: Exception | None = None
    seconds: float = 0.0
    tries: int = 1

    if not TYPE_CHECKING:
        __getattr__ = instead

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {attribute.name: getattr(self, attribute.name) for attribute in attrs.fields(type(self))}
        return _unpickled, (type(self), {**fields, "vm": None})

    def __copy__(self) -> FleetOutcome[V, Item, Value]:
        return attrs.evolve(self)

    @property
    def ok(self) -> bool:
        """Whether the function has returned."""
        return self.error is None

    def unwrap(self) -> Value:
        """Return the value, or raise the error if there is one."""
        if self.error is not None:
            raise self.error
        return cast("Value", self.value)


def _unpickled(cls: type[FleetOutcome[Any, Any, Any]], fields: dict[str, Any]) -> FleetOutcome[Any, Any, Any]:
    return cls(**fields)


@frozen(kw_only=True)
class Replayed:
    """A marker in a terminal's output: the connection was lost, and the server now replays its recent output.

    What follows repeats some of what came before, and goes on with what was missed: clear the screen at the marker. The
    server keeps a bounded amount, so that the beginning may be missing.

    Attributes:
        connections: The number of connections so far; 2 after the first loss.
    """

    connections: int


@frozen(kw_only=True)
class FleetProgress:
    """The progress of an operation on a fleet: reported at the start and after each item or VM.

    If the items were not counted in advance, it is also reported when the last one was drawn.

    Attributes:
        operation: ``"fork_many"`` (VMs are forked), ``"map"`` (items), ``"run"`` and ``"upload"`` (VMs) or
            ``"delete"`` (VMs, at the end).
        done: Number of finished VMs or items, including failed ones.
        failed: Number of failed ones.
        total: Total number; None if the items are not counted in advance, until the last one was drawn.
        vms: Number of VMs in the fleet at this time.
    """

    operation: FleetOperation
    done: int
    failed: int
    total: int | None
    vms: int


@frozen(kw_only=True)
class Leftover:
    """A fork that a program has left behind.

    Attributes:
        vm_id: The VM's id; None if the ledger has no reply to the fork and none could be fetched.
        base_url: Base URL that the fork was sent to.
        idempotency_key: The fork's idempotency key.
        created_at: Time of the fork (RFC 3339, UTC).
        error: Why the fork could not be cleaned up.
    """

    vm_id: str | None
    base_url: str
    idempotency_key: str
    created_at: str
    error: ArkerError | None = None


@frozen(kw_only=True)
class ReapReport:
    """The report of `AsyncArker.reap`: what it did, or would do.

    Attributes:
        deleted: VMs that were deleted; in a dry run, forks that would be checked and their VMs deleted.
        gone: VMs that no longer existed.
        failed: Forks that could not be cleaned up, each with its error; they stay in the ledger. (Exception: a fork
            without a reply is removed from the ledger if the server rejects it now and may have forgotten its key, and
            so is one of which nothing more can be found out, when it is a day old.)
        living: Number of forks left alone because their program is still running, or because their ``ttl`` is not over.
        elsewhere: Number of forks left alone because they belong to another machine (or to this one before its last
            boot), where their program may still be running.
        dry_run: Whether nothing was done.
    """

    deleted: tuple[Leftover, ...] = ()
    gone: tuple[Leftover, ...] = ()
    failed: tuple[Leftover, ...] = ()
    living: int = 0
    elsewhere: int = 0
    dry_run: bool = False


__all__ = ["FleetOperation", "FleetOutcome", "FleetProgress", "Leftover", "ReapReport", "Replayed"]
