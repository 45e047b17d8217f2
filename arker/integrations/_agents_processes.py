"""Commands that go on between the calls of an agent's tools, with a terminal or without."""

from __future__ import annotations

import asyncio
import shlex
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from agents.sandbox.errors import PtySessionNotFoundError
from agents.sandbox.session.pty_output import collect_pty_output
from agents.sandbox.session.pty_types import (
    PTY_PROCESSES_MAX,
    PtyExecUpdate,
    allocate_pty_process_id,
    process_id_to_prune_from_meta,
)
from attrs import define, field

from arker import ArkerError, AsyncTerminal, AsyncVM
from arker._tasks import clock

_KILLED: Final = 137  # as shells tell SIGKILL
_MAX_DELAY: Final = 0.25


@define(eq=False)
class Process:
    """A command that goes on.

    Attributes:
        kill: Kills the command with all that it has started.
        terminal: Its terminal, if it has one.
        exit_code: Its exit code, once it has ended.
        error: Why its output could not be read to the end.
        reading: What reads its output.
    """

    kill: Callable[[], Awaitable[object]]
    terminal: AsyncTerminal | None = None
    exit_code: int | None = None
    error: ArkerError | None = None
    reading: asyncio.Task[None] | None = None
    used: float = field(factory=clock.now)
    _output: deque[bytes] = field(factory=deque[bytes])
    _lock: asyncio.Lock = field(factory=asyncio.Lock)
    _news: asyncio.Event = field(factory=asyncio.Event)

    @property
    def ended(self) -> bool:
        """Whether the command has ended, and its output is here."""
        return self.reading is not None and self.reading.done()

    def put(self, data: bytes) -> None:
        """Take output."""
        self._output.append(data)
        self._news.set()

    def follow(self, work: Awaitable[int | None]) -> None:
        """Begin to read the output. What reads it returns the exit code."""
        self.reading = asyncio.ensure_future(self._follow(work))
        self.reading.add_done_callback(lambda _: self._news.set())

    async def _follow(self, work: Awaitable[int | None]) -> None:
        try:
            code = await work
        except ArkerError as error:
            self.error, code = error, None
        self.exit_code = _KILLED if code is None else code

    async def collect(self, seconds: float, max_tokens: int | None) -> tuple[bytes, int | None, bool]:
        """Return the output since the last time, as soon as the command ends or the time is over.

        Args:
            seconds: How long to wait.
            max_tokens: How many tokens of output a model may be given.

        Returns:
            The output, the tokens that it had before it was shortened, and whether the command has ended.
        """
        self.used = clock.now()
        return await collect_pty_output(
            output_chunks=self._output,
            output_lock=self._lock,
            output_notify=self._news,
            is_done=lambda: self.ended,
            yield_time_ms=int(seconds * 1000),
            max_output_tokens=max_tokens,
        )

    async def end(self) -> None:
        """Kill the command, unless it has ended."""
        if not self.ended:
            try:
                await self.kill()
            except ArkerError:
                pass  # the VM is gone, or the command has ended just now
        if self.reading is not None:
            self.reading.cancel()
            await asyncio.gather(self.reading, return_exceptions=True)


class Processes:
    """The commands of a session that go on, by the numbers that its agent knows them by."""

    def __init__(self) -> None:
        self._processes: dict[int, Process] = {}

    async def start(
        self,
        vm: AsyncVM,
        command: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        timeout: float | None,
        tty: bool,
    ) -> int:
        """Start a command, and return its number. If there are too many, the one that was used least is killed.

        Args:
            vm: The VM.
            command: The command's arguments.
            cwd: Its directory.
            env: Its environment variables, in addition to the VM's.
            timeout: Seconds after which it is killed; None for no limit.
            tty: Whether it gets a terminal, by which it can be written to.
        """
        await self._make_room()
        if tty:
            process = await _in_terminal(vm, command, cwd=cwd, env=env, timeout=timeout)
        else:
            process = await _in_background(vm, command, cwd=cwd, env=env, timeout=timeout)
        number = allocate_pty_process_id(set(self._processes))
        self._processes[number] = process
        return number

    async def _make_room(self) -> None:
        if len(self._processes) >= PTY_PROCESSES_MAX:
            known = [(number, process.used, process.ended) for number, process in self._processes.items()]
            oldest = process_id_to_prune_from_meta(known)
            if oldest is not None:
                await self.end(oldest)

    async def write(self, number: int, text: str) -> None:
        """Write to a command's terminal.

        Raises:
            RuntimeError: It has none. The framework's tool knows the error by its words, and tells the model.
        """
        process = self._get(number)
        if text and process.terminal is None:
            raise RuntimeError("stdin is not available for this process")
        if text and process.terminal is not None and not process.ended:
            await process.terminal.write(text)

    async def collect(self, number: int, seconds: float, max_tokens: int | None) -> PtyExecUpdate:
        """Return what a command has printed since the last time, and its end; see `Process.collect`."""
        process = self._get(number)
        output, tokens, ended = await process.collect(seconds, max_tokens)
        if ended:
            self._processes.pop(number, None)
            if process.error is not None:
                raise process.error
        return PtyExecUpdate(
            process_id=None if ended else number,
            output=output,
            exit_code=process.exit_code if ended else None,
            original_token_count=tokens,
        )

    def _get(self, number: int) -> Process:
        if number not in self._processes:
            raise PtySessionNotFoundError(session_id=number)
        return self._processes[number]

    async def end(self, number: int) -> None:
        """Kill one, if it is known."""
        process = self._processes.pop(number, None)
        if process is not None:
            await process.end()

    async def end_all(self) -> None:
        """Kill all that go on."""
        processes, self._processes = list(self._processes.values()), {}
        await asyncio.gather(*(process.end() for process in processes))


async def _in_background(
    vm: AsyncVM, command: Sequence[str], *, cwd: str, env: Mapping[str, str], timeout: float | None
) -> Process:
    run = await vm.start(command, cwd=cwd, env=env, timeout=timeout)
    process = Process(run.cancel)

    async def read() -> int | None:
        async for chunk in run.output(max_delay=_MAX_DELAY):
            process.put(chunk.data)
        if run.exit_code == 0:
            return 0
        return (await run.wait()).exit_code  # or its error: the directory is gone, and the command was not run

    process.follow(read())
    return process


async def _in_terminal(
    vm: AsyncVM, command: Sequence[str], *, cwd: str, env: Mapping[str, str], timeout: float | None
) -> Process:
    # A terminal starts one program without arguments.
    path = f"/tmp/arker-command-{uuid.uuid4().hex}"  # noqa: S108 - in the VM
    program = f'#!/bin/sh\nrm -f "$0"\nexec {shlex.join(command)}\n'
    await vm.files.write_bytes(path, program.encode(), mode=0o700)
    terminal = await vm.terminal(path, cwd=cwd, env=env).open()
    process = Process(terminal.kill, terminal)

    async def read() -> int | None:
        while data := await terminal.read():
            process.put(data)
        return await terminal.wait()

    async def read_in_time() -> int | None:
        try:
            with clock.move_on_after(timeout):
                return await read()
            return None
        finally:
            await asyncio.shield(terminal.close())

    process.follow(read_in_time())
    return process


__all__ = ["Processes"]
