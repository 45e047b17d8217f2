"""Commands with an environment, a directory, an input and watchers, on the embedded backend."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    LocalFileError,
    NetworkError,
    RunFailedError,
    UnavailableError,
    WorkingDirectoryError,
)
from arker.emulator import Emulator
from tests.support.length import times
from tests.support.waiting import PATIENCE, longer_and_longer

pytestmark = pytest.mark.anyio

LEFT = "ls -A /tmp; for f in /proc/[0-9]*/comm; do cat $f; done 2>/dev/null | grep -c sleep"
"""A command that shows staged files, and the number of processes that sleep."""
NOTHING = b"0\n"
LARGE = random.Random(5).randbytes(3_000_000)


async def test_a_command_gets_its_environment_and_directory(vm: AsyncVM) -> None:
    result = await vm.run('echo "$A|$B"; pwd; cd /; export A=2; exit 3', env={"A": "it's\n$HOME", "B": ""}, cwd="/usr")
    assert (result.stdout, result.stderr, result.exit_code) == (b"it's\n$HOME|\n/usr\n", b"", 3)
    after = await vm.run('echo "[$A]"; pwd')
    assert after.stdout == b"[]\n/home/user\n"
    assert (await vm.run(["printenv", "A"], env={"A": "x y"})).stdout == b"x y\n"
    assert (await vm.run("cat", env={})).stdout == b""


async def test_directories(vm: AsyncVM) -> None:
    await vm.run("mkdir -p 'a b/c' /srv/x 2>/dev/null; mkdir -p /tmp/d/e")
    assert (await vm.run("pwd", cwd="a b/c")).stdout == b"/home/user/a b/c\n"
    assert (await vm.run("pwd", cwd=PurePosixPath("/tmp/d"))).stdout == b"/tmp/d\n"
    await vm.run("cd /tmp/d")
    assert (await vm.run("pwd", cwd="e")).stdout == b"/tmp/d/e\n"
    assert (await vm.run("pwd", cwd="~/a b")).stdout == b"/home/user/a b\n"


@pytest.mark.parametrize(
    ("cwd", "number"), [("/nowhere/at all", errno.ENOENT), ("/etc/passwd", errno.ENOTDIR), ("/closed", errno.EACCES)]
)
async def test_a_directory_that_cannot_be_entered(vm: AsyncVM, cwd: str, number: int) -> None:
    if cwd == "/closed":
        cwd = "closed"
        await vm.run("mkdir closed; chmod 0 closed")
        if (await vm.run("cd closed")).exit_code == 0:
            pytest.skip("this user enters every directory")
    with pytest.raises(WorkingDirectoryError) as caught:
        await vm.run("touch ran", cwd=cwd, env={"A": "secret-value"})
    error = caught.value
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.filename, error.outcome) == (number, cwd, "not_started")
    assert error.run_id is not None
    assert cwd in str(error)
    assert "secret-value" not in str(error)
    run = await vm.start("touch ran", cwd=cwd)
    with pytest.raises(WorkingDirectoryError):
        await run.wait()
    assert (await vm.run("ls ran")).exit_code != 0


async def test_the_client_s_own_word_of_it_is_not_seen(vm: AsyncVM) -> None:
    shown: list[object] = []
    with pytest.raises(WorkingDirectoryError):
        await vm.run("true", cwd="/nowhere", on_stdout=shown.append, on_stderr=shown.append)
    run = await vm.start("true", cwd="/nowhere")

    async def follow(items: AsyncIterator[object]) -> None:
        async for each in items:
            shown.append(each)

    for items in (run.output(), run.lines()):
        with pytest.raises(WorkingDirectoryError):
            await follow(items)
    assert not any(shown), shown
    await vm.run("echo out; echo err >&2; exit 125", cwd="/", on_stdout=shown.append, on_stderr=shown.append)
    assert "".join(str(text) for text in shown) in ("out\nerr\n", "err\nout\n")


async def test_a_status_of_the_commands_own_is_no_refusal(vm: AsyncVM) -> None:
    result = await vm.run("echo arker-0123 missing >&2; exit 125", cwd="/usr")
    assert (result.exit_code, result.stderr) == (125, b"arker-0123 missing\n")


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 100_000, len(LARGE)])
async def test_inputs_of_every_size(vm: AsyncVM, tmp_path: Path, size: int) -> None:
    data = LARGE[:size]
    digest = hashlib.sha256(data).hexdigest().encode()
    file = tmp_path / "input"
    file.write_bytes(data)
    given: tuple[Any, ...] = (data, file, memoryview(data), bytearray(data))
    for each in given:
        assert (await vm.run("sha256sum | cut -c 1-64", input=each)).stdout.strip() == digest
        run = await vm.start("sha256sum | cut -c 1-64", input=each)
        assert (await run.wait()).stdout.strip() == digest
    assert (await vm.run(LEFT)).stdout == NOTHING


async def test_text_as_input(vm: AsyncVM) -> None:
    assert (await vm.run("cat", input="grün\n")).stdout_text == "grün\n"
    assert (await vm.run("exit 2", input="x" * 100_000)).exit_code == 2
    assert (await vm.run(LEFT)).stdout == NOTHING


async def test_a_file_that_is_none(vm: AsyncVM, tmp_path: Path) -> None:
    with pytest.raises(LocalFileError) as caught:
        await vm.run("cat", input=tmp_path / "none")
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(LocalFileError):
        await vm.run("cat", input=tmp_path)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("env", ["A=1"]),
        ("env", {"": "x"}),
        ("env", {"a-b": "x"}),
        ("env", {"1a": "x"}),
        ("env", {"A=B": "x"}),
        ("env", {"UID": "5"}),
        ("env", {b"A": "x"}),
        ("cwd", ""),
        ("cwd", b"/usr"),
        ("cwd", "a\0b"),
        ("cwd", "~root/x"),
        ("input", 5),
        ("input", ["a"]),
        ("input", "\udc00"),
        ("on_cancel", "stop"),
        ("on_cancel", None),
        ("on_stdout", 5),
        ("on_stderr", "path"),
        ("on_stdout", io.BytesIO),
    ],
    ids=repr,
)
async def test_what_is_refused_before_anything_is_sent(server: Any, argument: str, value: Any) -> None:
    from tests.support.clients import make_client

    async with make_client(server) as client:
        with pytest.raises(InvalidArgumentError) as caught:
            await client.vm("vm-1").run("true", **{argument: value})
        assert caught.value.argument.startswith(argument)
    assert not server.requests


@pytest.mark.parametrize("value", ["a\0secret", "secret\udc00", 5, None], ids=repr)
async def test_a_refused_variable_is_named_but_not_shown(vm: AsyncVM, value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await vm.run("true", env={"NAME": value})
    assert caught.value.argument == "env['NAME']"
    assert "secret" not in repr(caught.value)


async def test_what_does_not_go_together(vm: AsyncVM) -> None:
    with pytest.raises(InvalidArgumentError, match="stdin"):
        await vm.start("cat", input="x", stdin=True)
    untyped: Any = vm
    for options in ({"on_cancel": "kill"}, {"on_stdout": print}):
        with pytest.raises(InvalidArgumentError, match="background"):
            await untyped.run("true", background=True, **options)


# --- watchers ---------------------------------------------------------------------------------------------------------


async def test_functions_are_given_the_output_as_it_comes(vm: AsyncVM) -> None:
    pieces: list[str] = []
    errors: list[str] = []
    seen = asyncio.Event()

    def out(piece: str) -> None:
        pieces.append(piece)
        seen.set()

    async def error(piece: str) -> None:
        await asyncio.sleep(0)
        errors.append(piece)

    command = "echo grün; until [ -e go ]; do sleep 0.02; done; echo end; echo oh >&2; printf '\\377'; exit 4"
    call = asyncio.create_task(vm.run(command, on_stdout=out, on_stderr=error))
    await asyncio.wait_for(seen.wait(), 30)
    assert pieces == ["grün\n"]
    await vm.sync("go", b"")
    result = await call
    assert "".join(pieces) == result.stdout_text == "grün\nend\n\ufffd"
    assert errors == ["oh\n"]
    assert (result.stdout[-1:], result.stderr, result.exit_code) == (b"\xff", b"oh\n", 4)
    with pytest.raises(RunFailedError):
        await vm.run("exit 1", on_stdout=out, check=True)


async def test_files_are_written(vm: AsyncVM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary, text = io.BytesIO(), io.StringIO()
    result = await vm.run("printf 'a\\377'; echo b >&2", on_stdout=binary, on_stderr=text)
    assert (binary.getvalue(), text.getvalue()) == (result.stdout, "b\n") == (b"a\xff", "b\n")
    with (tmp_path / "raw").open("wb", buffering=0) as raw, (tmp_path / "text").open("w") as plain:
        await vm.run("echo c; echo d >&2", on_stdout=raw, on_stderr=plain)
    assert (tmp_path / "raw").read_bytes() + (tmp_path / "text").read_bytes() == b"c\nd\n"
    await vm.run("echo shown; echo too >&2", on_stdout=sys.stdout, on_stderr=sys.stdout)
    assert sorted(capsys.readouterr().out.splitlines()) == ["shown", "too"]
    untyped: Any = vm
    with (tmp_path / "text").open() as reading, pytest.raises(InvalidArgumentError):
        await untyped.run("true", on_stdout=reading.buffer)
    with (tmp_path / "text").open() as reading, pytest.raises(InvalidArgumentError, match="open for reading"):
        await untyped.run("true", on_stdout=reading)


async def test_a_session_keeps_what_a_watched_command_does(vm: AsyncVM) -> None:
    await vm.run("cd /usr; export A=kept", on_stdout=lambda _: None)
    await vm.run("cd bin", on_cancel="kill")
    assert (await vm.run("pwd; echo $A")).stdout == b"/usr/bin\nkept\n"


async def test_a_watcher_that_fails_ends_the_call(vm: AsyncVM) -> None:
    def fail(_: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await vm.run("echo x; sleep 300", on_stdout=fail, on_cancel="kill")
    assert (await vm.run(LEFT)).stdout == NOTHING


# --- on_cancel --------------------------------------------------------------------------------------------------------


async def test_kill_leaves_nothing_when_a_deadline_passes(vm: AsyncVM) -> None:
    longer = longer_and_longer(0.4)
    while True:
        seconds = next(longer)
        with pytest.raises(DeadlineExceededError) as caught:
            await vm.run("trap '' TERM; setsid sleep 300 & sleep 300", on_cancel="kill", deadline=seconds)
        if caught.value.run_id is not None:
            break
    assert caught.value.run_id is not None
    assert (await vm.get_run(caught.value.run_id)).state == "cancelled"
    assert (await vm.run(LEFT)).stdout == NOTHING


@pytest.mark.parametrize("on_cancel", ["leave", "kill"])
async def test_the_next_command_does_not_wait_for_one_that_was_given_up(vm: AsyncVM, on_cancel: Any) -> None:
    longer = longer_and_longer(0.3)
    while True:
        seconds = next(longer)
        with pytest.raises(DeadlineExceededError) as caught:
            await vm.run("sleep 600", on_cancel=on_cancel, deadline=seconds)
        if caught.value.outcome != "not_started":
            break
    result = await asyncio.wait_for(vm.run("echo next; pwd"), PATIENCE)
    assert result.stdout == b"next\n/home/user\n"
    left = await vm.list_runs(state="running")
    assert len(left.runs) == (1 if on_cancel == "leave" else 0)


async def test_a_queued_command_is_killed_as_well(vm: AsyncVM) -> None:
    first = await vm.start("sleep 300", session_idx=0)
    with pytest.raises(DeadlineExceededError):
        await vm.run("touch ran", session_idx=0, on_cancel="kill", deadline=0.3)
    await first.cancel()
    assert (await vm.run("ls ran")).exit_code != 0


async def test_killed_at_random_moments(emulator: Emulator) -> None:
    """Cancel a command with a staged input, at moments from before its upload to after its end."""
    rng = random.Random(11)
    async with AsyncArker(**emulator.client_options) as client, await client.fork("ubuntu") as vm:
        began = time.monotonic()
        await vm.run("cat >/dev/null; sleep 0.05", input=LARGE[:40_000], on_cancel="kill", env={"A": "1"})
        usual = time.monotonic() - began
        ends = 0
        for number in range(times(100, suite=12)):
            data = LARGE[:40_000] if number % 2 else LARGE[:100]
            command = "cat >/dev/null & sleep 0.03; setsid sleep 0.02 & sleep 300 & wait"
            call = asyncio.create_task(vm.run(command, input=data, on_cancel="kill", env={"A": "1"}, cwd="/tmp"))
            await asyncio.sleep(rng.random() * usual * 1.5)
            call.cancel()
            try:
                await call
            except asyncio.CancelledError:
                ends += 1
            running = await vm.list_runs(state="running")
            assert not running.runs
            assert (await vm.run(LEFT)).stdout == NOTHING, number
        assert ends
        sessions = await client.vm(vm.id).list_sessions()
        assert len(sessions.sessions) == 1


# --- input while it goes on -------------------------------------------------------------------------------------------


async def test_input_that_comes_later(vm: AsyncVM) -> None:
    run = await vm.start('while read -r line; do echo "got $line"; done; echo end; exit 3', stdin=True, env={"A": "1"})
    await run.write("one\n")
    await run.write(b"it's %d \\n two")
    await run.write("")
    await run.write("!\n-n\n")
    await run.close_stdin()
    await run.close_stdin()
    with pytest.raises(ConflictError, match="closed"):
        await run.write("more")
    result = await run.wait()
    assert result.stdout_text == "got one\ngot it's %d \\n two!\ngot -n\nend\n"
    assert (result.exit_code, result.stderr) == (3, b"")
    with pytest.raises(ConflictError, match="has ended"):
        await run.write("more")
    await run.close_stdin()
    assert (await vm.run(LEFT)).stdout == NOTHING
    assert len((await vm.list_sessions()).sessions) == 1


@pytest.mark.parametrize("much", [b"", LARGE[:20_000]])
async def test_input_after_a_write_that_has_failed(vm: AsyncVM, emulator: Emulator, much: bytes) -> None:
    async with AsyncArker(**emulator.client_options, retry=False) as client:
        run = await client.vm(vm.vm_id).start("cat", stdin=True)
        await run.write("one ")
        # The command gets the data, but the caller gets no reply.
        with emulator.faults.close(operation="run", moment="after"), pytest.raises(NetworkError):
            await run.write("two ")
        read = b""
        async for chunk in run.output():
            read += chunk.data
            if read == b"one two ":
                break
        await run.write(much + b"three")
        with emulator.faults.error(operation="run", status=503), pytest.raises(UnavailableError):
            await run.write("four")
        with emulator.faults.error(operation="run", status=503), pytest.raises(UnavailableError):
            await run.close_stdin()
        with pytest.raises(ConflictError, match="closed"):
            await run.write("more")
        await run.close_stdin()
        assert (await run.wait(deadline=PATIENCE)).stdout == b"one two " + much + b"three"
    assert (await vm.run(LEFT)).stdout == NOTHING
    assert len((await vm.list_sessions()).sessions) == 1


async def test_much_input_that_comes_later(vm: AsyncVM) -> None:
    run = await vm.start("sha256sum | cut -c 1-64", stdin=True)
    for start, end in ((0, 10), (10, 2_000_000), (2_000_000, len(LARGE))):
        await run.write(LARGE[start:end])
    await run.close_stdin()
    assert (await run.wait()).stdout.decode().strip() == hashlib.sha256(LARGE).hexdigest()
    assert (await vm.run(LEFT)).stdout == NOTHING


async def test_a_command_that_reads_no_more(vm: AsyncVM) -> None:
    run = await vm.start("head -c 3", stdin=True)
    await run.write("abcdef")
    assert (await run.wait()).stdout == b"abc"
    await run.close_stdin()
    run = await vm.start("true", stdin=True)
    while (await run.refresh()).state == "running":
        await asyncio.sleep(0.02)
    with pytest.raises(ConflictError):
        await run.write("x" * 100_000)
    assert (await vm.run(LEFT)).stdout == NOTHING


async def test_a_cancelled_command_with_input(vm: AsyncVM) -> None:
    run = await vm.start("cat; sleep 300", stdin=True)
    await run.write("x")
    await run.cancel()
    with pytest.raises(ConflictError):
        await run.write("y")
    assert (await vm.run(LEFT)).stdout == NOTHING
    assert len((await vm.list_sessions()).sessions) == 1


async def test_input_for_other_runs(vm: AsyncVM) -> None:
    run = await vm.start("sleep 300")
    for each in (run, vm.attach_run(run.run_id)):
        with pytest.raises(ConfigurationError, match="stdin=True"):
            await each.write("x")
    untyped: Any = run
    for value in (5, None, "\udc00"):
        with pytest.raises(InvalidArgumentError):
            await untyped.write(value)
    await run.cancel()


# --- long lines -------------------------------------------------------------------------------------------------------


async def test_a_line_that_is_longer_than_servers_take(vm: AsyncVM) -> None:
    text = "x" * 4_300_000
    result = await vm.run(f"cd /usr; export A=1; wc -c <<'END'\n{text}\nEND\nexit 3")
    assert (result.stdout.strip(), result.exit_code) == (b"4300001", 3)
    assert (await vm.run("pwd; echo $A")).stdout == b"/usr\n1\n"
    result = await vm.run(f"printf %s '{text}' | wc -c", env={"B": "2"}, cwd="/tmp", input="abc")
    assert result.stdout.strip() == b"4300000"
    assert (await vm.run(LEFT)).stdout == NOTHING


# --- sessions and fleets ----------------------------------------------------------------------------------------------


async def test_sessions_take_the_same(vm: AsyncVM) -> None:
    async with vm.open_session(env={"S": "session"}, cwd="/usr") as session:
        heard: list[str] = []
        result = await session.run(
            "cat; echo $S $A; pwd", env={"A": "1"}, cwd="bin", input="in\n", on_stdout=heard.append
        )
        assert result.stdout_text == "".join(heard) == "in\nsession 1\n/usr/bin\n"
        run = await session.start("cat; pwd", stdin=True)
        await run.write(memoryview(b"later\n"))
        await run.close_stdin()
        assert (await run.wait()).stdout == b"later\n/usr\n"
        with pytest.raises(DeadlineExceededError):
            await session.run("sleep 300", on_cancel="kill", deadline=0.3)
        assert (await session.run(LEFT)).stdout == NOTHING


async def test_fleets_take_the_same(ar: AsyncArker) -> None:
    heard: list[str] = []
    async with ar.fork_many("ubuntu", 2) as fleet:
        outcomes = await fleet.run(
            "cat; echo $A; pwd", env={"A": "ü"}, cwd="/usr", input="in\n", on_stdout=heard.append
        )
        assert [outcome.value.stdout_text for outcome in outcomes if outcome.value] == ["in\nü\n/usr\n"] * 2
        assert sorted("".join(heard)) == sorted("in\nü\n/usr\n" * 2)
        with pytest.raises(InvalidArgumentError):
            await fleet.run("true", env={"a b": "x"})


async def test_a_client_that_is_closed_kills_what_ends_with_its_call(ar: AsyncArker, emulator: Emulator) -> None:
    vm = await ar.fork("ubuntu")
    client = AsyncArker(**emulator.client_options)
    calls = [
        asyncio.create_task(
            client.vm(vm.id).run("sleep 300", on_cancel="kill", input=LARGE[:40_000], env={"N": str(n)})
        )
        for n in range(3)
    ]
    while len((await vm.list_runs(state="running")).runs) < 3:
        await asyncio.sleep(0.05)
    await client.aclose()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in ended] == [ConfigurationError] * 3
    assert not (await vm.list_runs(state="running")).runs
    assert (await vm.run(LEFT)).stdout == NOTHING
    assert len((await vm.list_sessions()).sessions) == 1
