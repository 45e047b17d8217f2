"""The bound on the silence of connections, for small requests that are answered at once. Loaded with the HTTP side.

aiohttp has such a bound, but sets and cancels two timers for each request. Here one timer serves all of a loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import define

from arker._tasks.rounds import Round

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.connector import Connection

_GRACE: Final = 0.05
"""Seconds for reading an answer that may have arrived: the loop may have stood still until now."""

_Task: TypeAlias = "asyncio.Task[Any] | None"


@define(eq=False)
class _Slow:
    """A request that has taken longer than most.

    Attributes:
        content: The reply's body, once it has begun.
        passed: The bytes of it at the last look, plus one.
        doubted: Whether there was no progress before the last look.
        ended: Whether its connection was ended.
    """

    content: StreamReader | None = None
    passed: int = 0
    doubted: bool = False
    ended: bool = False


class Silences:
    """The requests of one loop whose connections must not be silent for too long. Each is known by its task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle: float) -> None:
        """Begin with none.

        Args:
            loop: The loop.
            idle: The bound, in seconds.
        """
        self._idle = idle
        self._round: Round[_Task] = Round(loop, idle, self._look)
        self._connections: dict[_Task, Connection] = {}
        self._slow: dict[_Task, _Slow] = {}

    def begin(self, connection: Connection) -> None:
        """Watch the connection that the request has been given: until then, other bounds hold."""
        task = asyncio.current_task()
        self._connections[task] = connection
        self._round.add(task)

    def reading(self, content: StreamReader) -> None:
        """Note that the reply has begun: the bound then holds for each piece of its body."""
        self._slow[asyncio.current_task()] = _Slow(content)

    def have_ended(self) -> bool:
        """Return whether the request's connection was silent for too long, and therefore ended."""
        slow = self._slow.get(asyncio.current_task())
        return slow is not None and slow.ended

    def end(self) -> None:
        """Stop watching the request."""
        task = asyncio.current_task()
        self._connections.pop(task, None)
        self._round.due.pop(task, None)
        if self._slow:
            self._slow.pop(task, None)

    def _look(self, task: _Task) -> float | None:
        slow = self._slow.get(task)
        if slow is None:
            slow = self._slow[task] = _Slow()
        passed = 0 if slow.content is None else 1 + slow.content.total_bytes
        if passed > slow.passed:
            slow.passed, slow.doubted = passed, False
            return self._idle
        if not slow.doubted:
            slow.doubted = True
            return _GRACE
        slow.ended = True
        transport = self._connections[task].transport
        if transport is not None:
            transport.abort()
        return None


__all__ = ["Silences"]
