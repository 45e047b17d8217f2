"""What the parts of a client share, and where a VM is: what a handle and all that is done in its VM stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import field, frozen

from arker._protocol.request import Address
from arker._tasks.running_loop import running_loop

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


class Context:
    """What the parts of a client share.

    Attributes:
        settings: The client's settings.
        transport: Sends its calls.
        ledger: Where its forks are written down, if they are.
        lacking: What servers, by their base URLs, have turned out not to do.
    """

    __slots__ = ("_cleanups", "lacking", "ledger", "settings", "transport")

    def __init__(self, transport: Transport, ledger: Ledger | None) -> None:
        self.settings: Settings = transport.settings
        self.transport = transport
        self.ledger = ledger
        self.lacking: set[tuple[str, str]] = set()
        self._cleanups: set[asyncio.Future[None]] = set()

    @property
    def blocks(self) -> Blocks:
        """The client's open blocks."""
        return self.transport.blocks

    @property
    def observer(self) -> Observer:
        """Tells the log and the caller's hooks."""
        return self.transport.observer

    @property
    def redact(self) -> Redactor:
        """Takes the API key out of a text."""
        return self.transport.redact

    def send(
        self, call: Call[T], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Coroutine[Any, Any, T]:
        """Send a call; see `Transport.send`."""
        return self.transport.send(call, deadline=deadline, progress=progress)

    @contextmanager
    def cleaning_up(self) -> Generator[None, None, None]:
        """Have closing the client wait for what is done inside, which must have a bound of its own."""
        over: asyncio.Future[None] = running_loop().create_future()
        self._cleanups.add(over)
        try:
            yield
        finally:
            self._cleanups.discard(over)
            over.set_result(None)

    async def settled(self) -> None:
        """Wait until all clean-ups of this loop have come to their end."""
        # Tasks that were cancelled together begin to clean up one after the other.
        await asyncio.sleep(0)
        loop = running_loop()
        while going_on := [each for each in tuple(self._cleanups) if each.get_loop() is loop]:
            await asyncio.wait(going_on)


class Doubt:
    """Whether a run in a VM has failed, as it does when the VM goes."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted = False

    def note(self) -> None:
        """Note that one has."""
        self._noted = True

    def take(self) -> bool:
        """Tell whether one has since this was asked last."""
        noted, self._noted = self._noted, False
        return noted


@frozen
class Place(Address):
    """Where a VM is, and what its calls are sent with.

    Attributes:
        context: What the parts of the client share.
        doubt: Whether the VM may have gone, for the fleet that it belongs to.
    """

    context: Context = field(repr=False)
    doubt: Doubt = field(factory=Doubt, init=False, repr=False, eq=False)

    def send(
        self, call: Call[T], *, deadline: float | None = None, progress: Progress | None = None
    ) -> Coroutine[Any, Any, T]:
        """Send a call; see `Transport.send`."""
        return self.context.transport.send(call, deadline=deadline, progress=progress)

    def redact(self, text: str) -> str:
        """Take the API key out of a text."""
        return self.context.transport.redact(text)


__all__ = ["Context", "Doubt", "Place"]
