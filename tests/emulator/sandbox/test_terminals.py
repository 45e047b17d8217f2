"""Terminals in VMs: made inside, shared with nothing, and gone with what they belong to."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from arker.emulator.sandbox.base import SandboxError, TerminalHandle, TerminalSpec
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from arker.emulator.sandbox.host.terminal import AgentTerminal
from tests.emulator.sandbox.support import descriptors, rest_after, sh
from tests.support.sittings import RESIZED

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="VMs need Linux")]

ENV = {"PATH": "/usr/bin:/bin", "TERM": "dumb", "PS1": "$ "}


@asynccontextmanager
async def opened(
    vm: AgentSandbox, command: str | None = "/bin/sh", *, cols: int = 80, rows: int = 24
) -> AsyncGenerator[TerminalHandle, None]:
    """Open a terminal, which is over at the end."""
    terminal = await vm.open_terminal(TerminalSpec(command=command, env=ENV, cols=cols, rows=rows))
    try:
        yield terminal
    finally:
        await terminal.kill()
        terminal.close()


async def until(terminal: TerminalHandle, text: bytes) -> bytes:
    """Read until a text has come."""
    seen = b""
    while text not in seen:
        data = await asyncio.wait_for(terminal.read(), 60)
        assert data, seen
        seen += data
    return seen


async def rest(terminal: TerminalHandle) -> bytes:
    seen = b""
    while data := await asyncio.wait_for(terminal.read(), 60):
        seen += data
    return seen


async def test_it_is_the_controlling_terminal_of_the_vms_user(vm: AgentSandbox) -> None:
    async with opened(vm, cols=91, rows=33) as terminal:
        await terminal.write(b"stty size; tty; ps -o tty=,sid=,pid=,user= -p $$; ls -l /dev/tty; echo e''nd\n")
        lines = (await until(terminal, b"end")).decode().split("\r\n")
        assert any(line.endswith("33 91") for line in lines)  # it may come behind a prompt
        assert "/dev/pts/0" in lines
        (line,) = [line for line in lines if line.startswith("pts/0")]
        _, session, process, user = line.split()
        assert (session, user) == (process, "user")


async def test_its_size_is_told_to_its_program(vm: AgentSandbox) -> None:
    async with opened(vm) as terminal:
        # Not the terminal's own shell: the signal goes to what is in the foreground, which is each command in its turn.
        await terminal.write(RESIZED.encode() + b"\n")
        await until(terminal, b"begun")
        terminal.resize(120, 50)
        await until(terminal, b"50 120")


async def test_a_program_that_cannot_be_started(vm_alone: AgentSandbox) -> None:
    vm = vm_alone
    await rest_after(vm, "true")
    before = descriptors()
    for command, reason in (("/nowhere", "No such file"), ("/etc", "denied")):
        with pytest.raises(SandboxError, match=reason) as caught:
            await vm.open_terminal(TerminalSpec(command=command, env=ENV))
        assert caught.value.code == "bad_request"
    assert descriptors() <= before
    assert (await sh(vm, "ls /dev/pts")).text == "ptmx"


async def test_nothing_is_left_of_it(vm_alone: AgentSandbox) -> None:
    vm = vm_alone
    await rest_after(vm, "true")
    before = descriptors()
    for _ in range(3):
        async with opened(vm) as terminal:
            await terminal.write(b"exit 3\n")
            await rest(terminal)
            assert (await terminal.wait()).exit_code == 3
        async with opened(vm) as terminal:
            await terminal.write(b"trap '' HUP INT TERM; sleep 1000\n")
            await until(terminal, b"1000\r\n")
    assert descriptors() <= before
    left = await sh(vm, "ls /dev/pts; ls /proc/1/fd 2>/dev/null | wc -l; ps -eo comm= | sort | uniq -c")
    assert "ptmx" in left.text
    assert "pts/0" not in left.text
    assert "sleep" not in left.text


async def test_vms_see_only_their_own(vm: AgentSandbox, other_vm: AgentSandbox) -> None:
    look = "ls /dev/pts | tr '\\n' ' '; (echo intruder > /dev/pts/0) 2>&1 | tail -c 40"
    async with opened(vm) as terminal:
        found = await sh(other_vm, look)
        assert found.text.startswith("ptmx ")
        assert "No such file" in found.text or "Permission" in found.text
        async with opened(other_vm) as another:
            await another.write(b"tty; echo o''ther\n")
            assert b"/dev/pts/0" in await until(another, b"other")
        await terminal.write(b"echo m''ine\n")
        seen = await until(terminal, b"mine")
        assert b"intruder" not in seen
        assert b"other" not in seen


async def test_a_program_waits_for_its_reader(vm: AgentSandbox) -> None:
    async with opened(vm) as terminal:
        await terminal.write(
            b"stty -opost; for i in 1 2 3 4; do head -c 1000000 /dev/zero; echo $i >> done; done; exit\n"
        )
        await asyncio.sleep(0.3)
        assert (await sh(vm, "cat done 2>/dev/null | wc -l")).text == "0"
        assert (await rest(terminal)).count(b"\0") == 4_000_000
        assert (await sh(vm, "cat done | wc -l")).text == "4"


async def test_writing_waits_for_the_program(vm: AgentSandbox) -> None:
    async with opened(vm, "/bin/bash") as terminal:
        await terminal.write(b"stty raw -echo; echo ra''w; sleep 0.3; head -c 300000 | sha256sum; exit\n")
        await until(terminal, b"raw\n")  # before that, the terminal takes lines
        content = bytes(range(256)) * 1200
        await asyncio.wait_for(terminal.write(content[:300_000]), 60)
        assert hashlib.sha256(content[:300_000]).hexdigest() in (await rest(terminal)).decode()


async def test_it_ends_with_the_vm(vm: AgentSandbox, other_vm: AgentSandbox) -> None:
    terminal = await other_vm.open_terminal(TerminalSpec(command="/bin/sh", env=ENV))
    assert isinstance(terminal, AgentTerminal)
    await until(terminal, b"$ ")
    reading = asyncio.ensure_future(rest(terminal))
    await other_vm.close()
    assert await reading == b""
    assert (await terminal.wait()).exit_code is None
    assert not terminal.going
    await terminal.write(b"dropped")
    terminal.close()
    async with opened(other_vm) as again:  # it is started again
        await until(again, b"$ ")


async def test_a_shell_may_close_its_terminal_and_open_it_again(vm: AgentSandbox) -> None:
    async with opened(vm) as terminal:
        await terminal.write(b"exec sh -c 'exec 0<&- 1>&- 2>&-; sleep 0.3; exec 1>/dev/tty; echo ba''ck; exit 4'\n")
        await until(terminal, b"back")
        assert (await terminal.wait()).exit_code == 4
