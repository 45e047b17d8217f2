"""Tunnels: their records, and what goes through them byte by byte (contract, sections 4 and 5)."""

from __future__ import annotations

import asyncio
import io
import re
import socket
from contextlib import suppress
from typing import Any

import aiohttp
import anyio
import pytest

from tests.emulator.server.support import Api, chunk, output

pytestmark = pytest.mark.anyio

# Listens on a port; what comes is answered as the path says. The connection ends with the answer.
SERVER = rb"""
import asyncio, json, os, sys

async def handle(reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, target, _ = head.split(" ", 2)
    fields = [line.split(": ", 1) for line in head.split("\r\n")[1:-2]]
    given = {name.lower(): value for name, value in fields}
    if given.get("expect") == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if target == "/echo":  # as it comes, up to the end of the request's body
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        if "content-length" in given:
            left = int(given["content-length"])
            while left:
                piece = await reader.read(min(left, 65536))
                left -= len(piece)
                writer.write(piece)
                await writer.drain()
        else:
            while size := int(await reader.readline(), 16):
                writer.write(await reader.readexactly(size))
                await writer.drain()
                await reader.readline()
    elif target == "/head":
        body = json.dumps({"head": head}).encode()
        writer.write(b"HTTP/1.1 200 Fine indeed\r\nX-Twice: 1\r\nX-Twice: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body))
        if method != "HEAD":
            writer.write(body)
    elif target == "/chunks":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one", b"two", b"three"):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"0\r\nX-Trailer: 1\r\n\r\n")
    elif target == "/held":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        while not os.path.exists("go"):
            await asyncio.sleep(0.02)
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
    elif target == "/large":
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        for _ in range(2000):
            writer.write(b"x" * 65536)
            await writer.drain()
        print("sent", flush=True)
    elif target == "/broken":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart")
    elif target == "/nothing":
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    elif target == "/garbage":
        writer.write(b"\x00\x01 no HTTP\r\n\r\n")
    elif target == "/never":
        print("waiting", flush=True)
        await reader.read()
        print("gone", flush=True)
    elif target == "/switch":
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        if "websocket" in given.get("upgrade", ""):
            while piece := await reader.read(65536):
                writer.write(piece.upper())
                await writer.drain()
    await writer.drain()
    writer.close()

async def main():
    async with await asyncio.start_server(handle, "127.0.0.1", 8080) as server:
        print("ready", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


async def serve(api: Api, vm: str) -> str:
    """Start the server on port 8080 in a run."""
    await api.write(vm, chunk("serve.py", SERVER))
    run = await api.background(vm, "exec python3 serve.py")
    await api.printed(vm, run, "ready")
    return run


@pytest.fixture
async def served(api: Api, vm: str) -> str:
    """Return a VM in which the server listens."""
    await serve(api, vm)
    return vm


async def create(api: Api, vm: str, port: int = 8080, **fields: Any) -> dict[str, Any]:
    reply = await api.call("POST", f"/v1/vms/{vm}/tunnels", {"ports": [port], **fields})
    assert reply.status == 200, reply
    return dict(reply.json)


async def talk(url: str, data: bytes, *, end: bool = False) -> bytes:
    """Send these bytes and read up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        with anyio.fail_after(60):
            return await reader.read()
    finally:
        writer.close()


# --- records ---


async def test_a_tunnel_is_described_in_full(api: Api, vm: str) -> None:
    tunnel = await create(api, vm)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", tunnel["url"])
    assert (tunnel["vm_id"], tunnel["port"], tunnel["state"]) == (vm, 8080, "open")
    assert (tunnel["visibility"], tunnel["protocol"], tunnel["auth_mode"]) == ("public", "http", "public")
    assert "auth_token" not in tunnel
    assert len(tunnel["tunnel_key"]) == 32
    path = f"/v1/vms/{vm}/tunnels/{tunnel['tunnel_key']}"
    assert await api.get(path) == tunnel
    assert (await api.get(f"/v1/vms/{vm}"))["tunnels"] == [tunnel]
    assert (await api.call("DELETE", path)).json == {"deleted": True}
    assert (await api.call("GET", path)).refusal == (404, "not_found")
    assert (await api.call("DELETE", path)).refusal == (404, "not_found")
    with pytest.raises(OSError):
        await talk(tunnel["url"], b"")


