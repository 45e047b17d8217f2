"""The effects of faults: what happens to a request and its connection when some of them fire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web
from attrs import frozen

from arker.emulator.control.rules import (
    SOCKETS,
    CloseRule,
    ErrorRule,
    ExpireRule,
    GarbageRule,
    Rule,
    StallRule,
    TruncateRule,
)
from arker.emulator.server.answers import Handler, answer, error_response
from arker.emulator.server.backend import Backend, was_reset
from arker.emulator.server.errors import STATUSES, ServiceError
from arker.emulator.server.fault_matching import Firing
from arker.emulator.server.journal.trace import Shaping, Trace
from arker.emulator.server.presign import expired
from arker.emulator.server.streams import cut, gone, part_of, write_part

_MESSAGE: Final = "a fault was set for this request"
_LINGER: Final = 5.0  # seconds for a client to send what it has begun to send, after the connection's end
_LOOK: Final = 0.05  # seconds between looks at whether a client has gone
_CODES: Final = {status: code for code, status in reversed(list(STATUSES.items()))} | {
    502: "unavailable",
}


def default_code(status: int) -> str:
    """Return the code of an error of which only the status is given."""
    return _CODES.get(status) or ("bad_request" if 400 <= status < 500 else "internal")


@frozen
class Misbehaviour:
    """A request that one or more faults fire for.

    Attributes:
        backend: The server's state.
        request: The request.
        trace: Its trace.
        firing: The faults.
        handler: Carries the request out.
        settle: Notes the outcome in the journal, given the status that is sent.
    """

    backend: Backend
    request: web.Request
    trace: Trace
    firing: Firing
    handler: Handler
    settle: Callable[[int], None]

    async def respond(self) -> web.StreamResponse:
        """Apply the faults. The returned response is to be sent, unless the connection has been ended."""
        resets = self.backend.resets
        if not self.trace.operation.startswith("presigned_"):
            # A request must be carried out even if its client disconnects.
            try:
                await self.request.read()
            except (web.HTTPException, web.RequestPayloadError, ConnectionError) as error:
                return await answer(self.backend, self.request, _raising(error))
        await self._wait(self.firing.delay(processed=False))
        if self.backend.resets != resets:
            # After a delay the handler does not notice a reset, and would use the new records.
            return await answer(self.backend, self.request, _raising(was_reset()))
        if self.firing.outcome is None:
            return await self._carry_out()
        rule = self.firing.outcome.rule
        return await _ACTIONS[type(rule)](self, rule)

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            try:
                await asyncio.wait_for(self.backend.over.wait(), seconds)
            except asyncio.TimeoutError:
                pass

    async def _wait_for(self, work: asyncio.Task[Any], seconds: float) -> None:
        """Wait until the work is done, for at most this long, and not beyond the server's end."""
        over = self.backend.spawn(self.backend.over.wait())
        await asyncio.wait({work, over}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()

    async def _hold(self) -> None:
        await self._wait(self.firing.delay(processed=True))

    async def _carry_out(self, *, discard: bool = False, fraction: float | None = None) -> web.StreamResponse:
        """Carry out the request and return its reply. It is not sent yet, unless it is streamed."""
        shaping = Shaping(rate=self.firing.rate, fraction=fraction, discard=discard, hold=self._hold)
        self.trace.shaping = shaping
        response = await answer(self.backend, self.request, self.handler)
        self.trace.finish(response)
        await shaping.held()
        if shaping.sent:
            self.settle(shaping.sent)
        record = self.trace.record
        if record is not None:  # the connection was cut before
            record.vm_id, record.run_id = self.trace.vm_id, self.trace.run_id
            record.processed = self.trace.processed
        return response

    def _cut(self, *, reset: bool = False) -> web.Response:
        self.settle(0)
        cut(self.request, reset=reset)
        return web.Response(status=500)  # it is never sent

    async def error(self, rule: ErrorRule) -> web.StreamResponse:
        if rule.processed:
            await self._carry_out(discard=True)
        else:
            await self._hold()
        code = default_code(rule.status) if rule.code is None else rule.code
        headers: dict[str, str] = {}
        more: dict[str, Any] = {}
        if rule.retry_after is not None:
            after = rule.retry_after
            if not isinstance(after, str) and after == int(after):
                more["retry_after_seconds"] = int(after)
            headers["Retry-After"] = after if isinstance(after, str) else f"{after:.15g}"
        error = ServiceError(
            code,
            rule.message or _MESSAGE,
            status=rule.status,
            headers=headers,
            verbatim=rule.code is not None,
            more=more,
        )
        return error_response(self.backend, self.request, error)

    async def garbage(self, rule: GarbageRule) -> web.StreamResponse:
        status = 200
        if rule.processed:
            status = (await self._carry_out(discard=True)).status
            if status == 101:  # that of a handshake, which has no body
                status = 200
        else:
            await self._hold()
        return web.Response(text=rule.body, status=rule.status or status, content_type="text/html")

    async def close(self, rule: CloseRule) -> web.StreamResponse:
        if rule.moment == "before":
            await self._hold()
            return self._cut(reset=True) if rule.reset else await self._end()
        if rule.moment == "after":
            await self._carry_out(discard=True)
            return self._cut(reset=rule.reset)
        # What a WebSocket carries goes on until its end.
        work = self.backend.spawn(self._carry_out(discard=self.trace.operation not in SOCKETS))
        await self._wait_for(work, rule.seconds)
        response = self._cut(reset=rule.reset)
        # Only this tells the work that the rest of the request will not arrive: it is not the connection's handler.
        if not work.done() and not self.request.content.is_eof():
            self.request.content.set_exception(ConnectionResetError("a fault has ended the connection"))
        return response

    async def _end(self) -> web.StreamResponse:
        """End the connection normally (FIN). If part of the request is unread, closing the socket alone would send a
        reset.
        """
        transport = self.request.transport
        self.settle(0)
        if transport is not None and not self.request.content.is_eof() and transport.can_write_eof():
            with contextlib.suppress(OSError):  # the client has reset it: ENOTCONN
                transport.write_eof()
            draining = self.backend.spawn(self._drain())
            await self._wait_for(draining, _LINGER)
            draining.cancel()
        return self._cut()

    async def _drain(self) -> None:
        """Read what is still arriving, until all has arrived or the client has disconnected."""
        try:
            async for _ in self.request.content.iter_any():
                pass
        except (ConnectionError, web.RequestPayloadError):
            return

    async def truncate(self, rule: TruncateRule) -> web.StreamResponse:
        response = await self._carry_out(fraction=rule.fraction)
        body = response.body if isinstance(response, web.Response) else None
        if not response.prepared and not gone(self.request) and (body is None or isinstance(body, (bytes, bytearray))):
            whole = bytes(body or b"")
            self.settle(response.status)
            write_part(self.request, response, whole[: part_of(len(whole), rule.fraction)])
        return response

    async def stall(self, rule: StallRule) -> web.StreamResponse:
        if rule.processed:
            await self._carry_out(discard=True)
        self.settle(0)
        # A disconnect is not noticed while part of the request is unread.
        draining = self.backend.spawn(self._drain())
        while not gone(self.request) and not self.backend.over.is_set():
            await self._wait(_LOOK)
        draining.cancel()
        return self._cut()

    async def expire(self, _: ExpireRule) -> web.StreamResponse:
        await self._hold()
        return error_response(self.backend, self.request, expired())


def _raising(error: Exception) -> Handler:
    async def fail(_: web.Request) -> web.StreamResponse:
        raise error

    return fail


_ACTIONS: Final[Mapping[type[Rule], Callable[[Misbehaviour, Any], Awaitable[web.StreamResponse]]]] = {
    ErrorRule: Misbehaviour.error,
    GarbageRule: Misbehaviour.garbage,
    CloseRule: Misbehaviour.close,
    TruncateRule: Misbehaviour.truncate,
    StallRule: Misbehaviour.stall,
    ExpireRule: Misbehaviour.expire,
}


__all__ = ["Misbehaviour", "default_code"]
