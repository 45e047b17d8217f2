"""The server's side of the agent's socket: requests out, replies and descriptors in.

Data from a VM is untrusted: a reply that is too long, malformed or unrequested ends the link, never the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from arker.emulator.sandbox.base import SandboxError

_SILENCE = 0.5
"""Seconds without an answer after which the agent is looked after, again and again."""
_LONGEST_REPLY = 1024 * 1024
_MOST_DESCRIPTORS = 64
_REASON = re.compile("E[A-Z0-9]{1,20}")
_CODES = frozenset({"not_found", "bad_request", "unavailable", "unsupported_operation", "resource_pressure"})


class LinkClosedError(Exception):
    """The error of a closed link: the agent has ended, and with it every process of the VM."""


@frozen
class Reply:
    """A reply of the agent. The descriptors belong to the caller."""

    data: dict[str, Any]
    fds: list[int]


def anonymous_file(name: str, content: bytes = b"") -> int:
    """Return a descriptor of a file that has no name and lives as long as it is held open."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def anonymous_files(*contents: tuple[str, bytes]) -> list[int]:
    """Return several of them, by name and content. Returns all or none."""
    made: list[int] = []
    try:
        for name, content in contents:
            made.append(anonymous_file(name, content))
    except BaseException:
        _close_all(made)
        raise
    return made


class AgentLink:
    """A link to one agent. It ends once: when the agent or its VM has ended, or `close` is called.

    Args:
        sock: The server's end.
        at_silence: Called while an answer is overdue: something in the VM may have stopped the agent.
    """

    def __init__(self, sock: socket.socket, *, at_silence: Callable[[], object] | None = None) -> None:
        sock.setblocking(False)
        self._at_silence = at_silence
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._outgoing: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._last_id = 0
        self._data = bytearray()
        self._fds: deque[int] = deque()
        self._cut_short = False
        self._ended = asyncio.Event()
        self._at_end: list[Callable[[], object]] = []
        self._waiting[0] = self._loop.create_future()  # the greeting, which arrives without a request
        self._waiting[0].add_done_callback(_consume)
        self.hello = self._waiting[0]
        self._loop.add_reader(sock, self._receive)

    @property
    def closed(self) -> bool:
        return self._ended.is_set()

    def at_end(self, callback: Callable[[], object]) -> None:
        """Register a callback for the link's end. The link must not have ended yet."""
        self._at_end.append(callback)

    async def wait_closed(self) -> None:
        await self._ended.wait()

    async def request(
        self, op: str, fields: Mapping[str, object] | None = None, *, fds: Sequence[int] = (), timeout: float = 30
    ) -> Reply:
        """Send a request to the agent. ``fds`` are always closed here, once they are sent or on failure.

        Raises:
            SandboxError: the agent refused; or it did not answer in time, and then the link is closed.
            LinkClosedError: it has gone.
        """
        if self.closed:
            _close_all(fds)
            raise LinkClosedError
        self._last_id += 1
        number = self._last_id
        body = json.dumps({"op": op, "id": number, "fds": len(fds), **(fields or {})}).encode()
        answer: asyncio.Future[Reply] = self._loop.create_future()
        answer.add_done_callback(_consume)
        self._waiting[number] = answer
        self._outgoing.append((memoryview(struct.pack("!I", len(body)) + body), fds))
        self._send()
        if self._at_silence is not None:
            self._loop.call_later(_SILENCE, self._look_after, answer, self._at_silence)
        try:
            # Cancelling must not lose the descriptors of an answer that is just arriving.
            reply = await asyncio.wait_for(asyncio.shield(answer), timeout)
        except asyncio.TimeoutError:
            self.close()
            raise SandboxError("unavailable", f"the VM did not answer ({op})") from None
        except asyncio.CancelledError:
            answer.add_done_callback(_discard)
            raise
        error: object = reply.data.get("error")
        if error is None:
            return reply
        _close_all(reply.fds)
        match error:
            case [str(code), str(message)]:
                raise SandboxError(code if code in _CODES else "internal", message)
            case [str(code), str(message), str(reason)] if _REASON.fullmatch(reason):
                raise SandboxError(code if code in _CODES else "internal", message, reason)
            case _:
                raise SandboxError("internal", "the VM's agent gave an answer that makes no sense")

    def _look_after(self, answer: asyncio.Future[Reply], at_silence: Callable[[], object]) -> None:
        if not answer.done():
            at_silence()
            self._loop.call_later(_SILENCE, self._look_after, answer, at_silence)

    def close(self) -> None:
        """Close the link. Waiting callers get `LinkClosedError`, and the agent reads the end of its input."""
        if self.closed:
            return
        self._ended.set()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        _close_all(self._fds)
        for _, fds in self._outgoing:
            _close_all(fds)
        self._outgoing.clear()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkClosedError())
        self._waiting.clear()
        for callback in self._at_end:
            callback()
        self._at_end.clear()

    def _send(self) -> None:
        while self._outgoing:
            data, fds = self._outgoing[0]
            try:
                sent = socket.send_fds(self._sock, [data], fds) if fds else self._sock.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._send)
                return
            except OSError:
                self.close()
                return
            _close_all(fds)
            if sent < len(data):
                self._outgoing[0] = (data[sent:], ())
            else:
                self._outgoing.popleft()
        self._loop.remove_writer(self._sock)

    def _receive(self) -> None:
        try:
            data, fds, flags, _ = socket.recv_fds(self._sock, 65536, 16, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
        except BlockingIOError:
            return
        except OSError:
            data, fds, flags = b"", [], 0
        self._fds.extend(fds)
        # More descriptors came than this process may have. That is not the agent's fault.
        self._cut_short = self._cut_short or bool(flags & socket.MSG_CTRUNC)
        self._data += data
        if not data or len(self._fds) > _MOST_DESCRIPTORS or len(self._data) > _LONGEST_REPLY:
            self.close()
            return
        try:
            while len(self._data) >= 4:
                (size,) = struct.unpack_from("!I", self._data)
                if size > _LONGEST_REPLY:
                    raise ValueError("too long")
                if len(self._data) < 4 + size:
                    return
                body = bytes(self._data[4 : 4 + size])
                del self._data[: 4 + size]
                self._deliver(json.loads(body))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            self.close()

    def _deliver(self, data: dict[str, Any]) -> None:
        count = int(data["fds"])
        if count > len(self._fds) and self._cut_short and len(self._waiting) == 1:
            self._cut_short = False
            _close_all(self._fds)
            self._fds.clear()
            reason = "the server has reached its limit of open files"
            self._waiting.pop(data["id"]).set_exception(SandboxError("resource_pressure", reason))
            return
        if not 0 <= count <= len(self._fds):
            raise ValueError("descriptors are missing")
        answer = self._waiting.pop(data["id"])  # before the descriptors have an owner: there may be no such request
        answer.set_result(Reply(data, [self._fds.popleft() for _ in range(count)]))


def _close_all(fds: Sequence[int] | deque[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def _consume(answer: asyncio.Future[Reply]) -> None:
    """Retrieve an outcome that no task waited for, so that asyncio does not complain about it."""
    if not answer.cancelled():
        answer.exception()


def _discard(answer: asyncio.Future[Reply]) -> None:
    if not answer.cancelled() and answer.exception() is None:
        _close_all(answer.result().fds)


__all__ = ["AgentLink", "LinkClosedError", "Reply", "anonymous_file", "anonymous_files"]
