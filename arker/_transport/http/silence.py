"""The bound on the silence of connections, for small requests that are answered at once. Loaded with the HTTP side.

aiohttp has such a bound, but sets and cancels two timers for each request. Here one timer serves all of a loop, and
aiohttp's own bound is switched on for the few requests that take longer than most.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from arker._tasks.rounds import Round

if TYPE_CHECKING:
    from aiohttp.connector import Connection

_PART: Final = 0.125
"""The part of the bound after which aiohttp's begins: silence from the start is noticed by so much later."""

_Task: TypeAlias = "asyncio.Task[Any] | None"


class Silences:
    """The requests of one loop whose connections must not be silent for too long. Each is known by its task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle: float) -> None:
        """Begin with none.

        Args:
            loop: The loop.
            idle: The bound, in seconds.
        """
        self._idle = idle
        self._loop = loop
        self._round: Round[_Task] = Round(loop, idle * _PART, self._look)
        self._connections: dict[_Task, Connection] = {}

    def begin(self, connection: Connection) -> None:
        """Watch the connection that the request has been given: until then, other bounds hold."""
        task = asyncio.current_task()
        self._connections[task] = connection
        self._round.add(task)

    def end(self, task: _Task) -> None:
        """Stop watching the request of a task, which need not be the current one: a coroutine may be discarded."""
        self._connections.pop(task, None)
        self._round.due.pop(task, None)

    def _look(self, task: _Task) -> None:
        # The request may have been answered in this very turn of the loop, which its task learns in the next one.
        # A timer that is set for a connection without a request would end the next request on it.
        self._loop.call_soon(self._hand_over, self._connections[task])

    def _hand_over(self, connection: Connection) -> None:
        protocol = connection.protocol
        if protocol is not None:  # else the request has ended
            protocol.read_timeout = self._idle
            protocol.start_timeout()


__all__ = ["Silences"]
