"""Where the way out leads when the server's environment names a proxy, and how names become connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import aiohttp
import pytest

from arker.emulator.server.proxy.egress import Policy, Target
from arker.emulator.server.proxy.egress_dial import Addresses, Dialer, ResolutionError
from arker.emulator.server.proxy.egress_proxy import MOST_CONNECTIONS, EgressProxy, Room
from arker.emulator.server.proxy.egress_upstream import Upstream, Upstreams
from arker.emulator.server.proxy.http_exchange import Refusal
from tests.emulator.sandbox.support import descriptors, until
from tests.emulator.server.egress_support import Echo, Origin, serving
from tests.emulator.server.support import ISOLATION, Api, output
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

NO_UPSTREAMS = Upstreams({})
OPEN = Policy.of({"type": "open"})


class UpstreamProxy:
    """Notes the heads that it gets, and answers by itself; tunnels to port 443 echo in capitals, others are refused."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if head.startswith("GET "):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nupstream")
            elif ":443 " in head.partition("\r\n")[0]:
                writer.write(b"HTTP/1.1 200 OK\r\nX-Field: 1\r\n\r\n")
                while piece := await reader.read(65536):
                    writer.write(piece.upper())
            else:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        finally:
            writer.close()


@pytest.fixture
async def upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UpstreamProxy]:
    proxy = UpstreamProxy()
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://user:s%65cret@127.0.0.1:{proxy.port}")
    yield proxy
    server.close()
    await server.wait_closed()


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    with serving(server):
        yield server


@pytest.fixture
async def api(upstream: UpstreamProxy, origin: Origin) -> AsyncIterator[Api]:
    """Of a server that is started in the environment that names the proxy."""
    async with (
        ForkedEmulator(isolation=ISOLATION, host_ports=[origin.port]) as emulator,
        aiohttp.ClientSession() as session,
    ):
        yield Api(session, emulator.url, emulator.api_key)


async def test_requests_go_through_the_proxy_of_the_servers_environment(api: Api, upstream: UpstreamProxy) -> None:
    vm = (await api.fork(network={"type": "block", "block": ["blocked.invalid"]}))["vm_id"]
    run = await api.run(vm, "curl -sS http://some.invalid/path?x; curl -sS 'http://some.invalid:81'")
    assert output(run) == b"upstreamupstream"
    first, second = upstream.heads
    assert first.startswith("GET http://some.invalid/path?x HTTP/1.1\r\nHost: some.invalid\r\n")
    assert second.startswith("GET http://some.invalid:81/ HTTP/1.1\r\nHost: some.invalid:81\r\n")
    assert "\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in first
    upstream.heads.clear()
    talk = (
        r"exec 3<>/dev/tcp/127.0.0.1/31280; "
        r"printf 'CONNECT other.invalid:{} HTTP/1.1\r\nHost: x\r\n\r\nhello\n' >&3; head -{} <&3"
    )
    run = await api.run(vm, talk.format(443, 3))
    assert output(run) == b"HTTP/1.1 200 Connection established\r\n\r\nHELLO\n"
    (head,) = upstream.heads
    assert head == (
        "CONNECT other.invalid:443 HTTP/1.1\r\nHost: other.invalid:443\r\n"
        "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"
    )
    run = await api.run(vm, talk.format(444, 20))
    assert b"502 Bad Gateway" in output(run)
    assert b"answered 407" in output(run)
    assert b"secret" not in output(run)


async def test_policies_hold_and_this_machine_stays_out_of_reach(api: Api, upstream: UpstreamProxy) -> None:
    vm = (await api.fork(network={"type": "block", "block": ["blocked.invalid"]}))["vm_id"]
    hosts = ("blocked.invalid", "127.0.0.1:81", "localhost.", "169.254.169.254", socket.gethostname())
    for host in hosts:
        run = await api.run(vm, f"curl -s -o /dev/null -w '%{{http_code}}' -x $http_proxy --noproxy '' http://{host}/")
        assert output(run) == b"403", host
    assert upstream.heads == []


