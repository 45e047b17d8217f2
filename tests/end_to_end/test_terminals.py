"""Terminals of VMs, beside terminals of this machine: the same is typed into both, and the same has to appear."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from arker import (
    AsyncArker,
    AsyncTerminal,
    AsyncVM,
    ConfigurationError,
    NetworkError,
    NotFoundError,
    Replayed,
    ResourceBusyError,
    TerminalClosedError,
)
from arker.emulator import Emulator
from tests.support.relay import Relay, relay
from tests.support.sittings import SHELL, begin, edit, end_editing, use_shell
from tests.support.typist import ENV, PATIENCE, Local, Remote, at_local, at_remote, in_terminal

pytestmark = [pytest.mark.anyio, pytest.mark.needs("terminals")]


@asynccontextmanager
async def both(
    vm: AsyncVM, place: Path, *, cols: int = 80, rows: int = 24
) -> AsyncGenerator[tuple[Remote, Local], None]:
    """Sit down at two shells: one in the VM, one here."""
    terminal = vm.terminal(cols=cols, rows=rows, env=ENV, deadline=PATIENCE)
    local = at_local(in_terminal(SHELL, str(place), ENV), cols=cols, rows=rows)
    async with terminal, at_remote(terminal) as there, local as here:
        for typist in (there, here):
            await begin(typist)
        yield there, here


@asynccontextmanager
async def through_relay(emulator: Emulator, vm: AsyncVM) -> AsyncGenerator[tuple[Relay, AsyncVM], None]:
    """Reach a VM through a network that can fail."""
    async with (
        relay(emulator.url) as network,
        AsyncArker(emulator.api_key, base_url=network.url, control_base_url=network.url) as ar,
    ):
        yield network, ar.vm(vm.id)


async def test_the_same_appears_as_at_a_terminal_of_this_machine(vm: AsyncVM, tmp_path: Path) -> None:
    async with both(vm, tmp_path) as (there, here):
        await asyncio.gather(use_shell(there), use_shell(here))
        assert there.seen.decode("utf-8", "backslashreplace") == here.seen.decode("utf-8", "backslashreplace")
        assert there.screen == here.screen
        assert await there.terminal.wait(deadline=PATIENCE) == 7
        assert (there.replays, there.terminal.exit_code, there.terminal.ended) == (0, 7, True)


async def test_a_megabyte_arrives_whole(vm: AsyncVM, tmp_path: Path) -> None:
    async with both(vm, tmp_path) as (there, here):
        for typist in (there, here):
            await typist.enter("seq 1 160000 | head -c 1000000; exit", b"exit")
            await typist.until_over()
        assert there.seen == here.seen
        assert len(there.seen) > 1_000_000


@pytest.mark.skipif(shutil.which("vi") is None, reason="this machine has no vi")
async def test_an_editor_looks_the_same_although_the_connection_is_lost(
    emulator: Emulator, vm: AsyncVM, tmp_path: Path
) -> None:
    async with through_relay(emulator, vm) as (network, reached), both(reached, tmp_path) as (there, here):
        await asyncio.gather(edit(there, network), edit(here))
        assert there.screen == here.screen
        assert there.replays == 1
        for typist in (there, here):
            await end_editing(typist)
        assert there.screen == here.screen


async def test_top_follows_the_size(vm: AsyncVM, tmp_path: Path) -> None:
    async with vm.terminal("/usr/bin/top", env=ENV) as terminal, at_remote(terminal) as there:
        await there.until_on_screen("PID")
        await there.resize(120, 40)
        before = len(there.seen)
        await there.until(b"PID", before)
        await there.type(b"q")
        await there.until_over()
        assert terminal.exit_code == 0


# --- sessions and connections -----------------------------------------------------------------------------------------


async def until(terminal: AsyncTerminal, text: bytes) -> list[bytes | Replayed]:
    """Read until a text has come."""
    pieces: list[bytes | Replayed] = []
    with anyio.fail_after(PATIENCE):
        async for piece in terminal:
            pieces.append(piece)
            if text in b"".join(each for each in pieces if isinstance(each, bytes)):
                return pieces
    raise AssertionError(pieces)


async def test_a_program_goes_on_in_a_session_of_the_callers(vm: AsyncVM) -> None:
    session = await vm.create_session(cwd="/tmp", env={"A": "b"})
    held = vm.terminal(session_id=session.session_id)
    async with held as terminal:
        await terminal.write("echo $A-$PWD; value=kept\n")
        await until(terminal, b"b-/tmp")
        with pytest.raises(ResourceBusyError, match="attached"):
            await vm.terminal(session_id=session.session_id).open()
        with pytest.raises(ResourceBusyError, match="terminal"):
            await vm.run("true", session_id=session.session_id)
        assert (await vm.get_session(session.session_id)).state == "running"
        assert (terminal.session_id, terminal.vm_id) == (session.session_id, vm.id)
    with pytest.raises(ConfigurationError, match="closed"):
        await held.read()
    async with vm.terminal(session_id=session.session_id) as terminal:
        await until(terminal, b"b-/tmp")
        await terminal.write("echo $value; exit\n")
        await until(terminal, b"kept\r\n")
        assert await terminal.wait(deadline=PATIENCE) == 0
        with pytest.raises(TerminalClosedError, match="has ended"):
            await terminal.write("x")
    assert (await vm.run("echo free", session_id=session.session_id)).stdout_text == "free\n"


async def test_one_that_does_not_persist_ends_with_its_connection(vm: AsyncVM) -> None:
    session = await vm.create_session()
    async with vm.terminal(session_id=session.session_id, persist=False) as terminal:
        await terminal.write("(sleep 1234 &) ; exec sleep 1235\n")
        await until(terminal, b"1235\r\n")
    while (await vm.get_session(session.session_id)).state != "idle":
        await asyncio.sleep(0.01)
    found = await vm.run("ps -eo args | grep -c '[s]leep 123'")
    assert found.stdout_text == "0\n"


async def test_a_session_of_its_own_is_deleted(vm: AsyncVM) -> None:
    async with vm.terminal() as terminal:
        await terminal.write("exec sleep 1236\n")
        await until(terminal, b"1236\r\n")
        assert len((await vm.list_sessions()).sessions) == 2
    assert len((await vm.list_sessions()).sessions) == 1
    assert (await vm.run("ps -eo args | grep -c '[s]leep 1236'")).stdout_text == "0\n"


async def test_it_is_killed(vm: AsyncVM) -> None:
    async with vm.terminal() as terminal:
        await terminal.write("trap '' HUP INT TERM; sleep 1237; sleep 1238\n")
        await until(terminal, b"1238\r\n")
        await terminal.kill()
        assert await terminal.wait(deadline=PATIENCE) is None
        async for _ in terminal:  # it may have written more before its end
            pass
        assert await terminal.read() == b""


async def test_the_end_of_its_session_and_its_vm_are_told(ar: AsyncArker, vm: AsyncVM) -> None:
    async with vm.terminal() as terminal:
        await vm.delete_session(terminal.session_id)
        with pytest.raises(NotFoundError) as caught:
            await terminal.wait(deadline=PATIENCE)
        assert (caught.value.vm_id, caught.value.operation) == (vm.id, "vm.terminal")
    held = await vm.terminal().open()
    await vm.delete()
    with pytest.raises(NotFoundError):
        async for _ in held:
            pass
    with pytest.raises(NotFoundError):
        await vm.terminal().open()


async def test_a_lost_connection_is_made_again_for_some_time(emulator: Emulator, vm: AsyncVM) -> None:
    async with through_relay(emulator, vm) as (network, reached), reached.terminal() as terminal:
        await terminal.write("echo be''fore\n")
        await until(terminal, b"before")
        network.cut()
        while isinstance(piece := await anext(terminal), bytes):  # the prompt may come before the connection is lost
            pass
        assert piece == Replayed(connections=2)
        await terminal.write("echo af''ter\n")
        assert b"before" in b"".join(piece for piece in await until(terminal, b"after") if isinstance(piece, bytes))
    async with through_relay(emulator, vm) as (network, reached), reached.terminal(reconnect=0.2) as terminal:
        await terminal.write("echo be''fore\n")
        await until(terminal, b"before")
        network.refusing = True
        network.cut()
        with pytest.raises(NetworkError) as caught:
            await terminal.wait(deadline=PATIENCE)
        assert caught.value.vm_id == vm.id
        with pytest.raises(NetworkError):
            await terminal.write("x")
        network.refusing = False


async def test_a_stream_of_anyio(vm: AsyncVM) -> None:
    async with vm.terminal("/bin/cat", env=ENV) as terminal:
        stream = terminal.stream
        await stream.send(b"line\n")
        received = b""
        while received.count(b"line") < 2:
            received += await stream.receive(3)
        await stream.send_eof()
        while not terminal.ended:
            await anyio.sleep(0.005)
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


@pytest.mark.parametrize("typed", [b"amid a line", b"amid one\t", b"a line\n", b"", "\N{EURO SIGN}".encode()])
async def test_the_end_of_input_of_a_stream_reaches_the_program(vm: AsyncVM, typed: bytes) -> None:
    async with vm.terminal("/bin/cat", env=ENV) as terminal:
        await terminal.stream.send(typed)
        await terminal.stream.send_eof()
        assert await terminal.wait(deadline=PATIENCE) == 0
        assert typed.strip() in b"".join([piece async for piece in terminal if isinstance(piece, bytes)])


async def test_a_cancelled_read_loses_nothing(vm: AsyncVM) -> None:
    async with vm.terminal("/bin/cat", env=ENV) as terminal:
        await terminal.write("a\n")
        seen = b""
        for number in range(200):
            reading = asyncio.ensure_future(terminal.read(4))
            await asyncio.sleep(0 if number % 2 else 0.0005)
            if number % 10 == 0:
                await terminal.write(b"%d\n" % number)
            reading.cancel()
            try:
                seen += await reading
            except asyncio.CancelledError:
                pass
        await terminal.write(b"\x04")
        while data := await terminal.read():
            seen += data
        assert sorted(seen.split()) == sorted(
            [
                b"a",
                b"a",
                *(b"%d" % number for number in range(0, 200, 10)),
                *(b"%d" % number for number in range(0, 200, 10)),
            ]
        )


async def test_a_kill_overtakes_input_that_the_program_does_not_take(vm: AsyncVM) -> None:
    async with vm.terminal() as terminal:
        await terminal.write("stty raw -echo; echo re''ady; exec sleep 1239\n")
        await until(terminal, b"ready")
        await terminal.write(b"x" * 100_000)
        await terminal.kill()
        assert await terminal.wait(deadline=PATIENCE) is None


async def test_closing_one_whose_session_or_vm_is_gone_is_no_error(ar: AsyncArker, vm: AsyncVM) -> None:
    terminal = await vm.terminal().open()
    await vm.delete_session(terminal.session_id)
    await terminal.close()
    other = await vm.terminal().open()
    await vm.delete()
    await other.close(deadline=PATIENCE)
    assert repr(other).endswith("closed>")


async def test_the_end_after_a_kill_is_told_though_the_output_is_not_read(vm: AsyncVM) -> None:
    async with vm.terminal("/usr/bin/yes") as terminal:
        await terminal.read(1)
        await asyncio.sleep(0.5)  # the buffers on the way fill
        await terminal.kill()
        assert await terminal.wait(deadline=PATIENCE) is None
        assert set(await terminal.read()) <= set(b"y\r\n")
