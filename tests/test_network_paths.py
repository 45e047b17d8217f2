"""Proxies, redirects and certificates: where a request really goes, and what goes with it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest

from arker import (
    CHUNK_SIZE,
    ApiError,
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadReplyError,
    ConfigurationError,
    DeadlineExceededError,
    NetworkError,
)
from tests.support.clients import COMPUTE, QUICK, make_client
from tests.support.samples import completed
from tests.support.secrets import API_KEY
from tests.support.server import Reply, ScriptedServer, close_listener, closed_port, ok

pytestmark = pytest.mark.anyio

REDIRECTS = (301, 302, 303, 307, 308)


# --- proxies ---------------------------------------------------------------------------------------------------------


async def test_a_proxy_of_the_environment_is_used(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.script(ok({"vm_id": "v"}), ok(completed()))
    async with AsyncArker(
        API_KEY, base_url="http://api.example.test/api", insecure_hosts=["api.example.test"], retry=False
    ) as client:
        vm = await client.get_vm("a/b")
        await vm.run("true")
    assert [request.target for request in server.requests] == [
        "http://api.example.test/api/v1/vms/a%2Fb",
        "http://api.example.test/api/v1/vms/v/runs",
    ]
    assert server.last.headers["Host"] == "api.example.test"
    through = [dict(request.headers) for request in server.requests]
    server.script(ok({"vm_id": "v"}), ok(completed()))
    async with make_client(server) as client:
        await client.get_vm("a/b")
        await client.vm("v").run("true")
    for headers, request in zip(through, server.requests[2:], strict=True):
        assert headers.keys() == request.headers.keys()
        assert headers["Authorization"] == f"Bearer {API_KEY}"


async def test_a_proxy_that_makes_tunnels_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        async with AsyncArker(API_KEY, base_url="https://api.example.test", ledger=False, retry=False) as client:
            vm = client.vm("v")
            for call in (
                client.get_vm("v"),
                client.fork("ubuntu"),
                vm.run("true"),
                vm.run("x" * 3_000_000),
                vm.delete(),
            ):
                with pytest.raises(NetworkError, match="proxy"):
                    await call
    finally:
        await close_listener(listener)
    assert len(heads) >= 5
    for head in heads:
        assert head.startswith(b"CONNECT api.example.test:443 HTTP/1.1\r\n")
        assert b"authorization" not in head.lower()
        assert API_KEY.encode() not in head


async def test_a_proxy_is_used_for_objects_too(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    url = "http://store.example.test/o?x=1"
    server.script(ok({"path": "f", "size": 2, "presigned_url": url, "expires_in": 9}), Reply(body=b"hi"))
    async with AsyncArker(
        API_KEY, base_url="http://api.example.test", insecure_hosts=["api.example.test"], retry=False
    ) as client:
        assert await client.vm("v").sync("f") == b"hi"
    assert server.last.target == url
    assert "Authorization" not in server.last.headers


async def test_loopback_needs_no_proxy(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    server.answer(ok({"vm_id": "v"}))
    for host in ("127.0.0.1", "localhost"):
        async with AsyncArker(API_KEY, base_url=f"http://{host}:{server.port}", retry=QUICK) as client:
            await client.get_vm("v")
    assert server.last.target == "/v1/vms/v"


async def test_no_proxy_is_heeded(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    server.answer(ok({"vm_id": "v"}))
    # The unspecified address is no loopback address by its name, and yet leads to this machine.
    async with AsyncArker(
        API_KEY, base_url=f"http://0.0.0.0:{server.port}", insecure_hosts=["0.0.0.0"], retry=False
    ) as client:
        with pytest.raises(NetworkError):
            await client.get_vm("v")
        assert not server.requests
    monkeypatch.setenv("no_proxy", "0.0.0.0")
    async with AsyncArker(
        API_KEY, base_url=f"http://0.0.0.0:{server.port}", insecure_hosts=["0.0.0.0"], retry=False
    ) as client:
        await client.get_vm("v")
    assert server.last.target == "/v1/vms/v"


async def test_no_proxy_names_a_host_as_its_url_does(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", server.url)
    monkeypatch.setenv("no_proxy", "xn--bcher-kva.invalid")
    async with make_client(server, base_url="https://xn--bcher-kva.invalid", retry=False) as client:
        with pytest.raises(NetworkError):
            await client.get_vm("v")
    assert not server.requests


async def test_the_password_of_a_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:hidden-word@127.0.0.1:{closed_port()}")
    async with AsyncArker(
        API_KEY, base_url="http://api.example.test", insecure_hosts=["api.example.test"], retry=False
    ) as client:
        with pytest.raises(NetworkError) as caught:
            await client.get_vm("v")
    assert "hidden-word" not in f"{caught.value}{caught.value!r}{caught.value.args}"


# --- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", REDIRECTS)
async def test_the_key_follows_no_redirect(
    server: ScriptedServer, other_server: ScriptedServer, client: AsyncArker, vm: AsyncVM, status: int
) -> None:
    server.answer(Reply(status=status, headers={"Location": f"{other_server.url}/v1/vms/v"}))
    calls = (client.get_vm("v"), client.fork("x"), client.list_vms(), vm.delete(), vm.run("x"), vm.sync("f"))
    for call in calls:
        with pytest.raises(BadReplyError, match="redirects are not followed") as caught:
            await call
        assert (caught.value.status, caught.value.attempts) == (status, 1)
    with pytest.raises(BadReplyError):
        await vm.sync("f", b"x")
    assert len(server.requests) == 7
    assert not other_server.requests


async def test_nor_to_another_path_of_the_same_host(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(Reply(status=307, headers={"Location": "/elsewhere"}))
    with pytest.raises(BadReplyError):
        await vm.run("x")
    assert [request.path for request in server.requests] == [f"{COMPUTE}/v1/vms/vm-1/runs"]


async def test_objects_may_be_elsewhere(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    """A presigned GET carries nothing that another host must not see."""
    target = {"path": "f", "size": 2, "presigned_url": f"{server.url}/o", "expires_in": 9}
    server.script(ok(target), Reply(status=307, headers={"Location": f"{other_server.url}/moved"}))
    other_server.script(Reply(body=b"hi"))
    assert await vm.sync("f") == b"hi"
    assert "Authorization" not in other_server.last.headers


async def test_a_put_is_not_sent_elsewhere(server: ScriptedServer, other_server: ScriptedServer, vm: AsyncVM) -> None:
    target = {"presigned_url": f"{server.url}/o", "upload_id": "u", "expires_in": 9}
    server.script(ok({"results": [target]}), Reply(status=307, headers={"Location": f"{other_server.url}/moved"}))
    with pytest.raises(ApiError):
        await vm.sync("f", bytes(CHUNK_SIZE + 1))
    assert not other_server.requests


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_a_certificate_that_is_not_trusted() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parent / "support" / "untrusted.pem")
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with AsyncArker(API_KEY, base_url=f"https://127.0.0.1:{port}", retry=QUICK) as client:
            with pytest.raises(NetworkError, match=r"certificate.*SSL_CERT_FILE") as caught:
                await client.fork("ubuntu")
    finally:
        listener.close()
    assert caught.value.outcome == "not_started"
    assert connections == 0, "the request was never sent"


async def test_a_handshake_that_is_cut_short() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\x16\x03\x03\x00\x7a\x02")
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with AsyncArker(API_KEY, base_url=f"https://127.0.0.1:{port}", retry=False) as client:
            with pytest.raises(NetworkError) as caught:
                await client.fork("ubuntu")
    finally:
        await close_listener(listener)
    assert caught.value.outcome == "not_started"
    said = caught.value.message.partition(f"cannot connect to https://127.0.0.1:{port}: ")[2]
    assert said.strip()


# --- what is no HTTP -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "cannot be read as HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}", "cannot be read as HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "cannot be decompressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "cut short"),
        (b"", "connection was lost"),
    ],
)
async def test_an_error_says_what_is_wrong_with_the_reply(server: ScriptedServer, raw: bytes, said: str) -> None:
    server.answer(Reply(raw=raw))
    async with make_client(server, retry=False) as client:
        for call in (client.get_vm("v"), client.vm("v").create_session()):
            with pytest.raises(NetworkError, match=said):
                await call


async def test_no_connection_is_left_to_another_protocol(server: ScriptedServer) -> None:
    server.answer(Reply(raw=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
    asyncio.get_running_loop().set_debug(True)  # or aiohttp does not warn
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        async with make_client(server, retry=False) as client:
            with pytest.raises(BadReplyError):
                await client.get_vm("v")
        gc.collect()
    assert [str(warning.message) for warning in caught if "response" in str(warning.message)] == []


async def test_a_host_that_is_none(server: ScriptedServer) -> None:
    for host in ("h..example", "a" * 64 + ".example", "xn--.example"):
        async with make_client(server, base_url=f"https://{host}", retry=False) as client:
            with pytest.raises(ArkerError) as caught:
                await client.fork("ubuntu")
        assert caught.value.outcome == "not_started"


@pytest.fixture
def moves(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give moving.test two addresses, one look-up after the other, of which the second one is the server's."""
    addresses = ["127.0.0.2", "127.0.0.1"]
    really = socket.getaddrinfo

    def found(host: str, *args: Any, **options: Any) -> list[Any]:
        if host == "moving.test":
            host = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return really(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return addresses


def of_moving_server(server: ScriptedServer) -> AsyncArker:
    return make_client(server, base_url=f"http://moving.test:{server.port}{COMPUTE}", insecure_hosts=["moving.test"])


async def test_the_address_of_a_server_that_has_moved_is_looked_up_again(
    server: ScriptedServer, moves: list[str]
) -> None:
    server.answer(ok({"vm_id": "v"}))
    async with of_moving_server(server) as client:
        await client.get_vm("v")
    assert moves == ["127.0.0.1"]


async def test_also_when_the_caller_does_not_wait_until_the_old_address_refuses(
    server: ScriptedServer, moves: list[str]
) -> None:
    server.answer(ok({"vm_id": "v"}))
    with contextlib.ExitStack() as stack:
        # The queue is full, so the system does not answer further connections.
        silent = stack.enter_context(socket.create_server(("127.0.0.2", server.port), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(silent.getsockname())
        async with of_moving_server(server) as client:
            with pytest.raises(DeadlineExceededError):
                await client.get_vm("v", deadline=0.3)
            await client.get_vm("v")
    assert moves == ["127.0.0.1"]


@pytest.mark.parametrize("turns", range(5))
async def test_a_call_that_is_given_up_takes_no_address_from_those_that_wait_for_it(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    server.answer(ok({"vm_id": "v"}))
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo("127.0.0.1", server.port, type=socket.SOCK_STREAM)
    told: list[asyncio.Future[list[Any]]] = []

    async def found(*args: Any, **options: Any) -> list[Any]:
        told.append(loop.create_future())
        return await told[-1] if len(told) == 1 else addresses

    monkeypatch.setattr(loop, "getaddrinfo", found)
    async with of_moving_server(server) as client:
        calls = [asyncio.ensure_future(client.get_vm("v")) for _ in range(3)]
        for _ in range(100):  # until all wait for the address
            await asyncio.sleep(0)
        told[0].set_result(addresses)
        for _ in range(turns):
            await asyncio.sleep(0)
        calls[2].cancel()
        assert [vm.id for vm in await asyncio.gather(*calls[:2])] == ["v", "v"]
        with pytest.raises(asyncio.CancelledError):
            await calls[2]


async def test_a_connection_notices_that_its_peer_has_vanished(server: ScriptedServer) -> None:
    made: list[socket.socket] = []
    from arker._transport.http import sessions

    original = sessions._keepalive_socket  # pyright: ignore[reportPrivateUsage]
    family = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    made.append(original(family))
    assert made[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    made[0].close()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://[", "ftp://user:SECRET@x"])
async def test_a_proxy_that_is_none(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    async with AsyncArker(
        API_KEY, base_url="http://api.example.test", insecure_hosts=["api.example.test"], retry=QUICK
    ) as client:
        with pytest.raises(ConfigurationError) as caught:
            await client.get_vm("v")
    assert "proxy" in caught.value.message
    assert "SECRET" not in str(caught.value)


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with AsyncArker(
        API_KEY, base_url="http://api.example.test", insecure_hosts=["api.example.test"], retry=False
    ) as client:
        with pytest.raises(ArkerError) as caught:
            await client.get_vm("v")
    assert "proxy 127.0.0.1:1" in caught.value.message
