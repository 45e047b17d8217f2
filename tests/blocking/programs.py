"""Programs that use the blocking client in the ways that break others, each to be run in a process of its own.

They are started as ``python -m tests.blocking.programs NAME...``; the backend is told by the environment.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from arker import ArkerError, Hooks
from arker_sync import VM, Arker

# Tests that run in the background inherit it as ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Newer versions of Python warn of any os.fork() beside a thread.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork.*")


def say(*words: object) -> None:
    print(*words, flush=True)


def echo(vm: VM, word: str) -> str:
    return vm.run(["echo", word]).stdout_text.strip()


# --- the end of the program -------------------------------------------------------------------------------------------


def never_closed() -> None:
    ar = Arker()
    say(echo(ar.fork("ubuntu", name="stays"), "used"))


def never_used() -> None:
    say(Arker())


def never_closed_with_a_backend_of_its_own() -> None:
    ar = Arker.local()
    vm = ar.fork("ubuntu")
    say(ar.base_url)
    say(echo(vm, "used"))


class _Sandbox:
    """Closes its client when it is destroyed."""

    def __init__(self) -> None:
        self.ar = Arker()
        self.vm = self.ar.fork("ubuntu")

    def __del__(self) -> None:
        self.ar.close()


_kept: list[_Sandbox] = []
"""Alive until the interpreter destroys its modules."""


def closed_when_destroyed_at_the_end() -> None:
    _kept.append(_Sandbox())
    say(echo(_kept[0].vm, "used"))


def transfers_at_exit() -> None:
    ar = Arker()
    vm = ar.fork("ubuntu")
    say(echo(vm, "used"))

    def save() -> None:
        say("up", vm.upload(__file__, "program").size == os.path.getsize(__file__))
        with tempfile.TemporaryDirectory() as directory:
            target = os.path.join(directory, "program")
            vm.download("program", target)
            say("down", Path(target).read_bytes() == Path(__file__).read_bytes())
        vm.delete()

    atexit.register(save)


def dropped() -> None:
    """Drop every handle: the garbage collector then closes the client, and no other client."""
    vm = Arker().fork("ubuntu")
    say(echo(vm, "a handle holds its client"))
    before = threading.active_count()
    del vm
    deadline = time.monotonic() + 60
    while threading.active_count() >= before and time.monotonic() < deadline:
        time.sleep(0.01)
    say("the loop has ended", threading.active_count() < before)


def an_exception() -> None:
    with Arker() as ar, ar.fork("ubuntu") as vm:
        echo(vm, "used")
        raise LookupError("the program's own")


def shutdown_amid_a_call() -> None:
    ar = Arker()
    vm = ar.fork("ubuntu", name="stays")
    for _ in range(3):
        threading.Thread(target=vm.run, args=("sleep 60",), daemon=True).start()
    while not any(run.command == "sleep 60" for run in vm.list_runs()):
        time.sleep(0.01)
    say("the main thread ends")


def exit_in_a_thread_s_time() -> None:
    """Use the client in a non-daemon thread, which the interpreter waits for at exit."""
    ar = Arker()
    vm = ar.fork("ubuntu")

    def work() -> None:
        threading.main_thread().join()
        say(echo(vm, "the thread ends"))

    threading.Thread(target=work).start()
    say("the main thread ends")


# --- signals ----------------------------------------------------------------------------------------------------------


def _interrupted(work: Callable[[VM], object], number: int = signal.SIGINT) -> None:
    """Send this process a signal amid some work, and tell when it came through."""
    sent: list[float] = []
    begun = threading.Event()

    def send() -> None:
        begun.wait()
        time.sleep(0.5)  # so the work is going on; it takes many times as long
        sent.append(time.monotonic())
        os.kill(os.getpid(), number)

    with Arker() as ar, ar.fork("ubuntu") as vm:
        echo(vm, "ready")
        threading.Thread(target=send, daemon=True).start()
        try:
            begun.set()
            work(vm)
        except BaseException as error:
            say(type(error).__name__, f"{time.monotonic() - sent[0]:.3f}")
            # As a cancelled task does, it leaves the command to its VM, where the session is busy with it.
            session = vm.create_session()
            say(vm.run("echo and the client serves on", session_id=session.session_id).stdout_text.strip())
            raise


def interrupted_run() -> None:
    _interrupted(lambda vm: vm.run("sleep 60"))


def interrupted_transfer() -> None:
    _interrupted(lambda vm: vm.sync("large", bytes(32 * 1024 * 1024)))


def terminated_run() -> None:
    _interrupted(lambda vm: vm.run("sleep 60"), signal.SIGTERM)


def interrupted_fork() -> None:
    """Interrupt a fork that is answered late: the VM must not outlive the interruption."""
    with Arker() as ar:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        ar.fork("ubuntu")
        say("not interrupted")


def interrupted_callback() -> None:
    """Send the signal while the caller's thread runs one of its callbacks."""

    def told(event: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    with Arker(hooks=Hooks(on_request=told)) as ar:
        ar.fork("ubuntu")


# --- processes --------------------------------------------------------------------------------------------------------


def _in_child(work: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        try:
            work()
        except ArkerError as error:
            say(type(error).__name__, error.message)
        sys.exit(0)  # with all that an exit does
    say("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def forked() -> None:
    """Fork a process that has used the client while other threads are using it."""
    ar = Arker()
    vm = ar.fork("ubuntu")
    going_on = True

    def work() -> None:
        while going_on:
            vm.run("true")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()

    def child() -> None:
        say("child", echo(vm, "a handle of the parent's"))
        with ar.fork("ubuntu") as own:
            say("child", echo(own, "a VM of its own"))

    for _ in range(3):
        _in_child(child)
    _in_child(ar.close)
    going_on = False
    for thread in threads:
        thread.join()
    say("parent", echo(vm, "goes on"))


def forked_amid_blocks() -> None:
    """Fork a process that leaves the blocks of its parent: what these hold is the parent's."""
    with Arker() as ar, ar.fork("ubuntu") as vm, ar.fork_many("ubuntu", 2) as fleet, vm.open_session() as session:
        session.run("cd /tmp")
        outcomes: Any = fleet.map(echo, (f"{index}" for index in count()))
        with closing(outcomes):
            next(outcomes)
            child = os.fork()
            if child == 0:
                say("child", echo(vm, "used"))
                sys.exit(3)  # it leaves the blocks
            say("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            say("parent", next(outcomes).ok, echo(vm, "used"), session.run("pwd").stdout_text.strip())
        say("VMs", len(ar.list_vms()))
    with Arker() as ar:
        say("VMs", len(ar.list_vms()))


def orphaned_amid_blocks() -> None:
    """Fork a process that leaves the blocks of a parent which has ended, as a daemon does."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        os.read(reading, 1)  # returns when the grandchild has ended
        with Arker() as ar:
            say("VMs", len(ar.list_vms()))
        return
    with Arker() as ar, ar.fork("ubuntu") as vm:
        left, ended = os.pipe()
        if os.fork():
            os._exit(0)
        os.close(ended)
        os.read(left, 1)  # returns when the parent has ended
        say("daemon", echo(vm, "used"))


def forked_before_use() -> None:
    ar = Arker()
    _in_child(lambda: say("child", echo(ar.fork("ubuntu"), "used")))
    say("parent", echo(ar.fork("ubuntu"), "used"))


def forked_amid_a_call() -> None:
    """By a callback, in the thread that waits for the call's end: it never comes in the child."""
    children: list[int] = []

    def told(event: object) -> None:
        if not children:
            children.append(os.fork())

    ar = Arker(hooks=Hooks(on_request=told))
    try:
        ar.fork("ubuntu")
    except ArkerError as error:
        say(type(error).__name__, error.message)
        sys.exit(0)
    say("status", os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))


def _use(name: str) -> str:
    with Arker() as ar, ar.fork("ubuntu") as vm:
        return echo(vm, name)


class _Kept:
    client: Arker | None = None


def _use_kept(name: str) -> str:
    assert _Kept.client is not None
    with _Kept.client.fork("ubuntu") as vm:
        return echo(vm, name)


def multiprocessing_fork() -> None:
    _Kept.client = Arker()
    say(_use_kept("parent"))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        say(*pool.map(_use_kept, ["one", "two", "three", "four"]))
        pool.close()
        pool.join()


def multiprocessing_spawn() -> None:
    context = multiprocessing.get_context("spawn")
    ar = Arker()
    with context.Pool(1) as pool:
        try:
            pool.map(print, [ar])
        except TypeError as error:
            say(error)
        say(*pool.map(_use, ["one", "two"]))
        pool.close()
        pool.join()


# --- ends in other threads --------------------------------------------------------------------------------------------


def _left_by_a_thread() -> None:
    ar = Arker()
    ar.__enter__()
    ar.list_vms()
    thread = threading.Thread(target=ar.__exit__, args=(None, None, None))
    thread.start()
    thread.join()


def left_by_a_thread() -> None:
    """Leave the block of the main thread in another one, and end by a signal that nothing handles any more."""
    _left_by_a_thread()
    with Arker():
        say("entered again")
    say("handled", signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)
    _left_by_a_thread()
    os.kill(os.getpid(), signal.SIGTERM)
    say("not reached")


class _Holder:
    client: Arker
    generator: Iterator[VM]
    itself: object


def destroyed_by_the_loop() -> None:
    """Have the loop's thread collect a generator that is amid blocks, the client's own among them."""

    def held(holder: _Holder) -> Iterator[VM]:
        with Arker() as holder.client, holder.client.fork("ubuntu", name="held") as vm:
            yield vm

    gc.disable()
    holder = _Holder()
    holder.itself = holder
    holder.generator = held(holder)
    echo(next(holder.generator), "used")
    running = holder.client._lease._state.running  # pyright: ignore[reportPrivateUsage]
    assert running is not None
    loop = running.loop
    del holder, running
    loop.call_soon_threadsafe(gc.collect)
    while any("portal" in thread.name for thread in threading.enumerate()):
        time.sleep(0.01)
    with Arker() as ar:
        say("VMs", len(ar.list_vms()))


# --- event loops ------------------------------------------------------------------------------------------------------


def in_a_running_loop() -> None:
    async def main() -> None:
        with Arker() as ar, ar.fork("ubuntu") as vm:
            say(echo(vm, "inside of a coroutine"))
            say(await asyncio.to_thread(echo, vm, "from a thread of it"))

    for _ in range(2):
        asyncio.run(main(), debug=False)  # which would complain of a loop that stands still


def many_clients() -> None:
    """Use several clients: one loop serves all of them, and ends with the last one."""
    clients = [Arker() for _ in range(5)]
    for client in clients:
        with client.fork("ubuntu") as vm:
            echo(vm, "used")
    names = [thread.name for thread in threading.enumerate()]
    say("threads of loops", sum("portal" in name for name in names))
    for client in clients:
        client.close()
    names = [thread.name for thread in threading.enumerate()]
    say("threads of loops", sum("portal" in name for name in names))
    say(echo(Arker().fork("ubuntu"), "it begins anew"))


def main() -> None:
    for name in sys.argv[1:]:
        globals()[name]()


if __name__ == "__main__":
    main()
