"""A web service that runs snippets of code, each in its own temporary VM.

    python -m pip install ".[emulator]" fastapi uvicorn
    python examples/snippet_service.py --port 8000
    curl -s localhost:8000/run -H 'content-type: application/json' -d '{"code": "print(6 * 7)"}'

Each request forks a VM from one that is prepared at the start of the service: a fork takes milliseconds, and a snippet
finds nothing of earlier ones. Snippets have no network, limited time and limited output. When there are too many
requests at once, some are rejected with 503. Ctrl-C or SIGTERM ends the service cleanly: no VM is left behind.

With an API key in ``ARKER_API_KEY`` (and a region in ``ARKER_REGION``) the VMs are in the cloud; without one, on the
embedded backend.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Literal

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from arker import AsyncArker, AsyncVM, DeadlineExceededError

LONGEST = 30.0
"""Maximum time limit of a snippet in seconds."""
PATIENCE = 5.0
"""Seconds that a request waits for its turn, and that a VM may take beyond its snippet's time limit."""
OUTPUT_LIMIT = 64 * 1024
"""Maximum number of bytes of each output in the response."""

INTERPRETERS = {"python": ("snippet.py", "python3 -I snippet.py"), "bash": ("snippet.sh", "bash snippet.sh")}


class Snippet(BaseModel):
    """A request to run a snippet."""

    code: str = Field(max_length=100_000)
    language: Literal["python", "bash"] = "python"
    timeout: float = Field(default=5.0, gt=0, le=LONGEST)


class Answer(BaseModel):
    """The result of a snippet."""

    stdout: str
    stderr: str
    exit_code: int | None
    timed_out: bool
    truncated: bool
    seconds: float


class Runner:
    """A runner of snippets with a limit on parallel ones."""

    def __init__(self, ar: AsyncArker, base: AsyncVM, at_once: int) -> None:
        self._ar = ar
        self._base = base
        self._places = asyncio.Semaphore(at_once)
        self.running = 0
        self.done = 0

    async def run(self, snippet: Snippet) -> Answer:
        try:
            await asyncio.wait_for(self._places.acquire(), PATIENCE)
        except asyncio.TimeoutError:
            raise HTTPException(503, "too many snippets at once", {"Retry-After": "1"}) from None
        self.running += 1
        try:
            return await self._run(snippet)
        except DeadlineExceededError:
            raise HTTPException(504, "the VM did not answer in time") from None
        finally:
            self.running -= 1
            self.done += 1
            self._places.release()

    async def _run(self, snippet: Snippet) -> Answer:
        path, command = INTERPRETERS[snippet.language]
        async with self._ar.fork(self._base, network=False, deadline=PATIENCE) as vm:
            await vm.sync(path, snippet.code.encode("utf-8", "replace"), deadline=PATIENCE)
            started = time.perf_counter()
            result = await vm.run(command, timeout=snippet.timeout, deadline=snippet.timeout + PATIENCE)
            return Answer(
                stdout=result.stdout[:OUTPUT_LIMIT].decode("utf-8", "replace"),
                stderr=result.stderr[:OUTPUT_LIMIT].decode("utf-8", "replace"),
                exit_code=result.exit_code,
                timed_out=result.state == "failed" and "timeout" in (result.fail_reason or ""),
                truncated=max(len(result.stdout), len(result.stderr)) > OUTPUT_LIMIT,
                seconds=round(time.perf_counter() - started, 3),
            )


def make_app(at_once: int) -> FastAPI:
    """Create the service. At most ``at_once`` snippets run in parallel."""
    runners: list[Runner] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        cloud = os.environ.get("ARKER_API_KEY") or os.environ.get("AUTH_KEY")
        client = AsyncArker() if cloud else AsyncArker.local()
        async with client as ar, ar.fork("ubuntu") as base:
            # Prepare everything that snippets need here: packages, data, helpers.
            await base.run("mkdir -p data && date +%F > data/prepared", check=True)
            runners.append(Runner(ar, base, at_once))
            yield
        print(f"stopped after {runners[0].done} snippets", flush=True)

    app = FastAPI(title="Snippets", lifespan=lifespan)

    async def run(snippet: Snippet) -> Answer:
        """Run a snippet in its own VM."""
        return await runners[0].run(snippet)

    async def health() -> dict[str, int]:
        """Return the numbers of running and finished snippets."""
        return {"running": runners[0].running, "done": runners[0].done}

    app.post("/run")(run)
    app.get("/health")(health)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="A web service that runs snippets of code in VMs.")
    parser.add_argument("--port", type=int, default=8000, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--at-once", type=int, default=16, metavar="N", help="how many snippets may run at once")
    arguments = parser.parse_args()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", arguments.port))
    listener.listen()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(make_app(arguments.at_once), log_level="warning", timeout_graceful_shutdown=10)
    with listener, suppress(KeyboardInterrupt):  # raised by uvicorn after a clean shutdown
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