async def test_the_machines_own_ports_are_reached_without_it(api: Api, upstream: UpstreamProxy, origin: Origin) -> None:
    vm = (await api.fork())["vm_id"]
    run = await api.run(vm, f"curl -s http://host.arker.internal:{origin.port}/chunks")
    assert output(run) == b"onetwo"
    run = await api.run(vm, "curl -s http://host.arker.internal:1/")
    assert b"host_ports" in output(run)
    assert upstream.heads == []


async def test_what_a_target_says_first_comes_with_the_proxys_answer() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n220 ready\n")
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        upstream = Upstream.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        dialer = Dialer(OPEN, host_ports=[], upstreams=Upstreams({"https": upstream}))
        far = await dialer.connect(Target.parse("mail.invalid:443", default_port=None))
        assert await asyncio.wait_for(far.wire.read_bare(), 60) == b"220 ready\n"
        assert await asyncio.wait_for(far.wire.read_bare(), 60) == b""
        far.cut()


# --- names ---


class Names:
    """A name server: the addresses of each name, and how often it was asked."""

    def __init__(self, **addresses: Sequence[str] | None) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Addresses:
        self.asked.append(name)
        found = self.addresses.get(name.partition(".")[0], [])
        if found is None:
            raise ResolutionError(name)
        canonical = next((text for text in found if text.endswith(".invalid")), name)
        return [ip_address(text) for text in found if text != canonical], canonical


async def refusal(dialer: Dialer, text: str) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        await dialer.connect(Target.parse(text, default_port=None))
    return caught.value.status, str(caught.value)


async def test_a_name_that_leads_to_this_machine_is_refused_and_looked_up_once() -> None:
    with serving(server := Origin("0.0.0.0")):
        names = Names(
            loop=["127.0.0.1"], six=["::1"], mapped=["::ffff:127.0.0.1"], meta=["169.254.169.254"], any=["0.0.0.0"]
        )
        dialer = Dialer(OPEN, host_ports=[server.port], upstreams=NO_UPSTREAMS, resolve=names)
        for name in names.addresses:
            status, message = await refusal(dialer, f"{name}.invalid:{server.port}")
            assert status == 403
            assert "out of reach" in message
        assert names.asked == [f"{name}.invalid" for name in names.addresses]
        assert server.requests == 0


async def test_names_that_do_not_resolve() -> None:
    dialer = Dialer(OPEN, host_ports=[], upstreams=NO_UPSTREAMS, resolve=Names(slow=None))
    assert "no host of that name" in (await refusal(dialer, "none.invalid:80"))[1]
    status, message = await refusal(dialer, "slow.invalid:80")
    assert status == 502
    assert "could not be resolved" in message


@pytest.mark.parametrize(
    ("rules", "target"),
    [
        (["bad.invalid"], "192.0.2.1:443"),  # the address of a blocked name
        (["bad.invalid:443"], "[::ffff:192.0.2.1]:443"),
        (["unknown.invalid"], "192.0.2.1:443"),  # whose address cannot be found out now
        (["192.0.2.1"], "bad.invalid:443"),  # a name of a blocked address
        (["full.invalid"], "short:443"),  # a name that is completed to a blocked one
    ],
)
async def test_blocked_names_and_addresses_stand_for_each_other(rules: Any, target: str) -> None:
    names = Names(bad=["192.0.2.1"], unknown=None, short=["192.0.2.7", "full.invalid"])
    policy = Policy.of({"type": "block", "block": rules})
    dialer = Dialer(policy, host_ports=[], upstreams=NO_UPSTREAMS, resolve=names)
    assert (await refusal(dialer, target))[0] == 403


async def test_an_address_is_not_compared_with_names_that_are_blocked_on_other_ports() -> None:
    names = Names(bad=["192.0.2.1"])
    policy = Policy.of({"type": "block", "block": ["bad.invalid:80", "*.worse.invalid", "192.0.2.2"]})
    dialer = Dialer(policy, host_ports=[], upstreams=NO_UPSTREAMS, resolve=names)
    assert (await refusal(dialer, "192.0.2.2:443"))[0] == 403
    assert (await refusal(dialer, "192.0.2.1:80"))[0] == 403
    assert names.asked == ["bad.invalid"]


