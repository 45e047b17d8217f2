"""One start of a VM: the processes on the host, and the link to the agent in them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from attrs import field, frozen

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.bubblewrap.identity import Identity, ways_to_start
from arker.emulator.sandbox.bubblewrap.keyring import Keyrings
from arker.emulator.sandbox.host.link import AgentLink, LinkClosedError, anonymous_files
from arker.emulator.sandbox.host.process_tree import (
    Started,
    collect,
    find_below,
    is_stopped,
    kill_group,
    kill_launched,
    kill_tree,
    launched_by,
    started,
    wait_until,
    wake,
)
from arker.emulator.sandbox.host.source import LOADER, agent_program
from arker.emulator.sandbox.pressure import lack, lack_in

_keyrings = Keyrings()

_HELLO_TIMEOUT = 30.0
_LAST_STEPS = 1.0
"""Seconds that a bwrap has to end by itself once what it has started is dead."""
AGENT_NAME = "vm-agent"
"""The agent's process name."""
_SPARE = (197, 198)
_CLEAN_UP = 5.0
"""Seconds that an agent which is no namespace's first process has to kill what it started."""


@frozen(kw_only=True)
class Limits:
    """The limits of each VM, and of what is kept ready for VMs.

    Attributes:
        processes: How many of them at once, where they can be counted.
        open_files: How many each process may have open.
        spares: How many sandboxes may be kept ready.
    """

    processes: int = 512
    open_files: int = 16384
    spares: int = 3


@frozen(kw_only=True)
class Launch:
    """The settings for starting an agent.

    Attributes:
        bwrap: What the agent is started through; None for nothing.
        options: Those of bwrap.
        filter: The system calls that it allows, as bwrap takes it; empty for no filter.
        python: The interpreter, as a path where the agent will be.
        program: The agent's, for that interpreter.
        identity: Who it runs as; None for the server's own user.
        max_processes: How many runs may have at once; 0 where a limit would count more than the VM's.
        max_open_files: How many each process may have.
        env: The agent's environment; of a VM, bwrap's too.
        refused: Volumes that cannot be where they were wanted: path, and why.
        at_start: Called with the processes that a later server has to wait for.
    """

    bwrap: str | None = None
    options: Sequence[str] = ()
    filter: bytes = b""
    python: str
    program: bytes = field(factory=agent_program, repr=False)
    identity: Identity | None = None
    max_processes: int = 0
    max_open_files: int = Limits().open_files
    env: Mapping[str, str] = field(factory=dict[str, str])
    refused: Mapping[str, str] = field(factory=dict[str, str])
    at_start: Callable[[Iterable[Started]], None] | None = None


