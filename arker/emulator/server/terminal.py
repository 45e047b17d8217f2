"""A session's terminal: its latest output, the connection that is attached to it, and what becomes of it without one.

One task reads the program's output into a bounded buffer. The connection is sent what is in the buffer from where it
stands; while it is too far behind, nothing more is read, so that the program waits as at any slow terminal. Without a
connection the buffer keeps the latest output, which is replayed to the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias

import anyio
from aiohttp import WSCloseCode, web

from arker.emulator.sandbox.base import RunExit, SandboxError, TerminalHandle

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]
"""Starts work in the background, to its end."""

REPLAY: Final = 256 * 1024
"""Bytes of the latest output that are kept for a replay."""
_AHEAD: Final = 128 * 1024
"""Bytes that the program may be ahead of the connection."""
_FRAME: Final = 64 * 1024
_TYPED_AHEAD: Final = 256 * 1024
"""Bytes of input that may wait for the program. With more, nothing that the connection sends is read."""
_PATIENCE: Final = 60.0
"""Seconds in which a program has to take some of its input, before the connection that sends it is ended."""
_VACATING: Final = 20.0
"""Seconds in which what was typed at an earlier connection has to be taken, before the next one is refused."""
_LONGEST_LINE: Final = 4096
"""Bytes within which the end of a line is looked for, so that a replay does not begin inside an escape sequence."""


class Recent:
    """The latest bytes of a stream, by their offsets in it."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.start = self.end = 0

    def add(self, data: bytes) -> None:
        self._data += data
        self.end += len(data)
        if len(self._data) > 2 * REPLAY:  # not each time: what stays is moved
            self._drop(len(self._data) - REPLAY)

    def _drop(self, count: int) -> None:
        del self._data[:count]
        self.start += count

    def since(self, offset: int) -> bytes:
        """Return some bytes from this offset on, as many as a frame holds at most."""
        begin = max(offset, self.start) - self.start
        return bytes(self._data[begin : begin + _FRAME])

    def replay_from(self) -> int:
        """Return where a replay begins: with the first byte, or at the beginning of a line."""
        begin = max(self.start, self.end - REPLAY)
        if begin == 0:
            return 0
        line = self._data.find(b"\n", begin - self.start, begin - self.start + _LONGEST_LINE)
        return begin if line < 0 else self.start + line + 1


class Typed:
    """The input of one connection that its program has not taken yet.

    It lies here, and not in the connection, so that a kill behind it is read although the program takes no input.
    """

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self._data = bytearray()
        self._changed = asyncio.Condition()
        self._finished = self._given_up = False

    async def add(self, data: bytes) -> None:
        """Add input, and wait until there is room for more."""
        async with self._changed:
            self._data += data
            self._changed.notify_all()
            await self._changed.wait_for(lambda: len(self._data) <= _TYPED_AHEAD or self._given_up)

    async def finish(self) -> None:
        """Let `pass_on` return after the input that is there."""
        async with self._changed:
            self._finished = True
            self._changed.notify_all()

    async def pass_on(self) -> bool:
        """Pass the input on to the program until its end. Returns False if the program takes none for too long."""
        try:
            while data := await self._next():
                with anyio.move_on_after(_PATIENCE) as scope:
                    await self._write(data)
                if scope.cancelled_caught:
                    return False
            return True
        finally:
            async with self._changed:
                self._given_up = True
                self._changed.notify_all()

    async def _next(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._data or self._finished)
            data = bytes(self._data[:_FRAME])
            del self._data[:_FRAME]
            self._changed.notify_all()
        return data


class Attachment:
    """One connection to a terminal."""

    def __init__(self, offset: int, is_closed: Callable[[], bool]) -> None:
        self.is_closed = is_closed
        """Returns whether the connection has ended, although it may not be detached yet."""
        self.sent = offset
        """The offset of the next byte to send."""
        self.ending = False
        """Whether the other end is being told that it is over."""


