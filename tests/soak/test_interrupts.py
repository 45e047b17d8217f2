"""Interrupts at random moments of blocking calls: none stands still, and no VM is left that is not on record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import pytest

from arker_sync import Arker
from tests.drift.plans import Plan
from tests.drift.service import Service
from tests.ledger.support import select
from tests.soak.conftest import Soak
from tests.support.clients import COMPUTE, CONTROL
from tests.support.secrets import API_KEY
from tests.support.server import ScriptedServer, ServerThread

INTERRUPTS: Final = 5_000
STANDSTILL: Final = 5.0
"""Seconds; a clean-up takes some milliseconds here."""


FIRST_MOMENTS: Final = 0.25
"""Seconds in which a program starts its loop and forks its first VM."""
PROGRAM: Final = """
import os
from arker_sync import Arker
os.write(1, b"begun")
with Arker() as ar, ar.fork("ubuntu") as vm:
    vm.run("say hi")
"""


class Stop(KeyboardInterrupt):
    """Raised by a timer's signal, as Ctrl-C raises its own."""


class Alarm:
    """Interrupts the main thread after some time, if it is still armed by then."""

    def __init__(self) -> None:
        self._armed = False
        self._before = signal.signal(signal.SIGALRM, self._on)

    def _on(self, *_: Any) -> None:
        if self._armed:
            self._armed = False
            raise Stop

    def set(self, seconds: float) -> None:
        self._armed = True
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def clear(self) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def close(self) -> None:
        self.clear()
        signal.signal(signal.SIGALRM, self._before)


def work(ar: Arker, kind: int) -> None:
    if kind == 0:
        with ar.fork("ubuntu") as vm:
            vm.sync("/f", b"hello")
    elif kind == 1:
        with ar.fork("ubuntu") as vm:
            vm.run("say hi")
    else:
        with ar.fork_many("ubuntu", 2) as fleet:
            list(fleet.map(lambda vm, text: vm.run(f"say {text}"), ["a", "b"]))


# One that comes between the making of a coroutine and its way to the loop leaves it unused.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupts_at_random_moments(soak: Soak, server_thread: ServerThread, tmp_path: Path) -> None:
    assert threading.current_thread() is threading.main_thread()
    dice = soak.rng
    server, ledger = ScriptedServer(server_thread), tmp_path / "ledger.sqlite3"
    service = Service(Plan("interrupts"), tmp_path / "vms")
    server.answer(service)
    interrupted = slow = left = unknown = 0
    alarm = Alarm()
    client = Arker(
        API_KEY, base_url=server.url + COMPUTE, control_base_url=server.url + CONTROL, ledger=ledger, retry=False
    )
    try:
        with client.fork("ubuntu"):
            pass
        while interrupted < soak.times(INTERRUPTS, at_least=60):
            began = time.monotonic()
            try:
                alarm.set(0.0003 + dice.random() * 0.02)
                work(client, dice.randrange(3))
                alarm.clear()
            except Stop:
                interrupted += 1
            finally:
                alarm.clear()
            slow += time.monotonic() - began > STANDSTILL
            # What goes on in the background for a moment, such as a deletion that was interrupted twice.
            until = time.monotonic() + 2.0
            while service.vms and time.monotonic() < until:
                if interrupted and set(service.vms) <= set(select(ledger)):
                    break
                time.sleep(0.005)
            left += len(service.vms)
            unknown += len(set(service.vms) - set(select(ledger)))
            service.vms.clear()
    finally:
        alarm.close()
        client.close()
        server.close()
    print(f"{interrupted} interrupts: {slow} stood still, {left} VMs left, {unknown} of them not on the ledger")
    assert (slow, unknown) == (0, 0)
    assert left <= 5 + interrupted * 0.02  # between two steps of the program itself


def test_interrupts_in_the_first_moments(soak: Soak, server_thread: ServerThread, tmp_path: Path) -> None:
    server, service = ScriptedServer(server_thread), Service(Plan("interrupts"), tmp_path)
    server.answer(service)
    settings = {"ARKER_API_KEY": API_KEY, "ARKER_BASE_URL": server.url + COMPUTE, "ARKER_LEDGER": "off"}
    programs = soak.times(200, at_least=5)
    hung: list[float] = []
    try:
        for _ in range(programs):
            after = soak.rng.random() * FIRST_MOMENTS
            with subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                env={**os.environ, **settings},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as program:
                assert program.stdout is not None
                assert program.stdout.read(5) == b"begun"
                time.sleep(after)
                program.send_signal(signal.SIGINT)
                try:
                    program.communicate(timeout=20)
                except subprocess.TimeoutExpired:
                    hung.append(after)
                    program.kill()
    finally:
        server.close()
    print(f"{programs} programs interrupted in their first moments, {len(hung)} hung")
    assert hung == []
