"""The state that the parts of a client share, and the place of a VM, which handles are built on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import field, frozen

from arker._protocol.address import Address
from arker._tasks.running_loop import running_loop
from arker._transport.generations import Generations
from arker._transport.open_blocks import CLEANING

if TYPE_CHECKING:
    from arker._ledger.ledger import Ledger
    from arker._protocol.request import Call
    from arker._transport.attempts import Progress
    from arker._transport.observer import Observer
    from arker._transport.open_blocks import Blocks
    from arker._transport.redaction import Redactor
    from arker._transport.transport import Transport
    from arker.config import Settings

T = TypeVar("T")
K = TypeVar("K", bound="Kept")


class Kept:
    """What a client keeps in its VMs until it is closed, of one kind; made by `Context.kept`."""

    def __init__(self, context: Context) -> None:
        """Begin with nothing."""

    def forget(self, base_url: str, vm_id: str) -> None:
        """Forget what was kept in a VM that was deleted."""

    async def settle(self) -> None:
        """Prepare for the end, while calls can still be sent: nothing may wait any more."""

    async def close(self) -> None:
        """Remove what is kept from the VMs, within a bound."""


class Lifetime(Protocol):
    """The time after which a VM is to be deleted."""

    def cancel(self) -> None:
        """Let the VM stay."""

    def go_on(self) -> None:
        """Measure the time in the running loop if the loop that did has ended."""


class Context:
    """The state that the parts of a client share.

    Attributes:
        settings: The client's settings.
        transport: The transport of its calls.
        ledger: The ledger of its forks, if there is one.
        lacking: The features that servers, by their base URLs, are known to lack.
        generations: The generations of the API that servers speak.
        lifetimes: Those of VMs that are to be deleted at a set time, by their base URLs and ids.
    """

    __slots__ = (
        "_cleanups",
        "_kept",
        "_process",
        "generations",
        "lacking",
        "ledger",
        "lifetimes",
        "settings",
        "transport",
    )

    def __init__(self, transport: Transport, ledger: Ledger | None) -> None:
        self.settings: Settings = transport.settings
        self.transport = transport
        self.ledger = ledger
        self.lacking: set[tuple[str, str]] = set()
        self._kept: dict[type[Kept], Kept] = {}
        self._process = os.getpid()
        self.lifetimes: dict[tuple[str, str], Lifetime] = {}
        transport.in_new_loop = partial(_go_on, self.lifetimes)
        self.generations = Generations(transport)
        self._cleanups: set[asyncio.Future[None]] = set()

    @property
    def blocks(self) -> Blocks:
        """The client's open blocks."""
        return self.transport.blocks

    @property
    def observer(self) -> Observer:
        """The observer that reports to the log and to the caller's hooks."""
        return self.transport.observer

    def places_now(self) -> int:
        """Return the number of requests that the client may have in flight at the moment."""
        return self.transport.limiter.window.places

    @property
    def redact(self) -> Redactor:
        """The function that removes the API key from a text."""
        return self.transport.redact

    def send(
        self, call: Call[T], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Coroutine[Any, Any, T]:
        """Send a call, in the form of its server's generation; see `Transport.send`."""
        if call.earlier is not None or call.lack is not None:
            return self.generations.send(call, deadline=deadline, progress=progress)
        return self.transport.send(call, deadline=deadline, progress=progress)

    @contextmanager
    def cleaning_up(self) -> Generator[None, None, None]:
        """Let closing the client wait for the work inside, which must have its own bound."""
        over: asyncio.Future[None] = running_loop().create_future()
        self._cleanups.add(over)
        cleaning = CLEANING.set(True)
        try:
            yield
        finally:
            CLEANING.reset(cleaning)
            self._cleanups.discard(over)
            over.set_result(None)

    def stop_timers(self) -> None:
        """Delete no VM at its set time any more: that is left to `AsyncArker.reap`."""
        while self.lifetimes:
            self.lifetimes.popitem()[1].cancel()

    def kept(self, kind: type[K]) -> K:
        """Return what is kept in the client's VMs, of one kind."""
        if self._process != os.getpid():
            self._leave_to_parent()
        found = self._kept.get(kind)
        if found is None:
            found = self._kept.setdefault(kind, kind(self))
        assert isinstance(found, kind)
        return found

    def _leave_to_parent(self) -> None:
        """Forget, in a forked process, what its parent keeps: the parent goes on using it, and removes it."""
        if self._process != os.getpid():
            self._kept, self._process = {}, os.getpid()

    def forget_kept(self, base_url: str, vm_id: str) -> None:
        """Forget what is kept in a VM, which is about to be deleted."""
        self._leave_to_parent()
        for each in tuple(self._kept.values()):
            each.forget(base_url, vm_id)

    async def settle_kept(self) -> None:
        """Prepare all that is kept in VMs for the client's end."""
        self._leave_to_parent()
        await asyncio.gather(*(each.settle() for each in tuple(self._kept.values())))

    async def close_kept(self) -> None:
        """Remove from the VMs all that is kept there."""
        self._leave_to_parent()
        await asyncio.gather(*(each.close() for each in tuple(self._kept.values())))

    async def settled(self) -> None:
        """Wait until all clean-ups of this loop have finished."""
        # Tasks that were cancelled together begin to clean up one after the other.
        await asyncio.sleep(0)
        loop = running_loop()
        while going_on := [each for each in tuple(self._cleanups) if each.get_loop() is loop]:
            await asyncio.wait(going_on)


def _go_on(lifetimes: dict[tuple[str, str], Lifetime]) -> None:
    for lifetime in list(lifetimes.values()):
        lifetime.go_on()


class Doubt:
    """A note that a run in a VM has failed, as happens when the VM goes away."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted = False

    def note(self) -> None:
        """Note that a run has failed."""
        self._noted = True

    def take(self) -> bool:
        """Return whether a run has failed since the last call."""
        noted, self._noted = self._noted, False
        return noted


@frozen
class Place(Address):
    """The place of a VM, and the context that its calls are sent with.

    Attributes:
        context: The context of the client.
        doubt: Whether the VM may be gone, for its fleet.
    """

    context: Context = field(repr=False)
    doubt: Doubt = field(factory=Doubt, init=False, repr=False, eq=False)

    def send(
        self, call: Call[T], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Coroutine[Any, Any, T]:
        """Send a call, in the form of its server's generation; see `Transport.send`."""
        context = self.context
        if call.earlier is not None or call.lack is not None:
            return context.generations.send(call, deadline=deadline, progress=progress)
        return context.transport.send(call, deadline=deadline, progress=progress)

    def redact(self, text: str) -> str:
        """Remove the API key from a text."""
        return self.context.transport.redact(text)


__all__ = ["Context", "Doubt", "Kept", "Place"]
