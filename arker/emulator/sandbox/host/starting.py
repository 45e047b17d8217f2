"""How a command starts in a VM, and what its start is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping

from arker.emulator.sandbox.base import HOME, RunSpec, SandboxError
from arker.emulator.sandbox.host.inside import Inside
from arker.emulator.sandbox.host.link import LinkClosedError, anonymous_files
from arker.emulator.sandbox.host.machine import Machine
from arker.emulator.sandbox.host.run import AgentRun
from arker.emulator.sandbox.host.shell import shell_command
from arker.emulator.sandbox.host.supervised import Supervised

_START_TIMEOUT = 30.0


async def start_run(
    machine: Machine,
    inside: Inside,
    spec: RunSpec,
    script: bytes,
    env: Mapping[str, str],
    note: Callable[[AgentRun], object],
) -> AgentRun:
    """Start a command in a session's shell.

    Args:
        machine: The VM.
        inside: What the VM looks like from inside.
        spec: The command.
        script: Its text, encoded.
        env: The environment of a new session.
        note: Called with the run before the VM is told of it: it may go on there although its start has failed.

    Raises:
        SandboxError: the VM refused it.
        LinkClosedError: the VM died.
    """
    script_fd, state_fd = machine.spare_descriptors
    command = shell_command(inside.bash, script, env, script_fd=script_fd, state_fd=state_fd)
    with contextlib.ExitStack() as made:  # all of them or none
        (content,) = anonymous_files(("script", command.script))
        made.callback(os.close, content)
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            made.callback(end.close)
        pipes: list[tuple[int, int]] = []
        for _ in range(3):
            pipes.append(os.pipe())
            for fd in pipes[-1]:
                made.callback(os.close, fd)
        made.pop_all()
    (stdout, stdout_inside), (stderr, stderr_inside), (state, state_inside) = pipes
    fds = [theirs.detach(), stdout_inside, stderr_inside, content, state_inside]
    if inside.owner is not None:  # otherwise /dev/stdout and /dev/stderr could not be opened in the VM
        for fd in (stdout_inside, stderr_inside):
            os.fchown(fd, inside.owner.uid, inside.owner.gid)
    run = AgentRun(
        control=ours,
        stdout=stdout,
        stderr=stderr,
        state=state,
        output_limit=spec.output_limit,
        at_stuck=machine.kill,
        look_after=machine.look_after,
        to_outside=inside.to_outside,
        spool=spec.spool,
        late_output=spec.late_output,
        whole=spec.whole,
    )
    note(run)
    try:
        await machine.link.request(
            "run",
            {
                "argv": command.argv,
                "at": [script_fd, state_fd],
                "cwd": inside.to_inside(spec.cwd),
                "home": inside.to_inside(HOME),
                "env": command.env,
            },
            fds=fds,
        )
    except BaseException:
        run.abandon()
        raise
    return run


async def begun(machine: Machine, run: Supervised) -> None:
    """Wait until a command may have begun."""
    try:
        has_begun = await asyncio.wait_for(asyncio.shield(run.starting), _START_TIMEOUT)
    except BaseException as error:
        run.abandon()  # the supervisor notices the closed socket, and kills what it has started
        if isinstance(error, asyncio.TimeoutError):
            machine.kill()
            raise SandboxError("unavailable", "the VM did not start the command") from None
        raise
    if not has_begun:
        raise LinkClosedError


__all__ = ["begun", "start_run"]
