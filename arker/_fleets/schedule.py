"""Decisions of a fleet, pure: when forking has failed, which outcome comes next, what errors say about VMs."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, Literal, TypeVar

from arker.errors import ApiError, ArkerError, DeadlineExceededError, NetworkError, NotFoundError, VMGoneError

Result = TypeVar("Result")

AHEAD: Final = 2
"""Items in progress or waiting to be taken, for each VM, when outcomes are taken as they come."""
AHEAD_IN_ORDER: Final = 4
"""The same when they are taken in order: behind a slow item, the other VMs go on for a while."""


def is_hopeless(*, count: int, at_least: int, failed: int) -> bool:
    """Return whether so many forks have failed that the required number cannot be reached."""
    return count - failed < at_least


class Schedule(Generic[Result]):
    """Numbers for begun items and a buffer of their results, in order or as they finish.

    It never holds more than its bound.

    Attributes:
        begun: The number of items begun.
        taken: The number of results handed out.
    """

    def __init__(self, *, vms: int, ordered: bool) -> None:
        self._bound = max(1, vms) * (AHEAD_IN_ORDER if ordered else AHEAD)
        self._ordered = ordered
        self._ready: deque[Result] = deque()
        self._early: dict[int, Result] = {}
        self._next = 0
        self.begun = 0
        self.taken = 0

    @property
    def has_room(self) -> bool:
        """Whether another item may begin now."""
        return self.begun - self.taken < self._bound

    @property
    def ready(self) -> bool:
        """Whether a result can be taken."""
        return bool(self._ready)

    def begin(self) -> int:
        """Return the number of the next item."""
        self.begun += 1
        return self.begun - 1

    def finish(self, number: int, result: Result) -> None:
        """Store a result until it is taken."""
        if not self._ordered:
            self._ready.append(result)
            return
        self._early[number] = result
        while self._next in self._early:
            self._ready.append(self._early.pop(self._next))
            self._next += 1

    def skip_missing(self) -> None:
        """Note that no more items will finish, so results that wait for a missing one are handed out."""
        self._ready.extend(self._early.pop(number) for number in sorted(self._early))

    def take(self) -> Result:
        """Return the next result; there must be one."""
        self.taken += 1
        return self._ready.popleft()


def verdict(error: BaseException, vm_id: str) -> Literal["gone", "perhaps", "lives"]:
    """Return what an error says about the VM of a function, however deep the function has wrapped the error.

    ``perhaps``: something in this VM was not found; that may be a file or the VM itself.
    """
    found: Literal["gone", "perhaps", "lives"] = "lives"
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, NotFoundError) and each.vm_id == vm_id:
            if isinstance(each, VMGoneError):
                return "gone"
            found = "perhaps"
        todo += [each.__cause__, each.__context__]
        # An exception group; Python 3.10 has no such class of its own.
        members: object = getattr(each, "exceptions", None)
        if isinstance(members, tuple):
            todo += [member for member in members if isinstance(member, BaseException)]  # pyright: ignore[reportUnknownVariableType]
    return found


def may_pass(error: ArkerError) -> bool:
    """Return whether a failed deletion may succeed when it is repeated."""
    if isinstance(error, ApiError):
        return error.status not in (400, 401, 403)
    return isinstance(error, (NetworkError, DeadlineExceededError))


__all__ = ["AHEAD", "AHEAD_IN_ORDER", "Schedule", "is_hopeless", "may_pass", "verdict"]
