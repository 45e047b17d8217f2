"""``arker run``: a command in a VM, with its input, its output and its exit status."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Final

from cyclopts import Parameter

from arker import models
from arker._cli import output, quantities, standard_input, statuses
from arker._cli.connection import Where, chosen_vm, connected, remove_session
from arker._cli.inspecting import write
from arker._cli.readers import while_read
from arker._cli.running import FailedError, UsageError, complain
from arker._tasks import clock
from arker._tasks.cleanup import CLEANUP_SECONDS, clean_up, end
from arker._tasks.threads import in_thread
from arker.errors import ArkerError, ConflictError
from arker.run import AsyncRun, OutputChunk
from arker.vm import AsyncVM


async def run(
    vm: str,
    /,
    *command: str,
    timeout: str | None = None,
    cwd: str | None = None,
    env: Annotated[tuple[str, ...], Parameter(name=("--env", "-e"))] = (),
    session: str | None = None,
    stdin: Annotated[bool, Parameter(negative="--no-stdin")] = True,
    fork: bool = False,
    detach: Annotated[bool, Parameter(name=("--detach", "-d"))] = False,
    where: Where = None,
) -> int:
    """Run a command in a VM: arker run VM -- COMMAND. Its input, output and exit status are those of this program.

    It runs in the VM's default session, which keeps its directory and variables; or in a session of its own while
    something goes on there, and with --detach. Several words are a program and its arguments; a single one is a line
    for the VM's shell, such as 'make 2>&1 | tail'. Ctrl-C kills the command with all that it has started. Exit status
    124: the timeout has passed; 125: there is no status of the command, and a line on standard error says why.

    Args:
        vm: Id or name of the VM.
        command: The command. Write -- before it, so that its options are not taken for those of this program.
        timeout: Time, such as 90s, after which the command is killed.
        cwd: Directory in the VM to run in.
        env: Environment variable as NAME=VALUE; may be given several times.
        session: Id of the session to run in.
        stdin: Pass standard input on.
        fork: VM is a source, such as ubuntu: fork it for this command, and delete the fork at its end.
        detach: Leave the command in the background, and print its run's id.
        where: Where VMs are.
    """
    if not command or not any(command):
        raise UsageError("run: expected a command, as in: arker run VM -- COMMAND")
    if fork and detach:
        raise UsageError("run: --fork deletes the VM at once, so it does not go with --detach")
    line = command[0] if len(command) == 1 else list(command)
    options = {
        "timeout": quantities.seconds("--timeout", timeout),
        "cwd": cwd,
        "env": quantities.variables("--env", env),
    }
    async with connected(where) as client, chosen_vm(client, vm, fork=fork) as machine:
        if detach:
            return await _detached(machine, line, session, options)
        feeds = stdin and standard_input.is_there()
        async with _free_session(machine, session) as free:
            run = await _started(machine, line, {**options, "session_id": free, "stdin": feeds})
            try:
                return await _followed(run, feeds=feeds)
            except BaseException:
                await clean_up(_kill(run))
                raise


async def _detached(vm: AsyncVM, line: str | list[str], session: str | None, options: Mapping[str, object]) -> int:
    """Start a command in the background, and print its run's id. One whose id is not told does not go on."""
    chosen = session or (await vm.create_session(cwd=_directory(vm))).session_id
    try:
        run = await _started(vm, line, {**options, "session_id": chosen})
        try:
            output.write(f"{run.run_id}\n")
        except OSError:
            await clean_up(_kill(run))
            raise
    except BaseException:
        if session is None:
            await clean_up(remove_session(vm, chosen))
        raise
    return statuses.DONE


def _default_session(vm: AsyncVM) -> models.Session | None:
    return next((session for session in vm.sessions or () if session.session_idx == 0), None)


def _directory(vm: AsyncVM) -> str | None:
    """Return the directory of the default session, so that commands beside it begin there, too."""
    session = _default_session(vm)
    return None if session is None else session.cwd or None


@asynccontextmanager
async def _free_session(vm: AsyncVM, session_id: str | None) -> AsyncGenerator[str | None, None]:
    """Choose the session: the given one, else the default one, or one beside it while something goes on there."""
    default = _default_session(vm)
    if session_id is not None or default is None or default.state == "idle":
        yield session_id
        return
    async with vm.open_session(cwd=_directory(vm)) as session:
        yield session.session_id


async def _started(vm: AsyncVM, line: str | list[str], options: dict[str, object]) -> AsyncRun:
    """Start the command. One that Ctrl-C interrupts at its start does not go on either."""
    starting = asyncio.ensure_future(vm.start(line, **options))  # type: ignore[arg-type]
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await clean_up(_kill_when_started(starting))
        raise


async def _kill_when_started(starting: asyncio.Task[AsyncRun]) -> None:
    await clock.wait({starting}, CLEANUP_SECONDS)
    if not starting.done():
        await end(starting)
        complain("the command may have been started, and may go on")
    elif not starting.cancelled() and starting.exception() is None:
        await _kill(starting.result())


async def _kill(run: AsyncRun) -> None:
    if run.ended:
        return
    try:
        await run.cancel(deadline=CLEANUP_SECONDS)
    except ArkerError as error:
        complain(f"the command may go on as run {run.run_id}: {error}")


async def _followed(run: AsyncRun, *, feeds: bool) -> int:
    """Pass on what the command writes and what it is to read, until it has ended. Returns its exit status."""
    failures: list[BaseException] = []

    async def feed() -> None:
        try:
            await _feed(run)
        except ConflictError:
            pass  # it has ended without reading all of its input
        except (ArkerError, OSError) as error:
            failures.append(error)
            await run.cancel(deadline=CLEANUP_SECONDS)

    feeding = asyncio.ensure_future(feed()) if feeds else None
    errors = _Errors()
    try:
        async with while_read():
            async for chunk in run.output():
                for each in errors.take(chunk):
                    await in_thread(write, each)
    finally:
        if feeding is not None:
            await end(feeding)
    if failures:
        raise failures[0]
    if errors.held:
        await run.result()  # which raises if the command was not run
        await in_thread(write, OutputChunk("stderr", errors.held))
    return _status(run)


class _Errors:
    """What comes on standard error, of which a beginning that may say why the command was not run is held back."""

    _MARK: Final = re.compile(rb"arker-[0-9a-f]* ?[a-z]*\n?")

    def __init__(self) -> None:
        self.held = b""
        self._begun = False

    def take(self, chunk: OutputChunk) -> list[OutputChunk]:
        """Return what to pass on."""
        if chunk.stream != "stderr" or self._begun:
            return [chunk]
        data = self.held + chunk.data
        start = b"arker-"
        if self._MARK.fullmatch(data) or start.startswith(data):
            self.held = data
            return []
        self._begun, self.held = True, b""
        return [OutputChunk("stderr", data)]


async def _feed(run: AsyncRun) -> None:
    async with aclosing(standard_input.pieces()) as pieces:
        async for piece in pieces:
            await run.write(piece)
    await run.close_stdin()


def _status(run: AsyncRun) -> int:
    if run.state == "completed" and run.exit_code is not None and run.exit_code >= 0:
        return run.exit_code
    reason = run.fail_reason or ""
    if run.state == "failed" and "timeout" in reason:
        raise FailedError(reason, statuses.TIMED_OUT)
    ended = {"failed": "failed", "cancelled": "was cancelled"}.get(run.state or "", f"is {run.state}")
    raise FailedError(f"the command has no exit status: its run {ended}{f': {reason}' if reason else ''}")


__all__ = ["run"]
