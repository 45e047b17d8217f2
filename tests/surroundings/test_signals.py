"""A second Ctrl-C or SIGTERM cuts the clean-up short: the program ends, and what is left is on record and named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from arker._tasks import hurry
from tests.drift.plans import Plan
from tests.drift.service import Service
from tests.ledger.support import select
from tests.support import forked
from tests.support.clients import COMPUTE, CONTROL
from tests.support.length import cases
from tests.support.secrets import API_KEY
from tests.support.server import Recorded, Reply, ScriptedServer
from tests.support.waiting import block_until
from tests.surroundings.conftest import PATIENCE, ROOT

INT, TERM = signal.SIGINT, signal.SIGTERM
STUCK = 600.0
"""Seconds that the server takes for what never comes to an end here."""


@pytest.fixture
def service(server: ScriptedServer, tmp_path: Path) -> Service:
    service = Service(Plan("signals"), tmp_path / "vms")
    server.answer(service)
    return service


@pytest.fixture
def start(server: ScriptedServer, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a program. A new one is for what happens as it ends."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str, new: bool = False) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "ARKER_API_KEY": API_KEY,
            "ARKER_BASE_URL": server.url + COMPUTE,
            "ARKER_CONTROL_BASE_URL": server.url + CONTROL,
            "ARKER_LEDGER": str(tmp_path / "ledger.sqlite3"),
        }
        module = "tests.surroundings.signals"
        if new:
            command = [sys.executable, "-m", module, *words]
            pipe = subprocess.PIPE
            program = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe)
        else:
            program = forked.start("module", module, *words, env=environment, stdin=subprocess.DEVNULL)
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        with program:  # closes its pipes
            pass


def slow(server: ScriptedServer, service: Service, **seconds: float) -> None:
    """Let the server answer some operations late, once it has carried them out."""

    async def answer(request: Recorded) -> Reply:
        reply = await service(request)
        return attrs.evolve(reply, delay=seconds.get(service.operation_of(request), 0.0))

    server.answer(answer)


def wait_until_ready(program: subprocess.Popen[bytes]) -> None:
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"


def complaints(program: subprocess.Popen[bytes]) -> str:
    """Wait for a program's end. Returns what it has written to standard error."""
    _, errors = program.communicate(timeout=PATIENCE)
    return errors.decode()


def asked_for(server: ScriptedServer, method: str, what: str) -> int:
    return sum(request.method == method and what in request.path for request in server.requests)


@pytest.mark.parametrize(
    ("client", "work", "signals"),
    cases(
        [
            ("async", "fleet", (INT, INT)),
            ("blocking", "fleet", (INT, INT)),
            ("async", "vms", (TERM, TERM)),
            ("blocking", "map", (TERM, INT)),
        ],
        rest=[
            (client, work, signals)
            for client in ("async", "blocking")
            for work in ("fleet", "map", "vms")
            for signals in ((INT, INT, INT), (TERM, TERM, TERM), (INT, TERM), (TERM, INT))
        ],
    ),
)
def test_the_second_one_cuts_the_clean_up_short(
    server: ScriptedServer,
    service: Service,
    start: Callable[..., subprocess.Popen[bytes]],
    tmp_path: Path,
    client: str,
    work: str,
    signals: tuple[signal.Signals, ...],
) -> None:
    made = 3 if work == "vms" else 6
    slow(server, service, delete=STUCK, run=STUCK)
    # The server forgets a VM when it is told to delete it, and answers later: so what was asked for is gone.
    program = start(client, work, new=True)
    wait_until_ready(program)
    if work == "map":  # it says so just before
        block_until(lambda: asked_for(server, "POST", "/runs"))
    for number in signals:
        program.send_signal(number)
        block_until(lambda: asked_for(server, "DELETE", "/vms/"))  # the clean-up has begun, and stands still
        time.sleep(0.5)
    errors = complaints(program)
    assert program.returncode in {-INT, 128 + INT, 128 + TERM, 1}
    warnings = [line for line in errors.splitlines() if "a second signal cut the clean-up short" in line]
    assert len(warnings) == 1, errors
    assert "could not be deleted" not in errors
    assert "never retrieved" not in errors
    assert service.made == made
    assert service.vms
    for vm_id in service.vms:
        assert f"VM {vm_id}" in warnings[0]
    assert set(service.vms) <= set(select(tmp_path / "ledger.sqlite3"))


def test_what_can_be_deleted_meanwhile_is_deleted(
    server: ScriptedServer, service: Service, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    slow(server, service, delete=0.2)
    program = start("blocking", "vms")
    wait_until_ready(program)
    for _ in range(2):
        program.send_signal(INT)
        time.sleep(0.1)
    errors = complaints(program)
    assert not service.vms or "a second signal" in errors


def test_interrupts_that_a_program_survives_are_no_second_ones(
    server: ScriptedServer, service: Service, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    slow(server, service, run=STUCK)
    program = start("blocking", "goes on")
    for number in range(3):
        wait_until_ready(program)
        block_until(lambda number=number: asked_for(server, "POST", "/runs") > number)  # type: ignore[misc]
        program.send_signal(INT)
    errors = complaints(program)
    assert program.returncode == 0, errors
    assert "a second signal" not in errors
    assert not service.vms


@pytest.mark.parametrize("client", ["async", "blocking"])
def test_a_first_one_leaves_all_the_time_that_there_is(
    server: ScriptedServer, service: Service, start: Callable[..., subprocess.Popen[bytes]], client: str
) -> None:
    seconds = hurry.GRACE + 1
    slow(server, service, delete=seconds)
    program = start(client, "vms")
    wait_until_ready(program)
    program.send_signal(INT)
    errors = complaints(program)
    assert not service.vms
    assert "may still exist" not in errors


def test_handlers_are_as_they_were() -> None:
    mine = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # which is ignored where tests run in the background
    try:
        assert hurry.heed()
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        with hurry.heeded(ending=True):
            assert hurry.signalled()
            assert hurry.asked()
            assert 0 < hurry.bound(60.0) <= hurry.GRACE
        hurry.unheed(True)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        hurry.work_goes_on()
        assert not hurry.asked()
        assert hurry.bound(60.0) == 60.0
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert not hurry.heed()
    finally:
        signal.signal(signal.SIGINT, mine)
