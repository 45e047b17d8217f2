"""A VM that an agent serves from inside. It is started at first use, and started again after it died."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import TypeVar

from attrs import evolve

from arker.emulator.sandbox.base import (
    HOME,
    FileReader,
    FileWriter,
    Outlet,
    RunHandle,
    RunSpec,
    SandboxError,
    TerminalHandle,
    TerminalSpec,
    Volume,
)
from arker.emulator.sandbox.host.inside import Inside
from arker.emulator.sandbox.host.link import LinkClosedError, Reply
from arker.emulator.sandbox.host.machine import Launch, Machine
from arker.emulator.sandbox.host.open_files import AgentFileReader, AgentFileWriter
from arker.emulator.sandbox.host.run import AgentRun
from arker.emulator.sandbox.host.starting import begun, start_run
from arker.emulator.sandbox.host.supervised import Supervised
from arker.emulator.sandbox.host.terminal import AgentTerminal, start_terminal
from arker.emulator.sandbox.outlet import HOST, PORT, open_outlet
from arker.emulator.sandbox.pressure import telling
from arker.emulator.sandbox.tree import Tree
from arker.emulator.sandbox.volumes import Volumes, check_volumes

_T = TypeVar("_T")
_COMMIT_TIMEOUT = 600.0
_GOING = 0.05
_AFTERMATH = 1.0
_LAST_STEPS = 0.3
"""Seconds that a fork may wait for what looks after a command that has ended: copying many files takes longer."""


class AgentSandbox:
    """The `Sandbox` over a tree of files and a way to start an agent on it."""

    def __init__(
        self,
        *,
        tree: Tree,
        launch: Callable[[Tree, Volumes], Awaitable[Launch]],
        inside: Inside,
        outlet: Outlet | None,
        at_delete: Callable[[], object],
        warm: Callable[[Tree], Awaitable[Machine | None]] | None = None,
    ) -> None:
        self._at_delete = at_delete
        self._tree = tree
        self._launch = launch
        self._warm = warm
        """Gives the tree a machine that has been started already, if there is one."""
        self._inside = inside
        self._outlet = outlet
        self._env = inside.env if outlet is None else {**inside.env, **outlet.variables(HOST, PORT)}
        self._machine: Machine | None = None
        self._runs: set[Supervised] = set()
        """What goes on in the VM: commands and terminals."""
        self._deleted = False
        self._last_file = 0
        self._open_files: set[int] = set()
        self._volumes: Volumes = {}
        """The volumes that the VM will have from its next start on."""
        self._bound: Volumes = {}
        """The volumes that the running machine was started with."""
        self._refused: Mapping[str, str] = {}
        # Held while the VM is started or its files are changed from outside, so that a copy is consistent.
        self._lock = asyncio.Lock()

    @property
    def initial_env(self) -> Mapping[str, str]:
        return self._env

    @property
    def tree(self) -> Tree:
        return self._tree

    async def run(self, spec: RunSpec) -> RunHandle:
        if "\0" in spec.command:
            raise SandboxError("bad_request", "a command cannot contain a NUL character")
        try:
            script = os.fsencode(spec.command)
        except UnicodeEncodeError as error:
            raise SandboxError("bad_request", "the command has no encoding in UTF-8") from error

        async def attempt(machine: Machine) -> AgentRun:
            self._runs = {run for run in self._runs if run.going}
            env = spec.env or self._env
            run = await start_run(machine, self._inside, spec, script, env, self._runs.add)
            await begun(machine, run)
            return run

        return await self._with_machine(attempt)

    async def open_terminal(self, spec: TerminalSpec) -> TerminalHandle:
        spec = evolve(spec, env=spec.env or self._env)

        async def attempt(machine: Machine) -> AgentTerminal:
            self._runs = {run for run in self._runs if run.going}
            terminal = await start_terminal(machine, self._inside, spec)
            self._runs.add(terminal)
            try:
                await begun(machine, terminal)
            except BaseException:
                terminal.close()
                raise
            return terminal

        terminal = await self._with_machine(attempt)
        reason = await terminal.refusal()
        if reason is not None:
            terminal.close()
            raise SandboxError("bad_request", reason)
        return terminal

    async def open_read(self, path: str) -> FileReader:
        reply = await self._ask("read", path=self._path(path))
        size = reply.data.get("size")
        if len(reply.fds) != 1 or not isinstance(size, int):
            raise await self._distrust(reply)
        return AgentFileReader(reply.fds[0], size)

    async def open_write(self, path: str, size: int) -> FileWriter:
        target = self._path(path)
        self._last_file += 1
        number = self._last_file

        async def attempt(machine: Machine) -> AgentFileWriter:
            try:
                reply = await machine.link.request("write", {"path": target, "file": number})
            except SandboxError as error:
                if error.code == "resource_pressure":  # the agent may have opened it, and it had no place here
                    with contextlib.suppress(SandboxError):
                        await machine.link.request("abort", {"file": number})
                raise
            if len(reply.fds) != 1:
                raise await self._distrust(reply)
            self._open_files.add(number)
            return AgentFileWriter(reply.fds[0], lambda op: self._finish_write(machine, op, number))

        return await self._with_machine(attempt)

    async def connect(self, port: int) -> socket.socket:
        if not 0 < port < 65536:
            raise SandboxError("bad_request", f"there is no port {port}")
        for host in ("127.0.0.1", "::1"):
            with contextlib.suppress(SandboxError):
                reply = await self._ask("connect", host=host, port=port)
                if len(reply.fds) != 1:
                    raise await self._distrust(reply)
                connection = socket.socket(fileno=reply.fds[0])
                if await _connected(connection):
                    return connection
                connection.close()
        raise SandboxError("unavailable", f"nothing listens on port {port} in the VM")

    async def bind(self, volumes: Mapping[str, Volume]) -> None:
        self._check_exists()
        self._volumes = check_volumes(volumes, self._inside.reserved)
        async with self._lock:
            self._check_exists()
            running = self._machine is not None and self._machine.alive
            if running and self._inside.restarts:
                if self._bound == self._volumes:
                    return
                # The supervisor of a command lives a moment longer than the command.
                if not await self._is_idle(aftermath=_AFTERMATH):
                    self._refused = {}  # obstacles are looked for at the next start
                    return
                await self._stop()
            # This does not start the VM. It finds out now what is in the way of a volume.
            with telling():
                self._take(await self._launch(self._tree, self._volumes))

    def unbound(self, path: str) -> str | None:
        if path in self._refused:
            return self._refused[path]
        running = self._machine is not None and self._machine.alive
        if running and self._inside.restarts and self._bound.get(path) is not self._volumes.get(path):
            return "something is going on in the VM: it sees the filesystem from its next start on, once nothing is"
        return None

    def obstacle(self, path: str) -> str | None:
        return self._refused.get(path)

    def holds(self, volume: Volume) -> bool:
        return self._machine is not None and self._machine.alive and volume in self._bound.values()

    async def delete(self) -> None:
        self._deleted = True
        async with self._lock:
            await self._stop()
            await self._tree.remove()
        self._at_delete()

    async def close(self) -> None:
        """Kill every process. The files stay."""
        async with self._lock:
            await self._stop()

    @asynccontextmanager
    async def frozen(self, better_at_rest: Callable[[], Awaitable[bool]]) -> AsyncGenerator[bool]:
        """Freeze the tree: nothing changes in it inside this context. Returns whether there is nothing running on it.

        Args:
            better_at_rest: Tells whether it is worth a start of the VM's processes, later, that none run now. They are
                ended for it if nothing is lost by that.
        """
        async with self._lock:
            self._check_exists()
            machine = self._machine
            if machine is not None and machine.alive and await better_at_rest() and await self._rests(machine):
                await self._stop()
                machine = None
            if machine is None or not machine.alive:
                await self._stop()
                yield True
                return
            try:
                with contextlib.suppress(LinkClosedError):
                    await machine.link.request("stop")
                yield False
            finally:
                # Shielded from cancellation: the request is sent at once, and the reply has no new information.
                with contextlib.suppress(LinkClosedError, SandboxError):
                    await asyncio.shield(asyncio.ensure_future(machine.link.request("continue")))

    async def _finish_write(self, machine: Machine, op: str, number: int) -> None:
        """Commit or abort a pending file of a machine that may have ended."""
        self._open_files.discard(number)
        async with self._lock:
            try:
                await machine.link.request(op, {"file": number}, timeout=_COMMIT_TIMEOUT)
            except LinkClosedError:
                if op == "commit":
                    raise SandboxError("unavailable", "the VM died before the file was in place") from None

    # --- the machine ---

    async def _with_machine(self, attempt: Callable[[Machine], Awaitable[_T]]) -> _T:
        """Run a repeatable step on the machine. If the VM dies before the step has begun, it is tried once more."""
        for last in (False, True):
            async with self._lock:
                with telling():
                    machine = await self._started()
                try:
                    with telling():
                        return await attempt(machine)
                except LinkClosedError:
                    if last:
                        raise SandboxError("unavailable", "the VM died") from None
                    machine.kill()
        raise AssertionError

    async def _ask(self, op: str, **fields: str | int) -> Reply:
        return await self._with_machine(lambda machine: machine.link.request(op, fields))

    def _check_exists(self) -> None:
        if self._deleted:
            raise SandboxError("not_found", "the VM has been deleted")

    async def _started(self) -> Machine:
        self._check_exists()
        machine = self._machine
        if machine is not None and machine.alive:
            wanted = {path: volume for path, volume in self._volumes.items() if path not in self._refused}
            if not self._inside.restarts or wanted == self._bound or not await self._is_idle(aftermath=0):
                return machine
        await self._stop()
        machine = None
        if not self._volumes and self._warm is not None:
            self._refused, self._bound = {}, {}
            machine = await self._warm(self._tree)
        if machine is None:
            launch = await self._launch(self._tree, self._volumes)
            self._take(launch)
            machine = await Machine.start(launch)
        if self._outlet is not None:
            try:
                await open_outlet(machine.link, self._outlet)
            except BaseException:
                await machine.close()
                raise
        self._machine = machine
        return machine

    def _take(self, launch: Launch) -> None:
        self._refused = launch.refused
        self._bound = {path: volume for path, volume in self._volumes.items() if path not in launch.refused}

    async def _rests(self, machine: Machine) -> bool:
        """Return whether the machine can be ended without any loss, that of files in ``/dev/shm`` included."""
        with contextlib.suppress(LinkClosedError, SandboxError):
            return (
                await self._is_idle(aftermath=_LAST_STEPS)
                and (await machine.link.request("rests")).data.get("rests") == 1
            )
        return False

    async def _is_idle(self, *, aftermath: float) -> bool:
        """Return whether the machine can be ended without loss: no command, no leftover process, no open upload."""
        runs = [run for run in self._runs if run.going]
        ends = [run.ended_at for run in runs if run.ended_at is not None]
        if self._open_files or len(ends) < len(runs):
            return False
        if runs:
            patience = max(_GOING, max(ends) + aftermath - asyncio.get_running_loop().time())
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(run.wait_gone() for run in runs)), patience)
        return not any(run.going for run in runs)

    async def _stop(self) -> None:
        machine, self._machine = self._machine, None
        if machine is not None:
            await machine.close()
        for run in tuple(self._runs):
            run.abandon()
        self._runs.clear()
        self._open_files.clear()

    async def _distrust(self, reply: Reply) -> SandboxError:
        for fd in reply.fds:
            os.close(fd)
        if self._machine is not None:
            self._machine.kill()
        return SandboxError("internal", "the VM's agent gave an answer that makes no sense")

    def _path(self, path: str) -> str:
        try:
            encoded = os.fsencode(path)
        except UnicodeEncodeError as error:
            raise SandboxError("bad_request", "the path has no encoding in UTF-8") from error
        if not path or b"\0" in encoded:
            raise SandboxError("bad_request", "a path cannot be empty or contain a NUL character")
        inside = self._inside.to_inside(str(PurePosixPath(HOME, path)))
        return inside + "/" if path.endswith(("/", "/.")) and inside != "/" else inside


async def _connected(connection: socket.socket, timeout: float = 5.0) -> bool:
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not writable.done():
            writable.set_result(None)

    loop.add_writer(connection, ready)
    try:
        await asyncio.wait_for(writable, timeout)
    except asyncio.TimeoutError:
        return False
    finally:
        loop.remove_writer(connection)
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


__all__ = ["AgentSandbox"]