async def test_the_list_is_newest_first_in_pages(api: Api, vm: str) -> None:
    made = [await create(api, vm, port) for port in (1, 80, 65535)]
    path = f"/v1/vms/{vm}/tunnels"
    assert await api.list_all(path, "tunnels", limit="2") == made[::-1]
    assert await api.list_all(path, "tunnels", state="closed,starting") == []
    assert (await api.call("GET", f"{path}?state=ajar")).refusal == (400, "bad_request")
    assert (await api.call("GET", f"{path}?cursor=x")).refusal == (400, "bad_request")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "ports"),
        ({"ports": []}, "ports"),
        ({"ports": [80, 81]}, "ports"),
        ({"ports": [0]}, "ports"),
        ({"ports": [65536]}, "ports"),
        ({"ports": [True]}, "ports"),
        ({"ports": "80"}, "ports"),
        ({"ports": [80], "auth_mode": "secret"}, "auth_mode"),
    ],
)
async def test_a_bad_field_is_named(api: Api, vm: str, body: dict[str, Any], named: str) -> None:
    reply = await api.call("POST", f"/v1/vms/{vm}/tunnels", body)
    assert reply.refusal == (400, "bad_request")
    assert reply.message.startswith(f"{named}:")


async def test_a_golden_and_another_organisations_vm_get_no_tunnel(api: Api, other: Api, vm: str) -> None:
    assert (await api.call("POST", "/v1/vms/ubuntu/tunnels", {"ports": [80]})).refusal == (403, "forbidden")
    assert (await other.call("POST", f"/v1/vms/{vm}/tunnels", {"ports": [80]})).refusal == (404, "not_found")


async def test_a_fork_can_ask_for_a_tunnel_and_inherits_none(api: Api, vm: str) -> None:
    await create(api, vm)
    wish = {"ports": [8080], "auth_mode": "authenticated"}
    body = {"source_vm_id": vm, "tunnel": wish}
    reply = await api.call("POST", "/v1/fork", body, idempotency_key="fork-with-tunnel")
    (tunnel,) = reply.json["tunnels"]
    assert (tunnel["port"], tunnel["visibility"]) == (8080, "private")
    assert tunnel["auth_token"]
    again = await api.call("POST", "/v1/fork", body, idempotency_key="fork-with-tunnel")
    assert again.json["tunnels"] == [tunnel]
    del tunnel["auth_token"]
    assert (await api.get(f"/v1/vms/{reply.json['vm_id']}"))["tunnels"] == [tunnel]
    bad = await api.call("POST", "/v1/fork", {"source_vm_id": vm, "tunnel": {"ports": [1, 2]}})
    assert bad.refusal == (400, "bad_request")


async def test_a_runs_tunnels_open_and_close_with_it(api: Api, vm: str) -> None:
    ports = {"8080": {"visibility": "public"}, "8081": {}}
    run = await api.run(vm, "read line < <(sleep 300)", background=True, network={"inbound": {"ports": ports}})
    public, private = run["tunnels"]
    assert (public["port"], public["visibility"], public["run_id"]) == (8080, "public", run["run_id"])
    assert (private["port"], private["visibility"], private["auth_mode"]) == (8081, "private", "authenticated")
    assert private["auth_token"]
    seen = (await api.get_run(vm, run["run_id"]))["tunnels"]
    assert [tunnel["state"] for tunnel in seen] == ["open", "open"]
    assert all("auth_token" not in tunnel for tunnel in seen)
    assert b" 502 " in await talk(public["url"], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await api.call("DELETE", f"/v1/vms/{vm}/runs/{run['run_id']}")
    assert {tunnel["state"] for tunnel in (await api.get_run(vm, run["run_id"]))["tunnels"]} == {"closed"}
    assert len(await api.list_all(f"/v1/vms/{vm}/tunnels", "tunnels", state="closed")) == 2
    assert (await api.get(f"/v1/vms/{vm}"))["tunnels"] == []
    with pytest.raises(OSError):
        await talk(public["url"], b"")


async def test_tunnels_go_with_their_vm(api: Api, vm: str) -> None:
    tunnel = await create(api, vm)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(tunnel["url"].rpartition(":")[2]))
    await asyncio.sleep(0.05)
    await api.delete(vm)
    with anyio.fail_after(60), suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(OSError):
        await talk(tunnel["url"], b"")


# --- what goes through ---


