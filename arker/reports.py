"""What calls on many VMs tell: outcomes and progress of fleets, and what `reap` has found."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

import attrs
from attrs import field, frozen

from arker.errors import ArkerError

V = TypeVar("V")


Item = TypeVar("Item")


Value = TypeVar("Value")


FleetOperation: TypeAlias = Literal["fork_many", "map", "run", "upload", "delete"]


@frozen(kw_only=True)
class FleetOutcome(Generic[V, Item, Value]):
    """What became of one item: a value or an error.

    Attributes:
        index: The item's place among the items, from 0.
        item: The item.
        vm: The VM in which it was tried last. An outcome that was pickled has None: no handle leaves its process.
        value: What the function returned; None when it raised.
        error: What it raised; None when it returned.
        seconds: How long the last try took.
        tries: How often it was tried: more than once only when a VM died under it; 0 when none was left for it.
    """

    index: int
    item: Item
    vm: V
    value: Value | None = field(default=None, repr=False)
    error: Exception | None = None
    seconds: float = 0.0
    tries: int = 1

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {attribute.name: getattr(self, attribute.name) for attribute in attrs.fields(type(self))}
        return _unpickled, (type(self), {**fields, "vm": None})

    def __copy__(self) -> FleetOutcome[V, Item, Value]:
        return attrs.evolve(self)

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> Value:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return cast("Value", self.value)


def _unpickled(cls: type[FleetOutcome[Any, Any, Any]], fields: dict[str, Any]) -> FleetOutcome[Any, Any, Any]:
    return cls(**fields)


@frozen(kw_only=True)
class FleetProgress:
    """How far an operation on a fleet has come: at its beginning, and whenever one more is done.

    Attributes:
        operation: ``"fork_many"`` (VMs are forked), ``"map"`` (items), ``"run"`` and ``"upload"`` (VMs) or
            ``"delete"`` (VMs, at the end).
        done: VMs or items that are done with, those that failed included.
        failed: How many of them failed.
        total: How many there are; None for items that are not counted beforehand.
        vms: VMs that the fleet has at this moment.
    """

    operation: FleetOperation
    done: int
    failed: int
    total: int | None
    vms: int


@frozen(kw_only=True)
class Leftover:
    """A fork that a program left behind.

    Attributes:
        vm_id: The VM's id; None when no answer to the fork was written down, and none could be had.
        base_url: Where it was posted to.
        idempotency_key: The key that it was posted under.
        created_at: When (RFC 3339, UTC).
        error: Why it could not be dealt with.
    """

    vm_id: str | None
    base_url: str
    idempotency_key: str
    created_at: str
    error: ArkerError | None = None


@frozen(kw_only=True)
class ReapReport:
    """What `AsyncArker.reap` did, or would do.

    Attributes:
        deleted: VMs that were deleted; in a dry run, forks that would be looked at, and their VMs deleted.
        gone: VMs that were not there any more.
        failed: Forks that could not be dealt with, each with its error; they stay in the ledger. (But a fork that had
            no answer and is refused now, when the server may have forgotten its key, is beyond help and goes.)
        living: How many forks were left alone because the program that holds them goes on.
        elsewhere: How many were left alone because they belong to another machine (or to this one before it was started
            anew), where their program may go on.
        dry_run: Whether nothing was done.
    """

    deleted: tuple[Leftover, ...] = ()
    gone: tuple[Leftover, ...] = ()
    failed: tuple[Leftover, ...] = ()
    living: int = 0
    elsewhere: int = 0
    dry_run: bool = False


__all__ = ["FleetOperation", "FleetOutcome", "FleetProgress", "Leftover", "ReapReport"]
