"""What a program has of what it has done, and what of that is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from attrs import define, field, frozen

from arker import ArkerError, AsyncArker, AsyncVM, CompletedRunResult, Run
from tests.drift.machine import CODE, ERR, OUT
from tests.drift.service import BASE, Service
from tests.drift.wire import Effect

T = TypeVar("T")


@define(eq=False)
class Held:
    """A program, while it goes on.

    Attributes:
        service: What it talks to.
        ledger: Where its forks are written down.
        local: A directory of its own.
        patience: Seconds for what may be waited for.
        vms: VMs of which it was given handles, and which are to stay.
        given: Ids of sessions and the like that it was given.
        wrong: What must not have been.
    """

    service: Service
    ledger: Path
    local: Path
    patience: float
    vms: list[str] = field(factory=list[str])
    given: list[str] = field(factory=list[str])
    wrong: list[str] = field(factory=list[str])
    _ar: AsyncArker | None = None

    @property
    def ar(self) -> AsyncArker:
        assert self._ar is not None
        return self._ar

    def begin(self, ar: AsyncArker) -> None:
        """Take a client; the ledger has been prepared."""
        self._ar = ar

    @property
    def vm(self) -> AsyncVM:
        """A handle on the VM that there is."""
        return self.ar.vm(BASE)

    async def call(self, doing: Awaitable[T], kind: str | None = None, *, vm: str | None = None) -> T:
        """Do something, and hold what its error says against what the service has done.

        Args:
            doing: A public call.
            kind: What it is to do; ``forks`` for as many as there may be.
            vm: Where, if others do the same elsewhere.
        """
        before = len(self.service.effects)

        wanted = "fork" if kind == "forks" else kind

        def mine() -> list[Effect]:
            return [each for each in self.service.effects[before:] if each.kind == wanted and vm in (None, each.vm)]

        def done() -> list[str]:
            stand = [each for each in mine() if each.truthful and self.service.stands(each)]
            return [f"{each.kind} {each.name}" for each in stand]

        try:
            result = await doing
        except ArkerError as error:
            if error.outcome == "not_started" and done():
                self.wrong.append(f"called undone: {done()}, by {error!r}")
            raise
        finally:
            if kind in _ONCE and len(done()) > 1 and self.service.plan.knows_keys:
                self.wrong.append(f"done more than once: {done()}")
        denied = any(getattr(result, name, True) is False for name in ("deleted", "cancelled"))
        if kind is not None and kind != "write" and not denied and not mine():
            self.wrong.append(f"told that it was done, but was not: {kind}, {result!r}")
        return result

    def same(self, what: str, got: object, wanted: object) -> None:
        """Hold a result against what was there."""
        if got != wanted:
            self.wrong.append(f"{what}: {got!r}, but it was {wanted!r}")

    def is_output(self, result: CompletedRunResult | Run, word: str) -> None:
        """Hold a run's result against what it has written."""
        self.same("stdout", result.stdout, OUT.format(word).encode())
        self.same("stderr", result.stderr, ERR.format(word).encode())
        if result.exit_code is not None or not self.service.plan.bends:
            self.same("exit code", result.exit_code, CODE)

    def is_list(self, what: str, got: list[str], wanted: list[str]) -> None:
        """Hold the ids of a list against those that there are; one that could not be read is blank."""
        self.same(f"number of {what}", len(got), len(wanted))
        for found, there in zip(got, wanted, strict=False):
            if found != "" or not self.service.plan.bends:
                self.same(what, found, there)

    async def is_iterated(self, what: str, iterator: AsyncIterator[Any], name: str, wanted: list[str]) -> None:
        """Go through a list, and hold it against what there is."""
        self.is_list(what, [getattr(item, name) async for item in iterator], wanted)


_ONCE = ("fork", "run", "signal", "create_session", "create_tunnel", "create_sync", "create_mount", "create_filesystem")

Act: TypeAlias = Callable[[Held], Coroutine[Any, Any, None]]


@frozen
class Operation:
    """Something that programs do.

    Attributes:
        name: What it is called in plans.
        covers: The public methods that it calls.
        requests: The service's operations that it asks for, any of which may drift.
        act: Does it.
        older: Whether only services of the older generation can do it.
        prepare: Puts something on record before.
    """

    name: str
    covers: tuple[str, ...]
    requests: tuple[str, ...]
    act: Act = field(repr=False)
    older: bool = False
    prepare: Callable[[Held], Coroutine[Any, Any, None]] | None = field(default=None, repr=False)


__all__ = ["Act", "Held", "Operation"]
