"""The loopback server: canned answers at the least cost, in a separate process so that only the client is measured.

It reads only the parts of a request that it needs, and discards bodies. A base URL that ends in ``/late/MS`` makes each
answer that many milliseconds late. It ends when its standard input is closed, so with the process that started it at
the latest.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
import pybase64

from benchmarks.measure import cores, pin

API_KEY: Final = "benchmark-key"
VM_ID: Final = "01JB0000000000000000000000"

Answer = Callable[[bytes], bytes]

_REQUEST: Final = re.compile(rb"([A-Z]+) (?:/late/(\d+))?(/\S*) HTTP/1.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def vm(vm_id: str, *, sessions: int = 1, tunnels: int = 0) -> dict[str, object]:
    """Return a VM as servers describe it."""
    return {
        "vm_id": vm_id,
        "owner_org_id": "org_benchmarks",
        "created_at": "2025-01-02T03:04:05.678Z",
        "name": None,
        "public": False,
        "root_source_vm_id": VM_ID,
        "root_source_vm_name": "ubuntu",
        "state": "idle",
        "region": "us-west-2",
        "provider": "aws",
        "started_at": "2025-01-02T03:04:06.789Z",
        "vcpu_count": 2,
        "memory_mib": 2048,
        "disk_mib": 8192,
        "network": {"type": "open"},
        "max_vcpus": 4,
        "max_memory_mib": 4096,
        "sessions": [
            {
                "session_id": f"{vm_id}_s{index}",
                "session_idx": index,
                "state": "idle",
                "cwd": "/root",
                "env": {"HOME": "/root", "LANG": "C.UTF-8"},
                "started_at": "2025-01-02T03:04:06.789Z",
            }
            for index in range(sessions)
        ],
        "tunnels": [
            {
                "vm_id": vm_id,
                "port": 8080 + index,
                "run_id": None,
                "visibility": "public",
                "protocol": "http",
                "url": f"https://{vm_id}-{8080 + index}.example",
                "state": "open",
                "started_at": "2025-01-02T03:04:06.789Z",
                "tunnel_key": f"{vm_id}_t{index}",
                "auth_mode": "public",
            }
            for index in range(tunnels)
        ],
    }


_COMPLETED: Final = {
    "run_id": "01JB0000000000000000000001",
    "state": "completed",
    "stdout": "hi\n",
    "stdout_encoding": "utf-8",
    "stderr": "",
    "stderr_encoding": "utf-8",
    "exit_code": 0,
    "fail_reason": None,
}
_WRITTEN: Final = {
    "results": [
        {
            "path": "/tmp/file",
            "size": 4194304,
            "received_bytes": 4194304,
            "ranges": [{"start": 0, "end": 4194304}],
            "complete": True,
            "written": True,
        }
    ]
}


def _always(value: object) -> Answer:
    body = orjson.dumps(value)
    return lambda _: body


def _fork() -> Answer:
    before, after = orjson.dumps(vm("{id}")).split(b"{id}", 1)
    numbers = itertools.count()

    def answer(_: bytes) -> bytes:
        # The other places of the id do not matter.
        return b"%b01JB%022d%b" % (before, next(numbers), after)

    return answer


FILE_SIZE: Final = 4 * 1024 * 1024
FILE_VM: Final = "01JB000000000000000000000F"
"""The VM in which there is one file: any read is answered with all of its bytes."""


def _file() -> Answer:
    content = pybase64.b64encode_as_string(random.Random(1).randbytes(FILE_SIZE))
    return _always({"path": "/tmp/file", "size": FILE_SIZE, "content": content, "encoding": "base64"})


ROUTES: Final[tuple[tuple[bytes, re.Pattern[bytes], Answer], ...]] = (
    (b"POST", re.compile(rb"/v1/vms/[^/]+/runs"), _always(_COMPLETED)),
    (b"POST", re.compile(rb"/v1/fork"), _fork()),
    (b"DELETE", re.compile(rb"/v1/vms/[^/]+"), _always({"deleted": True})),
    (b"POST", re.compile(rb"/v1/vms/%b/sync" % FILE_VM.encode()), _file()),
    (b"POST", re.compile(rb"/v1/vms/[^/]+/sync"), _always(_WRITTEN)),
)
"""Method, path, and the function from the path to the answer's JSON."""


class _Connection(asyncio.Protocol):
    """A connection, with one request after another; only bodies with a ``Content-Length`` are understood."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._body_left = 0
        self._answer = b""
        self._delay = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._body_left:
            taken = min(self._body_left, len(data))
            self._body_left -= taken
            if self._body_left:
                return
            self._send()
            data = data[taken:]
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[: end + 2])
            length = _LENGTH.search(head)
            body_size = int(length[1]) if length is not None else 0
            here = len(self._received) - end - 4
            del self._received[: end + 4 + body_size]
            self._answer, self._delay = _answer_to(head)
            if here < body_size:
                self._body_left = body_size - here
                return
            self._send()

    def _send(self) -> None:
        assert self._transport is not None
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, self._answer)
        else:
            self._transport.write(self._answer)


def _answer_to(head: bytes) -> tuple[bytes, float]:
    """Return the whole answer to a request, and the seconds to delay it."""
    request = _REQUEST.match(head)
    status, body, delay = b"400 Bad Request", b'{"code":"bad_request","message":"not understood"}', 0.0
    if request is not None:
        method, late, path = request.groups()
        delay = int(late) / 1000 if late is not None else 0.0
        status, body = b"404 Not Found", b'{"code":"not_found","message":"no such route"}'
        for wanted, pattern, answer in ROUTES:
            if method == wanted and pattern.fullmatch(path):
                status, body = b"200 OK", answer(path)
                break
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nX-Request-Id: req-1\r\nContent-Length: %d\r\n\r\n%b"
        % (status, len(body), body),
        delay,
    )


CERTIFICATE: Final = Path(__file__).parent / "loopback.pem"
"""A certificate of 127.0.0.1 that signs itself, with its key. It protects nothing."""


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    secure = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024, ssl=context)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    print(server.sockets[0].getsockname()[1], secure.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()
    secure.close()


@contextmanager
def running() -> Generator[tuple[str, str], None, None]:
    """Start the server, yield its base URLs in plain HTTP and over TLS, and stop it."""
    chosen = cores()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", *([str(chosen[0])] if chosen is not None else [])],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ports = process.stdout.readline().split()
        if len(ports) != 2:
            raise RuntimeError("the benchmarks' server did not start")
        yield f"http://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[1]}"
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        pin(int(sys.argv[1]))
    asyncio.run(_serve())
