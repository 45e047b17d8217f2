"""The loopback server of the rows on files: `/sync`, sessions, runs and an object store, all of it at the least cost.

It discards uploads, and downloads repeat one MiB. Below ``/capped``, each connection to the object store passes 50
MB/s. A file's path has its size: ``/file/SIZE``. It speaks plain HTTP, or all of it over TLS.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.measure import cores, pin
from benchmarks.server import CERTIFICATE

MIB: Final = 1024 * 1024
RATE: Final = 50_000_000
"""Bytes per second of a connection that is capped."""

_REQUEST: Final = re.compile(rb"([A-Z]+) ((?:/capped)?)(/\S*) HTTP/1.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RANGE: Final = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d+)", re.IGNORECASE)
_HOST: Final = re.compile(rb"\r\nhost: *(\S+)", re.IGNORECASE)
_PATTERN: Final = secrets.token_bytes(MIB)
_STEP: Final = 256 * 1024

_RUN: Final = {
    "run_id": "01JB0000000000000000000001", "state": "completed", "stdout": "", "stdout_encoding": "utf-8",
    "stderr": "", "stderr_encoding": "utf-8", "exit_code": 0,
}  # fmt: skip
_SESSION: Final = {"session_id": "s1", "session_idx": 1, "state": "idle", "cwd": "/root"}


class Connection(asyncio.BufferedProtocol):
    """A connection, with one request after another."""

    def __init__(self, scheme: str = "http") -> None:
        self._scheme = scheme
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(MIB))
        self._head = bytearray()
        self._body = bytearray()
        self._left = 0
        self._kept = False
        self._request: tuple[bytes, bytes, bytes, bytes] = (b"", b"", b"", b"")
        self._out: tuple[int, int] = (0, 0)
        self._free = True
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._buffer[:nbytes]
        if not self._left:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data = memoryview(bytes(self._head[end + 4 :]))
            self._begin(bytes(self._head[: end + 2]))
            self._head.clear()
            if not self._left:
                self._answer()
                return
        self._left -= len(data)
        if self._kept:
            self._body += data
        if self._request[1] and not self._kept:
            self._pace(len(data))
        if not self._left:
            self._answer()

    def _begin(self, head: bytes) -> None:
        match, length, host = _REQUEST.match(head), _LENGTH.search(head), _HOST.search(head)
        assert match is not None
        assert host is not None
        self._request = (match[1], match[2], match[3], head)
        self._left = int(length[1]) if length is not None else 0
        self._kept = match[1] == b"POST"
        self._body.clear()

    def _pace(self, count: int) -> None:
        """Delay the next read until its time."""
        now = time.monotonic()
        self._due = max(self._due, now - 0.02) + count / RATE
        if self._due > now and self._left and self._transport is not None:
            transport = self._transport
            transport.pause_reading()
            asyncio.get_running_loop().call_later(self._due - now, _resume, transport)

    def _answer(self) -> None:
        method, prefix, path, head = self._request
        if method == b"GET":
            self._send_file(path, head)
        elif method == b"PUT":
            self._send(b"")
        else:
            host = _HOST.search(head)
            assert host is not None
            self._send(orjson.dumps(self._reply(method, path, f"{self._scheme}://{host[1].decode()}{prefix.decode()}")))

    def _reply(self, method: bytes, path: bytes, base: str) -> Any:
        if method == b"DELETE":
            return {"deleted": True}
        if not path.endswith(b"/sync"):
            return _SESSION if path.endswith(b"/sessions") else _RUN
        body = orjson.loads(bytes(self._body))
        url = {"presigned_url": f"{base}/store", "expires_in": 900, "upload_id": "u"}
        if body["op"] == "read":
            size = int(body["path"].rpartition("/")[2])
            return {"path": body["path"], "size": size, **url, "presigned_url": f"{base}/store/{size}", "method": "GET"}
        done = {"complete": True, "written": True}
        return {"results": [{**url, "method": "PUT"} if "presigned" in entry else done for entry in body["writes"]]}

    def _send(self, body: bytes) -> None:
        assert self._transport is not None
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _send_file(self, path: bytes, head: bytes) -> None:
        assert self._transport is not None
        size, span = int(path.rpartition(b"/")[2]), _RANGE.search(head)
        start, end = (int(span[1]), int(span[2]) + 1) if span is not None else (0, size)
        said = b"206 Partial Content\r\nContent-Range: bytes %d-%d/%d" % (start, end - 1, size) if span else b"200 OK"
        self._transport.write(b'HTTP/1.1 %b\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n' % (said, end - start))
        self._out = (start, end)
        self._due = time.monotonic()
        self._pump()

    def _pump(self) -> None:
        while self._free and self._transport is not None and self._out[0] < self._out[1]:
            start, end = self._out
            low = start % MIB
            piece = memoryview(_PATTERN)[low : min(low + _STEP, low + end - start, MIB)]
            self._out = (start + len(piece), end)
            self._transport.write(piece)
            if self._request[1]:
                self._due += len(piece) / RATE
                delay = self._due - time.monotonic()
                if delay > 0:
                    asyncio.get_running_loop().call_later(delay, self._pump)
                    return

    def pause_writing(self) -> None:
        self._free = False

    def resume_writing(self) -> None:
        self._free = True
        # A capped connection goes on when its timer fires.
        self._pump()


def _resume(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


async def _serve(scheme: str) -> None:
    loop = asyncio.get_running_loop()
    context: ssl.SSLContext | None = None
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    server = await loop.create_server(partial(Connection, scheme), "127.0.0.1", 0, backlog=1024, ssl=context)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


@contextmanager
def running(*, tls: bool = False) -> Generator[str, None, None]:
    """Start the server, yield its base URL, and stop it."""
    chosen = cores()
    scheme = "https" if tls else "http"
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.store", scheme, *([str(chosen[0])] if chosen is not None else [])],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"{scheme}://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.stdin.close()
        process.wait(5)
        process.stdout.close()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        pin(int(sys.argv[2]))
    asyncio.run(_serve(sys.argv[1]))
