"""What VMs are let out to in the tests: servers on this machine's loopback, in threads of their own."""

from __future__ import annotations

import hashlib
import json
import socket
import socketserver
import threading
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

LARGE = bytes(range(256)) * 80 * 1024
"""20 MiB."""
LARGE_DIGEST = hashlib.sha256(LARGE).hexdigest()


def wheel() -> bytes:
    """Return a package of the smallest possible size."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny_package.py", "VALUE = 42\n")
        archive.writestr(
            "tiny_package-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny_package-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny_package-1.0.dist-info/RECORD", "tiny_package.py,,\n")
    return file.getvalue()


WHEEL_NAME = "tiny_package-1.0-py3-none-any.whl"
WHEEL = wheel()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _count(self) -> None:
        assert isinstance(self.server, Origin)
        self.server.requests += 1

    def _answer(self, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_GET(self) -> None:
        self._count()
        if self.path == "/head":
            self._answer(json.dumps([self.requestline, self.headers.items()]).encode())
        elif self.path == "/large":
            self._answer(LARGE)
        elif self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        elif self.path == "/simple/tiny-package/":
            self._answer(f'<a href="/files/{WHEEL_NAME}">{WHEEL_NAME}</a>'.encode(), "text/html")
        elif self.path == f"/files/{WHEEL_NAME}":
            self._answer(WHEEL, "application/octet-stream")
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        self._count()
        body = self._body()
        self._answer(hashlib.sha256(body).hexdigest().encode() if self.path == "/digest" else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Origin(ThreadingHTTPServer):
    """A web server."""

    request_queue_size = 512

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.requests = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection: socket.socket = self.request
        server = self.server
        assert isinstance(server, Echo)
        server.count(1)
        try:
            while piece := connection.recv(65536):
                connection.sendall(piece.upper())
            connection.sendall(b"<end>")  # the other half is still open
        except OSError:
            pass
        finally:
            server.count(-1)


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it gets, in capitals; at the end of that, says so."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _EchoHandler)
        self.open = 0
        """Connections that have not ended."""
        self._lock = threading.Lock()

    def count(self, change: int) -> None:
        with self._lock:
            self.open += change

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def serving(server: socketserver.BaseServer) -> Generator[None]:
    """Serve in a thread while the context lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


TALK = rb"""
import os, socket, sys
# Sends what standard input holds to the VM's way out, ends its half, and prints everything that comes.
host, port = os.environ.get("http_proxy", "http://127.0.0.1:31280").rpartition("/")[2].split(":")
with socket.create_connection((host, int(port)), 10) as connection:
    connection.sendall(sys.stdin.buffer.read())
    if "--open" not in sys.argv:
        connection.shutdown(socket.SHUT_WR)
    while piece := connection.recv(65536):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
"""
"""A program for VMs."""


__all__ = ["LARGE", "LARGE_DIGEST", "TALK", "Echo", "Origin", "serving", "wheel"]
