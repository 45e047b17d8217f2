"""How a service is to answer, as values: what a plan prints can be pasted, to be played again."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from tests.drift import changes
from tests.drift.changes import Change


@frozen
class Bent:
    """What becomes of some replies of one operation.

    Attributes:
        operation: The service's operation.
        changes: What is changed, one after the other.
        skip: How many replies come through before.
        times: How many are changed then.
        reaches: Whether the requests reach the service at all.
    """

    operation: str
    changes: tuple[Change, ...]
    skip: int = 0
    times: int = 1
    reaches: bool = True


@frozen
class Interrupted:
    """What happens in the middle.

    Attributes:
        at: The request before whose answer it happens.
        how: ``cancel``: the caller is cancelled; ``close``: another task closes the client.
    """

    at: int
    how: str


@frozen
class Plan:
    """A service, and what a program goes through with it.

    Attributes:
        operation: What the program does.
        bends: What becomes of the replies; the first that fits a reply is taken.
        knows_keys: Whether requests with a key are known again.
        slow: Whether foreground runs are answered as background ones, and tunnels open late.
        older: Whether it has the routes of the older generation as well.
        presigned: Whether it has an object store.
        interrupted: What happens meanwhile.
    """

    operation: str
    bends: tuple[Bent, ...] = ()
    knows_keys: bool = True
    slow: bool = False
    older: bool = False
    presigned: bool = False
    interrupted: Interrupted | None = None


ALWAYS: Final = 1_000_000


def pasted(text: str) -> Plan:
    """Make the plan that a text shows."""
    names = {name: getattr(changes, name) for name in changes.__all__}
    plan = eval(text, {"Plan": Plan, "Bent": Bent, "Interrupted": Interrupted, **names})
    assert isinstance(plan, Plan)
    return plan


__all__ = ["ALWAYS", "Bent", "Interrupted", "Plan", "pasted"]
