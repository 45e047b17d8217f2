"""Commands with all that they get, through the blocking client: callbacks are called in the caller's thread."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from arker import ConflictError, InvalidArgumentError, WorkingDirectoryError
from arker_sync import VM, Arker
from tests.support.waiting import PATIENCE, block_until

LEFT = "ls -A /tmp; for f in /proc/[0-9]*/comm; do cat $f; done 2>/dev/null | grep -c sleep"


@pytest.fixture
def vm(blocking: Arker) -> Iterator[VM]:
    with blocking.fork("ubuntu") as made:
        yield made


def test_what_a_command_gets(vm: VM) -> None:
    result = vm.run("cat; echo $A; pwd", env={"A": "1"}, cwd="/usr", input="in\n")
    assert result.stdout == b"in\n1\n/usr\n"
    with pytest.raises(WorkingDirectoryError):
        vm.run("true", cwd="/nowhere")
    with vm.open_session() as session:
        assert session.run("cat", input=b"x").stdout == b"x"


def test_watchers_are_called_in_the_callers_thread(vm: VM) -> None:
    heard: list[tuple[str, int]] = []

    def out(piece: str) -> None:
        heard.append((piece, threading.get_ident()))
        assert vm.run("echo again").stdout == b"again\n"  # a call inside of a call

    result = vm.run("echo a; sleep 0.3; echo b", on_stdout=out)
    assert "".join(piece for piece, _ in heard) == result.stdout_text == "a\nb\n"
    assert {thread for _, thread in heard} == {threading.get_ident()}
    binary = io.BytesIO()
    assert vm.run("printf 'x\\377' >&2", on_stderr=binary).stderr == binary.getvalue() == b"x\xff"


def test_what_a_watcher_raises_is_raised_by_the_call(vm: VM) -> None:
    def fail(piece: str) -> None:
        raise ZeroDivisionError(piece)

    with pytest.raises(ZeroDivisionError, match="x"):
        vm.run("echo x; sleep 300", on_stdout=fail, on_cancel="kill")
    assert vm.run(LEFT).stdout == b"0\n"


def test_what_is_refused(vm: VM) -> None:
    async def asynchronous(_: str) -> None:
        raise AssertionError

    class Stream:
        def write(self, data: bytes) -> None:
            raise AssertionError

        async def drain(self) -> None:
            raise AssertionError

    untyped: Any = vm
    for value in (asynchronous, 5, "file", io.BytesIO, Stream()):
        with pytest.raises(InvalidArgumentError) as caught:
            untyped.run("true", on_stdout=value)
        assert caught.value.argument == "on_stdout"
    with pytest.raises(InvalidArgumentError, match="nothing awaits"):
        vm.run("echo x", on_stdout=lambda piece: asynchronous(piece))


def test_input_that_comes_later(vm: VM) -> None:
    run = vm.start("cat; echo end", stdin=True)
    run.write("one\n")
    run.write(b"two\n")
    run.close_stdin()
    assert run.wait().stdout == b"one\ntwo\nend\n"
    with pytest.raises(ConflictError):
        run.write("more")


def test_threads_run_commands_at_once(vm: VM) -> None:
    vm.run("cd /usr")
    # None ends before all have begun.
    together = "until [ -e /tmp/begun-0 ] && [ -e /tmp/begun-1 ] && [ -e /tmp/begun-2 ]; do sleep 0.05; done"
    commands = [f"touch /tmp/begun-{n}; {together}; pwd; echo {n}" for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(partial(vm.run, timeout=PATIENCE), commands))
    assert [result.stdout for result in results] == [b"/usr\n%d\n" % n for n in range(3)]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals are sent to a thread")
def test_an_interrupt_kills_the_command(vm: VM) -> None:
    # It may be ignored, as where a shell has started the tests in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        block_until(lambda: vm.list_runs(state="running").runs)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        vm.run("sleep 300 & sleep 300", on_cancel="kill")
    thread.join()
    signal.signal(signal.SIGINT, before)
    assert vm.run(LEFT).stdout == b"0\n"
    assert not vm.list_runs(state="running").runs
