"""Rows ``ptyecho`` and ``ptyflow``: a terminal of a VM on the embedded backend, beside a terminal of this machine."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from arker import AsyncArker, AsyncTerminal, Replayed
from benchmarks.measure import Row, all_cores, interleave_async, run_bounded

_ROUNDS: Final = 15
_KEYS: Final = 50
"""Keys of a sample, each typed when the one before has come back."""
_BYTES: Final = 10_000_000

_ECHO: Final = "stty raw -echo; echo ready; exec cat"
_FLOW: Final = f"stty raw -echo; echo ready; while read line; do head -c {_BYTES} /dev/zero; done"
_READY: Final = b"ready\n"


class _Local:
    """A terminal of this machine, with blocking reads and writes: nothing is quicker."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def expect(self, count: int) -> None:
        while count > 0:
            count -= len(os.read(self._fd, 65536))

    def echo(self) -> float:
        started = time.perf_counter()
        for _ in range(_KEYS):
            os.write(self._fd, b"k")
            self.expect(1)
        return (time.perf_counter() - started) / _KEYS

    def flow(self) -> float:
        started = time.perf_counter()
        os.write(self._fd, b"\n")
        self.expect(_BYTES)
        return time.perf_counter() - started


@contextmanager
def _local(program: str) -> Generator[_Local, None, None]:
    outer, inner = pty.openpty()
    process = subprocess.Popen(["/bin/sh", "-c", program], stdin=inner, stdout=inner, start_new_session=True)
    os.close(inner)
    try:
        terminal = _Local(outer)
        terminal.expect(len(_READY))
        yield terminal
    finally:
        process.kill()
        process.wait()
        os.close(outer)


class _Remote:
    """A terminal of a VM."""

    def __init__(self, terminal: AsyncTerminal) -> None:
        self._terminal = terminal

    async def expect(self, count: int) -> None:
        while count > 0:
            piece = await anext(self._terminal)
            assert not isinstance(piece, Replayed)
            count -= len(piece)

    async def echo(self) -> float:
        started = time.perf_counter()
        for _ in range(_KEYS):
            await self._terminal.write(b"k")
            await self.expect(1)
        return (time.perf_counter() - started) / _KEYS

    async def flow(self) -> float:
        started = time.perf_counter()
        await self._terminal.write(b"\n")
        await self.expect(_BYTES)
        return time.perf_counter() - started


@asynccontextmanager
async def _remote(program: str) -> AsyncGenerator[_Remote, None]:
    with all_cores():
        async with (
            AsyncArker.local() as client,
            await client.fork("ubuntu") as vm,
            vm.terminal("/bin/sh", env={"PS1": ""}) as terminal,
        ):
            await terminal.write(f"exec sh -c '{program}'\n")
            seen = b""
            while not seen.endswith(_READY):
                seen += await terminal.read()
            yield _Remote(terminal)


def measure_echo(base_url: str) -> Row:
    del base_url  # the embedded backend is asked, not the loopback server
    return run_bounded(_measure_echo())


def measure_flow(base_url: str) -> Row:
    del base_url  # as above
    return run_bounded(_measure_flow())


async def _measure_echo() -> Row:
    async with _remote(_ECHO) as there:
        with _local(_ECHO) as here:

            async def by_hand() -> float:
                return here.echo()

            rounds = await interleave_async(by_hand, there.echo, rounds=_ROUNDS)
    return rounds.row("ptyecho", "a key through cat in a terminal; limit: a local one")


async def _measure_flow() -> Row:
    async with _remote(_FLOW) as there:
        with _local(_FLOW) as here:

            async def by_hand() -> float:
                return here.flow()

            rounds = await interleave_async(by_hand, there.flow, rounds=_ROUNDS)
    title = f"{_BYTES // 1_000_000} MB of output of a terminal; limit: a local one"
    return rounds.row("ptyflow", title)


__all__ = ["measure_echo", "measure_flow"]
