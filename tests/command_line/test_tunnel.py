"""``arker tunnel``: HTTP and WebSockets through the proxy on this machine."""

from __future__ import annotations

import asyncio
import http.client
import signal
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.command_line.support import Program

pytestmark = pytest.mark.needs("tunnels")

SERVER = r"""
import asyncio, base64, hashlib, struct

async def answer(reader, writer):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:] if line}
    if fields.get("upgrade", "").lower() == "websocket":
        key = fields["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()
        writer.write(f"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: echo\r\n\r\n".encode())
        while True:
            first, second = await reader.readexactly(2)
            size = second & 127
            if size == 126:
                size = struct.unpack(">H", await reader.readexactly(2))[0]
            mask = await reader.readexactly(4)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(await reader.readexactly(size)))
            length = bytes([size]) if size < 126 else bytes([126]) + struct.pack(">H", size)
            writer.write(bytes([first]) + length + data)
            if first & 15 == 8:
                break
    else:
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        told = f"{lines[0]}|{fields.get('authorization')}|{fields.get('x-own')}|{len(body)}".encode()
        status = "404 Not Found" if "missing" in lines[0] else "200 OK"
        fields = f"Content-Length: {len(told)}\r\nX-Back: yes\r\nLocation: /there\r\n\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n{fields}".encode() + told)
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 8080)
    print("serving", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def opened(arker_program: Program, web: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Serve a program's port on this machine. Yields the tunnel's process and its URL."""
    arker_program.good("cp", "-", "web:server.py", data=SERVER.encode())
    arker_program.good("run", "web", "--detach", "--", "exec python3 -u server.py > log")
    arker_program.good("run", "web", "--", "until grep -q serving log; do sleep 0.05; done")
    with arker_program.forked("tunnel", "web", "8080") as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().decode().strip()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 130
    assert arker_program("ls", "--json").json[0]["tunnels"] == []


def test_requests_and_sockets_through_a_tunnel(opened: tuple[subprocess.Popen[bytes], str]) -> None:
    _, url = opened
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), dict(reply.getheaders())

    status, text, headers = ask("GET", "/a%2Fb/../c?q=%41&r", X_Own="mine", Authorization="Basic mine")
    assert (status, headers["X-Back"], headers["Location"]) == (200, "yes", "/there")
    assert text == "GET /a%2Fb/../c?q=%41&r HTTP/1.1|None|mine|0"
    status, text, _ = ask("POST", "/missing", b"x" * 1_000_000)
    assert (status, text) == (404, "POST /missing HTTP/1.1|None|None|1000000")
    assert ask("HEAD", "/")[:2] == (200, "")
    assert ask("GET", "/", Host="attacker.example")[0] == 403
    connection.close()

    async def talk() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url + "/ws", protocols=["echo"]) as socket:
            assert socket.protocol == "echo"
            await socket.send_str("words \u00e4")
            assert await socket.receive_str() == "words \u00e4"
            await socket.send_bytes(b"b" * 5000)
            assert await socket.receive_bytes() == b"b" * 5000
            await socket.close(code=4001)
            assert socket.close_code == 4001

    asyncio.run(talk())


def test_tunnels_that_cannot_be_opened(arker_program: Program, web: str) -> None:
    assert "not_found" in arker_program.bad(1, "tunnel", "nothing", "80")
    assert "PORT 0" in arker_program.bad(2, "tunnel", "web", "0")
    assert "--local-port 70000" in arker_program.bad(2, "tunnel", "web", "80", "--local-port", "70000")
    assert '"eighty"' in arker_program.bad(2, "tunnel", "web", "eighty")


def test_a_port_on_which_nothing_listens(arker_program: Program, web: str) -> None:
    with arker_program.forked("tunnel", "web", "9") as process:
        assert process.stdout is not None
        url: str = process.stdout.readline().decode().strip()
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
        connection.request("GET", "/")
        assert connection.getresponse().status == 502
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 143
