"""What calls through the blocking facade leave behind: nothing that only the garbage collector would remove."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arker import ConfigurationError, LocalFileError, NotFoundError, RemoteFileError, RunFailedError
from arker.emulator import Emulator
from arker_sync import VM, Arker
from arker_sync._bridge.callbacks import relay
from tests.support.garbage import no_garbage
from tests.support.waiting import block_until

Use = Callable[[Arker, VM], object]


def fails(work: Callable[[], Any], kind: type[BaseException]) -> None:
    """Do what fails. pytest's own function keeps the error for a while."""
    try:
        work()
    except kind:
        return
    pytest.fail("it did not fail")


def run(_: Arker, vm: VM) -> None:
    assert vm.run("echo hi").stdout == b"hi\n"


def not_found(ar: Arker, _: VM) -> None:
    fails(lambda: ar.get_vm("there-is-none"), NotFoundError)


def fork_in_vain(ar: Arker, _: VM) -> None:
    fails(lambda: ar.fork("there-is-none"), NotFoundError)


def run_failed(_: Arker, vm: VM) -> None:
    fails(lambda: vm.run("exit 3", check=True), RunFailedError)


def write_refused(_: Arker, vm: VM) -> None:
    fails(lambda: vm.sync("/etc", b"no file"), RemoteFileError)


def upload_of_nothing(_: Arker, vm: VM) -> None:
    fails(lambda: vm.upload(Path("/there/is/none"), "f"), LocalFileError)


def upload_of_what_fails(_: Arker, vm: VM) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"piece"
        raise LookupError

    fails(lambda: vm.upload(pieces(), "f"), LookupError)


def output_refused(_: Arker, vm: VM) -> None:
    def take(_: str) -> None:
        raise LookupError

    fails(lambda: vm.run("echo hi", on_stdout=take), LookupError)


def iterate(ar: Arker, vm: VM) -> None:
    assert list(vm.iter_runs()) is not None
    fails(lambda: list(ar.vm("there-is-none").iter_runs()), NotFoundError)


def block(_: Arker, vm: VM) -> None:
    def within() -> None:
        with vm.open_session() as session:
            session.run("exit 3", check=True)

    fails(within, RunFailedError)


def fleet(ar: Arker, _: VM) -> None:
    def work(vm: VM, item: int) -> None:
        vm.run("exit 3", check=True)

    with ar.fork_many("ubuntu", 2) as vms:
        assert [outcome.ok for outcome in vms.map(work, [1, 2])] == [False, False]


def fleet_that_exits(ar: Arker, _: VM) -> None:
    def work(vm: VM, item: int) -> None:
        raise SystemExit

    with ar.fork_many("ubuntu", 2) as vms:
        fails(lambda: list(vms.map(work, [1, 2])), SystemExit)


@pytest.mark.parametrize(
    "use",
    [
        *(run, not_found, fork_in_vain, run_failed, write_refused, upload_of_nothing, upload_of_what_fails),
        *(output_refused, iterate, block, fleet, fleet_that_exits),
    ],
)
def test_nothing_is_left_to_the_garbage_collector(blocking: Arker, use: Use, caplog: pytest.LogCaptureFixture) -> None:
    with blocking.fork("ubuntu") as vm:
        use(blocking, vm)
        vm.refresh()  # the loop has its turns
        with no_garbage(caplog):
            use(blocking, vm)
            vm.refresh()


def test_a_call_of_a_closed_client_leaves_nothing(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with Arker(**emulator.client_options) as client:
        client.list_regions()
    with no_garbage(caplog):
        fails(client.list_regions, ConfigurationError)


class Event:
    """What a callback is told."""


@pytest.mark.parametrize("ends", [False, True])
def test_a_callback_outside_of_any_call_leaves_nothing(ends: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "arker")  # records of the log keep the errors that they are about
    called = threading.Event()

    def callback(_: Event) -> None:
        called.set()
        if ends:
            raise SystemExit

    event = Event()
    left = weakref.ref(event)
    relay("progress", callback)(event)
    del event
    block_until(called.is_set)
    block_until(lambda: left() is None)
