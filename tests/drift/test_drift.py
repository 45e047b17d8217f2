"""A server that has moved on, and one whose replies drift: nothing is lost, and nothing waits without an end."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from arker import (
    ArkerError,
    AsyncArker,
    AsyncFleet,
    AsyncRun,
    AsyncSession,
    AsyncTunnel,
    AsyncVM,
    HttpTimeouts,
    RetryPolicy,
)
from tests.drift.bending import Bend, bends
from tests.drift.operations import OPERATIONS, Held, Operation
from tests.drift.service import Service
from tests.ledger.support import select
from tests.support.clients import make_client
from tests.support.length import times
from tests.support.server import Reply, ScriptedServer, ServerThread

ENOUGH: Final = 30.0
"""Seconds for an operation; none takes one."""
QUICK: Final = RetryPolicy(attempts=3, base_delay=0.001, max_delay=0.002, jitter=0.0)


def client_of(server: ScriptedServer, ledger: Path) -> AsyncArker:
    return make_client(server, ledger=ledger, retry=QUICK, timeout=HttpTimeouts(silence=0.1, idle=5.0))


async def before(service: Service, server: ScriptedServer, ledger: Path) -> None:
    """A VM for the operation to be about, of a program of its own."""
    server.answer(service)
    async with client_of(server, ledger) as ar:
        await ar.fork("ubuntu")


async def carry_out(
    operation: Operation, service: Service, server: ScriptedServer, ledger: Path, held: Held
) -> BaseException | None:
    """Do it, and give what it raised."""
    async with client_of(server, ledger) as ar:
        vm = ar.vm(next(iter(service.vms)))
        held.vms.append(vm.id)
        try:
            held.result = await asyncio.wait_for(operation.act(ar, vm, held), ENOUGH)
        except Exception as error:
            return error
        return None


async def check(operation: Operation, service: Service, bend: Bend, times_: int, server: ScriptedServer) -> None:
    with tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory, "ledger.sqlite3")
        await before(service, server, ledger)
        counted = service.applied[operation.counts] if operation.counts else 0
        left = times_

        def bent(name: str, reply: Reply) -> Reply:
            nonlocal left
            if name not in operation.requests or left == 0 or reply.status >= 400:
                return reply
            left -= 1
            return bend.do(reply)

        service.bend = bent
        held = Held()
        error = await carry_out(operation, service, server, ledger, held)
        service.bend = Service().bend
        note(f"{error!r}, {held.result!r}")

        assert error is None or isinstance(error, ArkerError), "nothing else is raised"
        assert "TimeoutError" not in repr(error), "nothing waits without an end"
        if operation.counts and service.applied[operation.counts] > counted and not bend.refuses:
            assert error is None or error.outcome != "not_started", "what was done is not called undone"
        if error is None and operation.expected is not ... and not bend.forges:
            assert held.result == operation.expected, "a result is what it was"
        on_record, keys = set(select(ledger)), set(select(ledger, "idempotency_key"))
        for vm in service.vms if service.knows_keys else ():  # else a fork that is asked again makes another
            assert vm in held.vms or vm in on_record or service.key_of[vm] in keys or bend.refuses, "a VM is lost"

        for _ in range(2):
            made, there = service.made, len(service.vms)
            async with client_of(server, ledger) as ar:
                await ar.reap()
            assert service.made == made or not service.knows_keys, "reap makes no VM"
            assert len(service.vms) <= there


EXAMPLES: Final = times(6_000, suite=250)


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    operation=st.sampled_from(OPERATIONS),
    bend=bends(),
    how_often=st.sampled_from([1, 2, -1]),
    knows_keys=st.sampled_from([True, True, False]),
    slow=st.booleans(),
)
def test_nothing_is_lost(
    server_thread: ServerThread, operation: Operation, bend: Bend, how_often: int, knows_keys: bool, slow: bool
) -> None:
    note(f"{operation.name}: {bend.what}, {how_often} times, keys {knows_keys}, slow {slow}")
    server = ScriptedServer(server_thread)
    try:
        asyncio.run(check(operation, Service(knows_keys=knows_keys, slow=slow), bend, how_often, server))
    finally:
        server.close()


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_today_s_service(server_thread: ServerThread, operation: Operation, slow: bool) -> None:
    """What the older generation alone has is not there; all else works."""
    server = ScriptedServer(server_thread)
    service = Service(slow=slow)

    async def main(directory: str) -> BaseException | None:
        ledger = Path(directory, "ledger.sqlite3")
        await before(service, server, ledger)
        held = Held()
        error = await carry_out(operation, service, server, ledger, held)
        assert operation.expected is ... or held.result == operation.expected
        return error

    try:
        with tempfile.TemporaryDirectory() as directory:
            error = asyncio.run(main(directory))
    finally:
        server.close()
    older = ("tunnel", "_sync", "resize", "signal", "get_run")
    if any(word in operation.name for word in older) and operation.name not in ("vm.sync",):
        assert isinstance(error, ArkerError)
        assert error.status in (0, 404)
    else:
        assert error is None, error


def test_every_operation_is_here() -> None:
    named = {word.strip() for operation in OPERATIONS for word in operation.name.split(",")}
    owners: dict[str, tuple[type[Any], set[str]]] = {
        "": (AsyncArker, {"aclose", "local"}),
        "vm.": (AsyncVM, {"upload_dir", "download_dir", "keep"}),
        "run.": (AsyncRun, set()),
        "session.": (AsyncSession, {"open", "close", "run", "start", "refresh"}),
        "tunnel.": (AsyncTunnel, {"open", "close", "request", "refresh", "wait_open"}),
        "fleet.": (AsyncFleet, {"map", "aclose", "delete"}),
    }
    missing: list[str] = []
    for prefix, (cls, elsewhere) in owners.items():
        for name, member in inspect.getmembers(cls, inspect.isfunction):
            tried = inspect.iscoroutinefunction(member) or name.startswith("iter_")
            if tried and not name.startswith("_") and name not in elsewhere and prefix + name not in named:
                missing.append(prefix + name)
    assert missing == []