class Machine:
    """A running VM. `close` removes all traces of it."""

    def __init__(
        self, process: subprocess.Popen[bytes], sock: socket.socket, *, group: bool, max_open_files: int
    ) -> None:
        self._process = process
        self.spare_descriptors = _spare_descriptors(max_open_files)
        """Numbers, for what a shell is handed beside its command's own descriptors."""
        self._group = group
        self._watch: asyncio.Task[None] = asyncio.create_task(self._end_with_link())
        self.link = AgentLink(sock, at_silence=self._wake)
        self._agent: int | None = None
        self.missing: list[str] = []
        """The protections that this machine does not allow, according to the agent, which is not trusted."""
        self._launched: set[Started] = set()
        """The processes that bwrap has started. If bwrap ends first, this process has to collect them."""

    @classmethod
    async def start(cls, launch: Launch) -> Machine:
        """Start an agent and wait for its greeting.

        Raises:
            SandboxError: it did not start; the message has what it wrote.
        """
        (errors,) = anonymous_files(("errors", b""))
        with contextlib.ExitStack() as made:
            made.callback(os.close, errors)
            ours, theirs = socket.socketpair()
            with theirs:
                made.callback(ours.close)
                process = _spawn(launch, theirs.fileno(), errors)
            made.pop_all()
        machine = cls(process, ours, group=launch.bwrap is not None, max_open_files=launch.max_open_files)
        try:
            hello = await asyncio.wait_for(asyncio.shield(machine.link.hello), _HELLO_TIMEOUT)
        except (LinkClosedError, asyncio.TimeoutError) as error:
            await machine.close()
            text = os.pread(errors, 4096, 0).decode("utf-8", "replace").strip()
            reason = lack_in(text)
            code = "unavailable" if reason is None else "resource_pressure"
            raise SandboxError(code, f"the VM did not start: {reason or text or 'no reason given'}") from error
        except BaseException:
            await machine.close()
            raise
        finally:
            os.close(errors)
        missing: object = hello.data.get("missing")
        if isinstance(missing, list):
            machine.missing = [str(each) for each in cast("list[object]", missing)]
        if machine._group:
            machine._launched.update(launched_by(process.pid))
        if launch.at_start is not None:
            try:
                launch.at_start(machine._launched or (started(process.pid),))
            except BaseException:
                await machine.close()
                raise
        return machine

    @property
    def alive(self) -> bool:
        return not self.link.closed

    def kill(self) -> None:
        """Kill every process of the VM from outside, without waiting for it."""
        self._kill_launched()
        self.link.close()  # an agent without namespaces notices that and cleans up

    def look_after(self) -> None:
        """Resume the agent if something in the VM has stopped it. Cheap enough to be called every second."""
        if self._agent is None:
            self._agent = next(iter(find_below(self._process.pid, AGENT_NAME)), 0)
        if is_stopped(self._agent):
            self._wake()

    def _wake(self) -> None:
        if self._process.poll() is None:
            wake(find_below(self._process.pid, AGENT_NAME))  # the supervisors of runs have this name, too

    async def close(self) -> None:
        """Kill every process of the VM and wait until they have ended."""
        self.kill()
        await asyncio.shield(self._watch)

    async def _end_with_link(self) -> None:
        await asyncio.sleep(0)
        await self.link.wait_closed()
        # A bwrap whose agent has died ends by itself, but an agent may also have closed its socket and stayed.
        self._kill_launched()
        await self._see_off()

    async def _see_off(self) -> None:
        """Wait until the process and what it has left have ended."""
        process = self._process
        # An agent without namespaces around it must not be killed in the middle of its clean-up: it has stopped
        # processes, which would stay.
        patience = _LAST_STEPS if self._group else _CLEAN_UP
        if not await wait_until(lambda: process.poll() is not None, process.pid, patience):
            if self._group:
                kill_group(process.pid)
            else:
                await asyncio.to_thread(kill_tree, process.pid)
            await wait_until(lambda: process.poll() is not None, process.pid, None)
        give_up = time.monotonic() + _LAST_STEPS
        for left in self._launched:
            await wait_until(functools.partial(collect, left), left.pid, give_up - time.monotonic())

    def _kill_launched(self) -> None:
        if self._group and self._process.poll() is None:
            found = kill_launched(self._process.pid)
            self._launched.update(found)
            if not found:
                kill_group(self._process.pid)


def _spare_descriptors(limit: int) -> tuple[int, int]:
    """Return two numbers below a limit of descriptors and this process's own, so high that commands hardly ever use
    them.
    """
    try:
        import resource
    except ImportError:  # not a system with such limits
        return _SPARE
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    last = min(_SPARE[1], limit - 1, hard - 1 if hard != resource.RLIM_INFINITY else limit)
    return last - 1, last


def _spawn(launch: Launch, link: int, errors: int) -> subprocess.Popen[bytes]:
    """Start an agent with these descriptors as its socket and its errors. Returns after exec, within a millisecond."""
    starter, ways = ways_to_start(launch.identity)
    with contextlib.ExitStack() as made:
        # Pass them by descriptor: the options contain host paths, and the VM can read the command line.
        arguments = b"".join(os.fsencode(option) + b"\0" for option in launch.options)
        files = anonymous_files(("agent", launch.program), ("options", arguments), ("filter", launch.filter))
        for fd in files:
            made.callback(os.close, fd)
        source, options, filter = files
        outside: list[str] = []
        if launch.bwrap is not None:
            _keyrings.leave()
            outside = [launch.bwrap, "--args", str(options)]
            outside += ["--seccomp", str(filter)] if launch.filter else []
            outside.append("--")
        try:
            # Start it in the loop's own thread: --die-with-parent acts when the starting thread ends.
            return subprocess.Popen(
                [
                    *starter,
                    *outside,
                    *(launch.python, "-I", "-S", "-B", "-X", "utf8", "-c", LOADER),
                    *(str(link), str(source)),
                    *(str(int(launch.bwrap is not None)), str(launch.max_processes)),
                    str(launch.max_open_files),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(link, source) if launch.bwrap is None else (link, source, options, filter),
                start_new_session=True,
                env=launch.env,  # empty for isolated ones: /proc/1/environ of a VM shows what bwrap was started with
                cwd="/",
                **ways,
            )
        except OSError as error:
            reason = lack(error)
            code = "unavailable" if reason is None else "resource_pressure"
            raise SandboxError(code, f"the VM could not be started: {reason or error}") from error


__all__ = ["Launch", "Limits", "Machine"]
