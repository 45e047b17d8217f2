"""The network's round trip: read from the kernel, and told to the window of requests in flight."""

from __future__ import annotations

import socket
import sys

import pytest

from arker._transport.http import sessions
from arker._transport.http.sessions import round_trip
from tests.support.clients import make_client
from tests.support.server import ScriptedServer, ok

pytestmark = pytest.mark.anyio

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the round trip of a connection")


@linux
def test_the_kernel_tells_the_round_trip_of_a_tcp_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        seconds = round_trip(connection)
    assert seconds is not None
    assert 0 < seconds < 1


def test_what_is_no_connection_or_another_system_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        assert round_trip(one) is None
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        monkeypatch.setattr(sessions, "_TCP_INFO", None)
        assert round_trip(connection) is None


@linux
async def test_each_host_is_told_of_once(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer(lambda _: ok({"vm_id": "v"}))
    async with make_client(server) as client:
        told: list[float] = []
        limiter = client._transport.limiter  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(limiter, "learn_round_trip", told.append)
        for _ in range(3):
            await client.get_vm("v")
    assert len(told) == 1
    assert 0 < told[0] < 1
