"""Tunnels end to end: a server in a VM, reached from outside by HTTP and by WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from arker import AsyncArker, AsyncVM, NotFoundError, Tunnel

pytestmark = [pytest.mark.anyio, pytest.mark.needs("tunnels")]

# An HTTP server with a WebSocket at /ws that answers each message with itself; only what Python has.
SERVER = rb"""
import asyncio, base64, hashlib, struct

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

async def echo_messages(reader, writer, key):
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while True:
        first, second = await reader.readexactly(2)
        size = second & 127
        if size == 126:
            size, = struct.unpack("!H", await reader.readexactly(2))
        elif size == 127:
            size, = struct.unpack("!Q", await reader.readexactly(8))
        mask = await reader.readexactly(4)
        data = await reader.readexactly(size)
        data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        length = bytes([size]) if size < 126 else struct.pack("!BH", 126, size)
        writer.write(bytes([first]) + length + data)
        await writer.drain()
        if first & 15 == 8:
            return

async def handle(reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:-2])
    if "sec-websocket-key" in fields:
        key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        await echo_messages(reader, writer, key)
    else:
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        answer = head.split("\r\n")[0].encode() + b"\n" + body
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
    await writer.drain()
    writer.close()

async def main():
    async with await asyncio.start_server(handle, "127.0.0.1", 8080) as server:
        print("ready", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def serve(vm: AsyncVM) -> str:
    """Start the server in a background run, and wait until it listens."""
    await vm.sync("serve.py", SERVER)
    started = await vm.run("exec python3 serve.py", background=True)
    while b"ready" not in (await vm.get_run(started.run_id)).stdout:
        await asyncio.sleep(0.01)
    return started.run_id


def address(tunnel: Tunnel) -> str:
    assert tunnel.url is not None
    return tunnel.url


async def test_http_and_websocket(vm: AsyncVM, http: aiohttp.ClientSession) -> None:
    await serve(vm)
    tunnel = await vm.create_tunnel(ports=[8080])
    assert (tunnel.port, tunnel.state, tunnel.visibility, tunnel.auth_token) == (8080, "open", "public", None)
    for number in range(3):
        async with http.post(f"{tunnel.url}/path?n={number}", data=b"body") as response:
            assert await response.read() == f"POST /path?n={number} HTTP/1.1\nbody".encode()
    async with http.ws_connect(f"{tunnel.url}/ws") as socket:
        for size in (1, 125, 126, 60_000):
            await socket.send_bytes(b"x" * size)
            assert await socket.receive_bytes(timeout=60) == b"x" * size
        await socket.send_str("grün")
        assert await socket.receive_str(timeout=60) == "grün"
    assert socket.close_code == 1000


async def test_waiting_for_a_server_that_starts_late(vm: AsyncVM) -> None:
    async with vm.tunnel(8080, auth_mode="authenticated") as tunnel:
        assert (await tunnel.request("GET")).status == 502
        await vm.sync("serve.py", SERVER)
        await vm.run("sleep 0.3; exec python3 serve.py", background=True)
        await tunnel.wait_until_serving(deadline=60)
        assert (await tunnel.request("GET", "/x")).text == "GET /x HTTP/1.1\n"


async def test_a_token_is_needed(vm: AsyncVM, http: aiohttp.ClientSession) -> None:
    await serve(vm)
    tunnel = await vm.create_tunnel(ports=[8080], auth_mode="authenticated")
    token = tunnel.auth_token
    assert token is not None
    assert token not in repr(tunnel)
    assert tunnel.tunnel_key is not None
    assert (await vm.get_tunnel(tunnel.tunnel_key)).auth_token is None
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        async with http.get(address(tunnel), headers=headers) as response:
            assert response.status == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(address(tunnel), headers=headers)
        assert caught.value.status == 401
    headers = {"Authorization": f"Bearer {token}"}
    async with http.get(address(tunnel), headers=headers) as response:
        assert await response.read() == b"GET / HTTP/1.1\n"
    async with http.ws_connect(address(tunnel), headers=headers) as socket:
        await socket.send_str("let in")
        assert await socket.receive_str(timeout=60) == "let in"


async def test_the_list_and_the_end(vm: AsyncVM, http: aiohttp.ClientSession) -> None:
    first, second = [await vm.create_tunnel(ports=[port]) for port in (8080, 8081)]
    assert list(await vm.list_tunnels()) == [second, first]
    await vm.refresh()
    assert {tunnel.port for tunnel in vm.tunnels or ()} == {8080, 8081}
    async with http.get(address(first)) as response:
        assert response.status == 502
    assert first.tunnel_key is not None
    assert (await vm.delete_tunnel(first.tunnel_key)).deleted
    with pytest.raises(NotFoundError):
        await vm.get_tunnel(first.tunnel_key)
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.get(address(first))


async def test_a_run_and_a_fork_bring_tunnels(ar: AsyncArker, vm: AsyncVM, http: aiohttp.ClientSession) -> None:
    await vm.sync("serve.py", SERVER)
    ports = {"8080": {"visibility": "public"}}
    started = await vm.run("exec python3 serve.py", background=True, network={"inbound": {"ports": ports}})
    (tunnel,) = started.tunnels
    while b"ready" not in (await vm.get_run(started.run_id)).stdout:
        await asyncio.sleep(0.01)
    async with http.get(address(tunnel)) as response:
        assert response.status == 200
    await vm.cancel_run(started.run_id)
    (seen,) = (await vm.get_run(started.run_id)).tunnels
    assert (seen.state, seen.run_id) == ("closed", started.run_id)

    child = await ar.fork(vm, tunnel={"ports": [8080], "auth_mode": "authenticated"})
    await serve(child)
    assert child.tunnels is not None
    (tunnel,) = child.tunnels
    async with http.get(address(tunnel), headers={"Authorization": f"Bearer {tunnel.auth_token}"}) as response:
        assert response.status == 200
    await child.delete()
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.get(address(tunnel))