async def test_heads_and_statuses(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    fields = {"X-Own": "a", "Keep-Alive": "5", "TE": "trailers", "Authorization": "Basic eA==", "X-Hop": "1"}
    async with api.session.get(f"{url}/head", headers={**fields, "Connection": "keep-alive, x-hop, host"}) as response:
        assert (response.status, response.reason) == (200, "Fine indeed")
        assert response.headers.getall("X-Twice") == ["1", "2"]
        assert "X-Hop" not in response.headers
        head = (await response.json(content_type=None))["head"].lower()
    assert "x-own: a\r\n" in head
    assert "authorization: basic ea==" in head
    assert f"host: {url.removeprefix('http://')}\r\n" in head
    assert "connection: close\r\n" in head
    for name in ("keep-alive", "te", "x-hop"):
        assert f"\r\n{name}:" not in head
    async with api.session.head(f"{url}/head") as response:
        assert int(response.headers["Content-Length"]) > 0
        assert await response.read() == b""
    async with api.session.get(f"{url}/nothing") as response:
        assert (response.status, await response.read()) == (204, b"")


async def test_one_connection_carries_many_requests(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    request = b"%s HTTP/1.1\r\nHost: x\r\n%s\r\n%s"
    answer = await talk(
        url,
        request % (b"GET /nothing", b"", b"")
        + request % (b"POST /echo", b"Content-Length: 5\r\n", b"first")
        + request
        % (b"POST /echo", b"Transfer-Encoding: chunked\r\n", b"3;x=y\r\nsec\r\n3\r\nond\r\n0\r\nX-T: 1\r\n\r\n")
        + request % (b"HEAD /head", b"", b"")
        + request % (b"GET /nothing", b"Connection: close\r\n", b""),
    )
    assert answer.count(b"HTTP/1.1 2") == 5
    assert b"5\r\nfirst\r\n0\r\n\r\nHTTP/1.1" in answer
    assert b"second"[:3] in answer
    assert answer.count(b"Connection: close") == 1


async def test_http_1_0_gets_a_bare_body_and_an_end(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    head, _, body = (await talk(url, b"GET /chunks HTTP/1.0\r\n\r\n", end=True)).partition(b"\r\n\r\n")
    assert body == b"onetwothree"
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close" in head


async def test_streams_arrive_piece_by_piece_in_both_directions(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    async with api.session.get(f"{url}/held") as response:
        assert await response.content.readany() == b"one"
        await api.write(served, chunk("go", b""))  # the server waits for it
        assert await response.read() == b"two"

    heard = asyncio.Event()

    async def pieces() -> Any:
        yield b"first"
        await asyncio.wait_for(heard.wait(), 60)
        yield b"second"

    async with api.session.post(f"{url}/echo", data=pieces()) as response:
        assert await response.content.readany() == b"first"
        heard.set()
        assert await response.read() == b"second"


async def test_large_bodies_in_bounded_memory(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    total = 0
    async with api.session.get(f"{url}/large") as response:
        async for piece in response.content.iter_any():
            total += len(piece)
    assert total == 2000 * 65536
    data = bytes(range(256)) * 4 * 4096

    async def pieces() -> Any:
        yield data

    for body, headers in ((io.BytesIO(data), {"Expect": "100-continue"}), (pieces(), {})):
        async with api.session.post(f"{url}/echo", data=body, headers=headers) as response:
            assert await response.read() == data


async def test_a_reader_that_stops_holds_the_sender_back(api: Api, vm: str) -> None:
    run = await serve(api, vm)
    url = (await create(api, vm))["url"]
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # else the system may take tens of MiB
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", int(url.rpartition(":")[2])))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await asyncio.sleep(0.5)
    assert b"sent" not in output(await api.get_run(vm, run))
    # Others are served meanwhile, and in the end everything is there.
    async with api.session.get(f"{url}/nothing") as response:
        assert response.status == 204
    total = 0
    while piece := await reader.read(1024 * 1024):
        total += piece.count(b"x")
    assert total == 2000 * 65536
    writer.close()
    await api.printed(vm, run, "sent")


async def test_a_body_that_breaks_off_is_seen_to_do_so(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    async with api.session.get(f"{url}/broken") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_client_that_goes_away_ends_its_request_inside(api: Api, vm: str) -> None:
    run = await serve(api, vm)
    url = (await create(api, vm))["url"]
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    # The body is still being sent: its end cannot be a client that only ends its half.
    writer.write(b"POST /never HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    await api.printed(vm, run, "waiting")
    writer.close()
    await api.printed(vm, run, "gone")


@pytest.mark.parametrize("port", [8080, 9])
async def test_nothing_listens(api: Api, vm: str, port: int) -> None:
    url = (await create(api, vm, port))["url"]
    async with api.session.get(f"{url}/") as response:
        assert response.status == 502
        body = await response.json()
    assert body["code"] == "unavailable"
    assert str(port) in body["message"]


async def test_what_listens_speaks_no_http(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    for path in ("garbage", "switch"):
        async with api.session.get(f"{url}/{path}") as response:
            assert response.status == 502


async def test_an_upgrade_becomes_a_bare_stream(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    fields = b"Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %s\r\n\r\n"
    answer = await talk(url, b"GET /switch HTTP/1.1\r\n" + fields % b"WebSocket" + b"early" + b"x" * 300_000, end=True)
    head, _, stream = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols")
    assert stream == b"EARLY" + b"X" * 300_000
    # Any other protocol is not offered on: the request is served as if it had not been asked for.
    answer = await talk(url, b"GET /nothing HTTP/1.1\r\n" + fields % b"h2c", end=True)
    assert answer.startswith(b"HTTP/1.1 204")


# --- tokens ---


async def test_an_authenticated_tunnel_needs_its_token(api: Api, served: str) -> None:
    tunnel = await create(api, served, auth_mode="authenticated")
    assert (tunnel["visibility"], tunnel["auth_mode"]) == ("private", "authenticated")
    token = tunnel.pop("auth_token")
    assert len(token) >= 32
    assert await api.get(f"/v1/vms/{served}/tunnels/{tunnel['tunnel_key']}") == tunnel
    url = f"{tunnel['url']}/head"
    for wrong in ("", token, f"Basic {token}", f"Bearer {token}x", f"Bearer {api.key}", "Bearer", "Bearer ü"):
        async with api.session.get(url, headers={"Authorization": wrong} if wrong else {}) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert (await response.json())["code"] == "unauthorized"
    async with api.session.get(url, headers={"Authorization": f"Bearer {token}", "X-Own": "1"}) as response:
        assert response.status == 200
        head = (await response.json(content_type=None))["head"].lower()
    assert "x-own" in head
    assert "authorization" not in head
    assert token.lower() not in head


async def test_the_token_is_checked_for_each_request(api: Api, served: str) -> None:
    tunnel = await create(api, served, auth_mode="authenticated")
    good = f"Authorization: Bearer {tunnel['auth_token']}\r\n".encode()
    request = b"GET /nothing HTTP/1.1\r\nHost: x\r\n%s\r\n"
    answer = await talk(tunnel["url"], request % good + request % b"" + request % good)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"204", b"401"]
    answer = await talk(tunnel["url"], request % (good + good))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"401"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /nothing HTTP/1.1\r\n",  # no Host
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nHost: y\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0000000000000000000\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n",
        b"GET /nothing HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\n folded: 1\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nX: a\rY: b\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nX: a\nY: b\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\nX: a\r\n",
        b"GET /nothing HTTP/1.1\nHost: x\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nX: a\x0bb\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nX: \x00\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nX: \x01\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\nX: \x7f\r\n",
        b"GET  /nothing HTTP/1.1\r\nHost: x\r\n",
        b"GET /no thing HTTP/1.1\r\nHost: x\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\nHost: x\r\n",
        b"CONNECT elsewhere:80 HTTP/1.1\r\nHost: x\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n",
        b"GET /nothing HTTP/2.0\r\nHost: x\r\n",
        b"GET /nothing HTTP/1.2\r\nHost: x\r\n",
        b"GET /nothing HTTP/0.9\r\nHost: x\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n",
    ],
)
async def test_a_request_with_two_meanings_is_refused(api: Api, vm: str, head: bytes) -> None:
    url = (await create(api, vm))["url"]
    answer = await talk(url, head + b"\r\n" + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"400"]


async def test_malformed_bodies_and_large_heads(api: Api, served: str) -> None:
    url = (await create(api, served))["url"]
    start = b"POST /never HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body in (b"x\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"3\nabc\r\n", b"0x3\r\nabc\r\n"):
        assert (await talk(url, start + body)).startswith(b"HTTP/1.1 400")
    large = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"
    assert (await talk(url, large)).startswith(b"HTTP/1.1 431")
    assert (await talk(url, b"GET / HT", end=True)).startswith(b"HTTP/1.1 400")
    assert await talk(url, b"", end=True) == b""
