"""A web server in a VM, reached through a tunnel that requires its token.

With an API key in ``ARKER_API_KEY`` (and a region in ``ARKER_REGION``) this runs in the cloud; without one, on the
embedded backend, which needs no account and no network.

    python examples/web_server_tunnel.py
"""

from __future__ import annotations

import asyncio
import os

import aiohttp

from arker import ArkerError, AsyncArker, AsyncRun, AsyncTunnel

PORT = 8080

SERVER = b"""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

notes = []


class Notes(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, notes)

    def do_POST(self):
        notes.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.answer(201, {"number": len(notes)})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        print(self.command, self.path, values[1], flush=True)


server = ThreadingHTTPServer(("127.0.0.1", 8080), Notes)
print("listening", flush=True)
server.serve_forever()
"""


async def listening(server: AsyncRun) -> bool:
    """Wait until the server listens. Returns False if it has ended before."""
    async for line in server.lines():
        if line.text == "listening":
            return True
        print(f"the server: {line.text}")
    return False


async def without_token(tunnel: AsyncTunnel) -> int:
    """Request the tunnel's URL without the token and return the HTTP status."""
    async with aiohttp.ClientSession() as session, session.get(tunnel.url) as response:
        return response.status


async def main() -> None:
    in_cloud = os.environ.get("ARKER_API_KEY") or os.environ.get("AUTH_KEY")
    async with AsyncArker() if in_cloud else AsyncArker.local() as ar, ar.fork("ubuntu") as vm:
        await vm.sync("/tmp/server.py", SERVER)
        server = await vm.start("exec python3 /tmp/server.py")
        if not await listening(server):
            raise SystemExit(f"the server has ended: {server.state}, exit code {server.exit_code}")

        async with vm.tunnel(PORT, auth_mode="authenticated", deadline=60) as tunnel:
            print(f"port {tunnel.port} of the VM is at {tunnel.url}")
            for note in ("buy milk", "call Ada"):
                made = await tunnel.request("POST", "/notes", body=note.encode())
                print(f"POST {note!r}: {made.status}, note {made.json()['number']}")
            seen = await tunnel.request("GET", "/notes")
            print(f"GET: {seen.status}, {seen.json()}")
            print(f"GET without the token: {await without_token(tunnel)}")

        await server.cancel()
        log = (await server.result()).stdout_text.splitlines()
        print(f"the server is {server.state}; its log: {'; '.join(log)}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ArkerError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