class Terminal:
    """The terminal of a session."""

    def __init__(self, spawn: Spawn, handle: TerminalHandle, cols: int, rows: int) -> None:
        self._spawn = spawn
        self._handle = handle
        self._cols, self._rows = cols, rows
        self._recent = Recent()
        self._attached: Attachment | None = None
        self._changed = asyncio.Event()
        """Set at any change; see `_next_change`."""
        self._exit: RunExit | None = None
        self._removed: str | None = None
        self._persist = True
        self._idle_seconds: float | None = None
        self._idle_end: asyncio.TimerHandle | None = None
        self.over = False
        """Whether its end has been told to a connection, or it was removed."""
        spawn(self._pump())

    @property
    def attached(self) -> bool:
        return self._attached is not None

    @property
    def running(self) -> bool:
        """Whether its program is running, and goes on."""
        return self.alive and not self.over

    @property
    def alive(self) -> bool:
        """Whether its program has not ended yet."""
        return self._exit is None

    def settle(self, *, persist: bool, idle_seconds: float | None) -> None:
        """Set what becomes of it without a connection."""
        self._persist, self._idle_seconds = persist, idle_seconds
        self._rearm()

    def set_idle_seconds(self, seconds: float | None) -> None:
        self.settle(persist=self._persist, idle_seconds=seconds)

    def _rearm(self) -> None:
        if self._idle_end is not None:
            self._idle_end.cancel()
            self._idle_end = None
        if self._idle_seconds is not None and not self.attached and not self.over:
            loop = asyncio.get_running_loop()
            self._idle_end = loop.call_later(self._idle_seconds, self.discard, "it had no connection for too long")

    def resize(self, cols: int | None, rows: int | None) -> None:
        """Change its size; None: as it was."""
        self._cols, self._rows = cols or self._cols, rows or self._rows
        self._handle.resize(self._cols, self._rows)

    async def write(self, data: bytes) -> None:
        await self._handle.write(data)

    async def kill(self) -> None:
        """Kill its program, and all that was started in it. Then the connection is told the end."""
        try:
            await self._handle.kill()
        except SandboxError:  # the VM has died, and the program with it
            pass

    async def remove(self, reason: str) -> None:
        """Kill its program, and end the connection for this reason."""
        self._removed = self._removed or reason
        self._end()
        await self.kill()

    def discard(self, reason: str) -> None:
        """Remove it in the background."""
        self._spawn(self.remove(reason))

    async def _pump(self) -> None:
        while data := await self._handle.read():
            self._recent.add(data)
            self._notify()
            while self._attached is not None and self._recent.end - self._attached.sent > _AHEAD:
                await self._next_change().wait()
        self._exit = await self._handle.wait()
        self._handle.close()
        if not self._persist and not self.attached:
            self._end()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()

    def _next_change(self) -> asyncio.Event:
        """Return what is set at the next change. It is taken before looking, so that none is missed."""
        if self._changed.is_set():
            self._changed = asyncio.Event()
        return self._changed

    def _end(self) -> None:
        self.over = True
        if self._idle_end is not None:
            self._idle_end.cancel()
        self._notify()

    async def vacate(self) -> None:
        """Wait until the attached connection is detached, if it has ended already: what was typed there comes first."""
        with anyio.move_on_after(_VACATING):
            changed = self._next_change()
            while self._attached is not None and self._attached.is_closed():
                await changed.wait()
                changed = self._next_change()

    def attach(self, is_closed: Callable[[], bool]) -> Attachment:
        """Attach a connection. No other one is attached."""
        self._attached = attachment = Attachment(self._recent.replay_from(), is_closed)
        self._rearm()
        return attachment

    def detach(self, attachment: Attachment) -> None:
        """Note that a connection has ended."""
        if self._attached is attachment:
            self._attached = None
            self._notify()
            self._rearm()
            if not self._persist and not self.over:
                self._end()
                self.discard("its only connection has ended")

    async def send_output(self, attachment: Attachment, socket: web.WebSocketResponse) -> None:
        """Send the output, and then the end, until the connection ends."""
        while self._removed is None:
            changed = self._next_change()
            data = self._recent.since(attachment.sent)
            if data:
                await socket.send_bytes(data)
                attachment.sent += len(data)
                self._notify()
                continue
            if self._exit is not None:
                break
            await changed.wait()
        attachment.ending = True
        if self._removed is not None or self._exit is None:
            await socket.close(code=WSCloseCode.GOING_AWAY, message=(self._removed or "").encode())
            return
        code = self._exit.exit_code
        reason = b"killed" if code is None else b"exit_code=%d" % code
        await socket.close(code=WSCloseCode.OK, message=reason)
        if socket.close_code == WSCloseCode.OK:  # it has answered; else the next one is told
            self._end()


__all__ = ["REPLAY", "Attachment", "Recent", "Terminal", "Typed"]