# --- limits and ends ---


async def test_connections_are_counted_and_all_end_at_once() -> None:
    tasks, before = len(asyncio.all_tasks()), descriptors()
    echo = Echo()
    with serving(echo):
        proxy = EgressProxy(Dialer(OPEN, host_ports=[echo.port], upstreams=NO_UPSTREAMS), Room(4 * MOST_CONNECTIONS))
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        listener.setblocking(False)
        port = listener.getsockname()[1]
        proxy.open(listener)
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS + 20)]
        head = f"CONNECT host.arker.internal:{echo.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for _, writer in connections[MOST_CONNECTIONS:]:
            writer.write(head)
        late = [asyncio.ensure_future(reader.readexactly(12)) for reader, _ in connections[MOST_CONNECTIONS:]]
        for reader, writer in connections[:2]:
            writer.write(head)
            assert await asyncio.wait_for(reader.readexactly(12), 60) == b"HTTP/1.1 200"
        assert not any(task.done() for task in late)
        for _, writer in connections[2:42]:
            writer.close()
        assert await asyncio.wait_for(asyncio.gather(*late), 60) == [b"HTTP/1.1 200"] * 20
        await until(lambda: echo.open == 22)
        proxy.cut()
        await until(lambda: echo.open == 0)
        for reader, _ in connections[:2]:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readuntil(b"never"), 60)
        for _, writer in connections:
            writer.close()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        proxy.cut()
    await until(lambda: len(asyncio.all_tasks()) == tasks)
    del connections
    await until(lambda: descriptors() <= before)


def listening() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    listener.setblocking(False)
    return listener, int(listener.getsockname()[1])


async def refused_connect(port: int) -> bytes:
    """Return the status line of an answer which shows that the connection was served."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"CONNECT host.arker.internal:9 HTTP/1.1\r\nHost: x\r\n\r\n")
        return await reader.readline()
    finally:
        writer.close()


async def connections(port: int, number: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    return [await asyncio.open_connection("127.0.0.1", port) for _ in range(number)]


async def test_vms_share_what_room_there_is_and_none_takes_it_all() -> None:
    room = Room(8)
    assert room.share == 2
    proxies = [EgressProxy(Dialer(OPEN, host_ports=[], upstreams=NO_UPSTREAMS), room) for _ in range(6)]
    ports: list[int] = []
    for proxy in proxies:
        listener, port = listening()
        proxy.open(listener)
        ports.append(port)
    held = [await connections(port, 5) for port in ports[:3]]
    # Three that want more than there is leave room for the others.
    assert b" 403 " in await asyncio.wait_for(refused_connect(ports[3]), 60)
    held += [await connections(ports[3], 2)]
    late = [asyncio.ensure_future(refused_connect(port)) for port in ports[4:]]
    done, _ = await asyncio.wait(late, timeout=0.2)
    assert done == set()
    proxies[4].cut()  # it waits no longer
    proxies[3].cut()
    assert b" 403 " in await asyncio.wait_for(late[1], 60)
    with pytest.raises(ConnectionError):
        await late[0]
    for proxy in proxies:
        proxy.cut()
    for _, writer in [connection for connections in held for connection in connections]:
        writer.close()


async def test_a_listener_that_was_shut_down_is_spoken_of_once(caplog: pytest.LogCaptureFixture) -> None:
    proxy = EgressProxy(Dialer(OPEN, host_ports=[], upstreams=NO_UPSTREAMS), Room(8))
    listener, port = listening()
    proxy.open(listener)
    assert b" 403 " in await asyncio.wait_for(refused_connect(port), 60)
    listener.shutdown(socket.SHUT_RDWR)
    await until(lambda: "could not be accepted" in caplog.text)
    await asyncio.sleep(0.3)
    assert caplog.text.count("could not be accepted") == 1
    proxy.cut()
