"""`AsyncTerminal` on a scripted server: which requests it sends, what it makes of replies, and what stays secret."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from attrs import define, field

from arker import (
    ApiError,
    AsyncArker,
    AsyncVM,
    BadReplyError,
    ConfigurationError,
    DeadlineExceededError,
    Hooks,
    InvalidArgumentError,
    NetworkError,
    Replayed,
    RequestEvent,
    RetryPolicy,
    TerminalClosedError,
    UnsupportedOperationError,
)
from arker._terminals.incoming import Incoming
from tests.support.secrets import API_KEY

pytestmark = pytest.mark.anyio

TICKET = "a-ticket-that-is-a-secret"


@define
class Service:
    """A service with one session, whose terminal is a function of its WebSocket."""

    url: str = ""
    generation: str = "1"
    play: Callable[[web.WebSocketResponse], Awaitable[None]] | None = None
    refusals: list[web.Response] = field(factory=list[web.Response])
    ticket_refusals: list[web.Response] = field(factory=list[web.Response])
    requests: list[tuple[str, str, dict[str, str]]] = field(factory=list[tuple[str, str, dict[str, str]]])
    transport: asyncio.Transport | None = None
    authorized: list[bool] = field(factory=list[bool])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/")
        self.requests.append((request.method, path, dict(request.query)))
        self.authorized.append("Authorization" in request.headers)
        if path == "health":
            ok = {"status": "ok", "timestamp": "2026-01-01T00:00:00Z"}
            return web.json_response(ok) if self.generation == "1" else refusal("not_found", 404)
        if path.endswith("/pty-ticket"):
            if self.ticket_refusals:
                return self.ticket_refusals.pop(0)
            return web.json_response({"ticket": TICKET, "expires_in": 60})
        if path.endswith("/pty"):
            if self.refusals:
                return self.refusals.pop(0)
            self.transport = request.transport
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            assert self.play is not None
            await self.play(socket)
            return socket
        if request.method == "DELETE":
            return web.json_response({"deleted": True})
        return web.json_response({"session_id": "s-1", "session_idx": 1, "state": "idle", "cwd": "/"})

    @property
    def names(self) -> list[str]:
        return [f"{method} {path.removeprefix('vms/vm-1/')}" for method, path, _ in self.requests]


def refusal(code: str, status: int, message: str = "no") -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


@asynccontextmanager
async def service() -> AsyncGenerator[Service, None]:
    made = Service()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()


def client(made: Service, **options: Any) -> AsyncArker:
    retry = RetryPolicy(base_delay=0.001, max_delay=0.002)
    return AsyncArker(API_KEY, base_url=made.url, control_base_url=made.url, ledger=None, retry=retry, **options)


@asynccontextmanager
async def reached(**options: Any) -> AsyncGenerator[tuple[Service, AsyncVM], None]:
    async with service() as made, client(made, **options) as ar:
        yield made, ar.vm("vm-1")


async def say_and_end(socket: web.WebSocketResponse) -> None:
    await socket.send_bytes(b"hello")
    await socket.close(code=1000, message=b"exit_code=5")


async def echo(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        data: Any = message.data
        await socket.send_bytes(data if message.type is WSMsgType.BINARY else f"<{data}>".encode())


async def test_a_block(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[RequestEvent] = []
    async with reached(hooks=Hooks(on_request=events.append)) as (made, vm):
        made.play = say_and_end
        terminal = vm.terminal("/bin/cat", cols=100, rows=30, persist=True, idle_timeout=1.5, env={"A": "b"})
        assert repr(terminal) == "<AsyncTerminal of VM vm-1, not open>"
        assert made.requests == []
        async with terminal as inside:
            assert inside is terminal
            assert [piece async for piece in terminal] == [b"hello"]
            assert (await terminal.wait(), terminal.exit_code, terminal.ended) == (5, 5, True)
            assert (terminal.session_id, terminal.cols, terminal.rows) == ("s-1", 100, 30)
        assert repr(terminal) == "<AsyncTerminal of VM vm-1, closed>"
        assert made.names == [
            "GET health",
            "POST sessions",
            "POST sessions/s-1/pty-ticket",
            "GET sessions/s-1/pty",
            "DELETE sessions/s-1",
        ]
        query = {"cols": "100", "rows": "30", "command": "/bin/cat", "persist": "true", "cancel_ttl_secs": "2"}
        assert made.requests[3][2] == {**query, "ticket": TICKET}
        # The key does not go to where the ticket does.
        assert made.authorized == [False, True, True, False, True]
        with pytest.raises(ConfigurationError, match="closed"):
            await terminal.open()
    attached = [event for event in events if event.url.endswith("/pty")]
    assert [(event.operation, event.status, event.error) for event in attached] == [("vm.terminal", 101, None)]
    told = caplog.text + repr(events) + "".join(repr(vars(record)) for record in caplog.records)
    assert TICKET not in told
    assert API_KEY not in told


async def test_input_sizes_and_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arker._terminals.connection._KEEPALIVE", 0.02)
    async with reached() as (made, vm):
        made.play = echo
        async with vm.terminal(session_id="s-9") as terminal:
            assert made.names[-1] == "GET sessions/s-9/pty"
            await terminal.write(memoryview("ä€\n".encode()))
            assert await terminal.read(2) + await terminal.read() == "ä€\n".encode()
            await terminal.resize(5, 6)
            seen = b""
            while b"ping" not in seen or b'<{"type":"resize","cols":5,"rows":6}>' not in seen:  # in either order
                seen += await terminal.read()
            await terminal.kill()
            while b'<{"type":"kill"}>' not in seen:
                seen += await terminal.read()
            for wrong in (3, None, "\ud800"):
                with pytest.raises(InvalidArgumentError, match="data"):
                    await terminal.write(wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidArgumentError, match="cols"):
                await terminal.resize(0, 5)
            with pytest.raises(InvalidArgumentError, match="size"):
                await terminal.read(0)
            with pytest.raises(DeadlineExceededError):
                await terminal.wait(deadline=0.02)
        assert made.names[-1] != "DELETE sessions/s-9"  # it is the caller's


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"cols": 0}, "cols"),
        ({"rows": 1001}, "rows"),
        ({"cols": True}, "cols"),
        ({"command": "ls -l"}, "command"),
        ({"command": ""}, "command"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "s", "env": {"A": "b"}}, "env"),
        ({"session_id": "s", "cwd": "/"}, "cwd"),
        ({"env": {"A": 5}}, "env"),
        ({"persist": 1}, "persist"),
        ({"idle_timeout": 0}, "idle_timeout"),
        ({"reconnect": -1}, "reconnect"),
        ({"deadline": 0}, "deadline"),
    ],
)
async def test_arguments_are_checked_before_anything_is_sent(options: dict[str, Any], name: str) -> None:
    async with reached() as (made, vm):
        with pytest.raises(InvalidArgumentError) as caught:
            vm.terminal(**options)
        assert name in str(caught.value)
        assert made.requests == []


async def test_generation_0_5_has_none() -> None:
    for options in ({}, {"generation": "0.5"}):
        async with reached(**options) as (made, vm):
            made.generation = "0.5"
            with pytest.raises(UnsupportedOperationError, match=r"vm\.run\(\)") as caught:
                await vm.terminal().open()
            assert (caught.value.operation, caught.value.vm_id) == ("vm.terminal", "vm-1")
            assert made.names in ([], ["GET health"])


async def test_what_may_pass_is_tried_again() -> None:
    async with reached() as (made, vm):
        made.play = say_and_end
        made.ticket_refusals = [refusal("unavailable", 503)]
        made.refusals = [refusal("unavailable", 503), refusal("rate_limited", 429)]
        async with vm.terminal(session_id="s-9") as terminal:
            assert await terminal.read() == b"hello"
        assert made.names == ["GET health", *["POST sessions/s-9/pty-ticket"] * 2, *["GET sessions/s-9/pty"] * 3]


@pytest.mark.parametrize(
    "reply",
    [
        refusal("bad_request", 400, f"not with {TICKET}"),
        refusal("quota_exceeded", 429),
        web.json_response({"a": 1}),
        web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        web.Response(status=404, text="<html>a proxy</html>"),
    ],
)
async def test_a_refusal_leaves_no_session(reply: web.Response) -> None:
    async with reached() as (made, vm):
        made.refusals = [reply]
        with pytest.raises(ApiError) as caught:
            await vm.terminal().open()
        assert isinstance(caught.value, BadReplyError) == (reply.status in (200, 302))
        assert (caught.value.vm_id, caught.value.operation) == ("vm-1", "vm.terminal")
        assert TICKET not in str(caught.value) + repr(vars(caught.value))
        assert made.names[-1] == "DELETE sessions/s-1"


async def test_a_lost_connection_is_made_again() -> None:
    async with reached() as (made, vm):

        async def twice(socket: web.WebSocketResponse) -> None:
            count = made.names.count("GET sessions/s-9/pty")
            await socket.send_bytes(b"%d" % count)
            if count < 3:
                assert made.transport is not None
                made.transport.abort()
            else:
                await socket.close(code=1000)

        made.play = twice
        async with vm.terminal(session_id="s-9", cols=90) as terminal:
            made.refusals = []
            pieces = [piece async for piece in terminal]
            assert pieces == [b"1", Replayed(connections=2), b"2", Replayed(connections=3), b"3"]
            assert await terminal.wait() is None
        attached = [query for _, path, query in made.requests if path.endswith("/pty")]
        assert [query["cols"] for query in attached] == ["90"] * 3


@pytest.mark.parametrize(("code", "reason"), [(1008, b"not allowed"), (4000, b"")])
async def test_other_ends_are_errors(code: int, reason: bytes) -> None:
    async with reached() as (made, vm):

        async def end(socket: web.WebSocketResponse) -> None:
            await socket.close(code=code, message=reason)

        made.play = end
        async with vm.terminal(session_id="s-9") as terminal:
            with pytest.raises(TerminalClosedError, match=reason.decode() or "without a reason") as caught:
                await terminal.read()
            assert (caught.value.close_code, caught.value.session_id) == (code, "s-9")
            with pytest.raises(TerminalClosedError):
                await terminal.wait()
            assert made.names.count("GET sessions/s-9/pty") == 1


async def test_one_that_does_not_persist_is_not_made_again() -> None:
    async with reached() as (made, vm):

        async def end(socket: web.WebSocketResponse) -> None:
            await socket.close(code=1001)

        made.play = end
        async with vm.terminal(session_id="s-9", persist=False) as terminal:
            with pytest.raises(TerminalClosedError, match="does not persist"):
                await terminal.read()
            assert made.names.count("GET sessions/s-9/pty") == 1


async def test_the_end_of_the_client_ends_it() -> None:
    async with service() as made:
        made.play = echo
        ar = client(made)
        async with ar:
            terminal = await ar.vm("vm-1").terminal(session_id="s-9").open()
            reading = asyncio.ensure_future(terminal.read())
            await asyncio.sleep(0)
            held = ar.vm("vm-1").terminal(session_id="s-8")
            await held.__aenter__()
        with pytest.raises((ConfigurationError, NetworkError)):
            await reading
        assert held.ended
        await held.__aexit__(None, None, None)
        for task in asyncio.all_tasks():
            assert "_receive" not in repr(task)


async def test_a_ticket_for_another_program() -> None:
    async with reached() as (made, vm):
        ticket = await vm.create_pty_ticket("s-9")
        assert (ticket.ticket, ticket.expires_in) == (TICKET, 60)
        assert TICKET not in repr(ticket)
        assert made.names == ["POST sessions/s-9/pty-ticket"]


@pytest.mark.parametrize("end", ["1011", "garbage"])
async def test_connections_that_bring_nothing_are_not_made_again_without_end(end: str) -> None:
    async with reached() as (made, vm):

        async def refuse(socket: web.WebSocketResponse) -> None:
            if end == "garbage":
                assert made.transport is not None
                made.transport.write(b"\xff\xff\xff garbage")
                await socket.receive()
            else:
                await socket.close(code=1011)

        made.play = refuse
        async with vm.terminal(session_id="s-9", reconnect=0.3) as terminal:
            with pytest.raises(NetworkError, match="each one that was made again") as caught:
                await terminal.read()
            assert (caught.value.vm_id, caught.value.session_id) == ("vm-1", "s-9")
            # The pauses grow: without them there would be a hundred connections.
            assert 2 <= made.names.count("GET sessions/s-9/pty") <= 6


async def test_marks_without_output_in_between_are_one() -> None:
    incoming = Incoming()
    for number in range(2, 100):
        await incoming.put(Replayed(connections=number))
    await incoming.put(b"x")
    incoming.end(None)
    assert [await incoming.next() for _ in range(3)] == [Replayed(connections=99), b"x", None]


async def test_an_end_without_a_code_is_a_lost_connection() -> None:
    async with reached() as (made, vm):

        async def once(socket: web.WebSocketResponse) -> None:
            if made.names.count("GET sessions/s-9/pty") == 1:
                assert made.transport is not None
                made.transport.write(b"\x88\x00")
                await socket.receive()
            else:
                await say_and_end(socket)

        made.play = once
        async with vm.terminal(session_id="s-9") as terminal:
            assert [piece async for piece in terminal] == [Replayed(connections=2), b"hello"]
            assert terminal.exit_code == 5


async def test_a_ticket_in_the_reason_of_an_end_stays_secret() -> None:
    async with reached() as (made, vm):

        async def end(socket: web.WebSocketResponse) -> None:
            await socket.close(code=1008, message=f"not with {TICKET}".encode())

        made.play = end
        async with vm.terminal(session_id="s-9") as terminal:
            with pytest.raises(TerminalClosedError, match=r"not with \[redacted\]") as caught:
                await terminal.read()
            assert TICKET not in str(caught.value) + repr(vars(caught.value))
            lengths: list[int] = []
            for use in (terminal.read, terminal.wait, terminal.kill) * 3:
                with pytest.raises(TerminalClosedError) as again:
                    await use()
                lengths.append(len(again.traceback))
            assert lengths[:3] == lengths[-3:]  # it is the same error, which keeps no earlier frames


async def test_closing_at_once_and_again_deletes_the_session_once() -> None:
    async with reached() as (made, vm):
        made.play = echo
        terminal = await vm.terminal().open()
        await asyncio.gather(terminal.close(), terminal.close())
        await terminal.close()
        assert made.names.count("DELETE sessions/s-1") == 1


@pytest.mark.parametrize("command", ["ls -l", "bash", ["/bin/bash", "-l"]])
async def test_a_command_with_arguments_is_told_where_it_belongs(command: Any) -> None:
    async with reached() as (_, vm):
        with pytest.raises(
            InvalidArgumentError, match=r"absolute path of a program .*; write a command line to the sh"
        ):
            vm.terminal(command)
        with pytest.raises(InvalidArgumentError, match=r"expected an integer from 1 to 1000 \("):
            vm.terminal(cols=0)
