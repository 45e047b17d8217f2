"""The scripted server of the tests itself."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import suppress

import pytest

from tests.support.server import ScriptedServer, ServerThread
from tests.support.waiting import PATIENCE


@pytest.mark.parametrize("turns", range(5))
def test_a_connection_that_comes_as_it_closes_is_closed(server_thread: ServerThread, turns: int) -> None:
    """Else its socket would be garbage, and the warning of that the failure of whatever test goes on by then."""
    server = ScriptedServer(server_thread)

    async def connect_and_stop() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", server.port))
        for _ in range(turns):  # in one of the loop's next turns the server accepts it
            await asyncio.sleep(0)
        await server._stop()  # pyright: ignore[reportPrivateUsage]
        return connection

    with server_thread.call(connect_and_stop()) as connection:
        gc.collect()
        connection.settimeout(PATIENCE)
        with suppress(ConnectionResetError):  # it was never accepted
            assert connection.recv(1) == b""
