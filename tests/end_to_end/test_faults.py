"""The client against a backend that misbehaves: what is sent again, and how often it then really happens."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from arker import (
    CHUNK_SIZE,
    AsyncArker,
    AsyncVM,
    BadReplyError,
    DeadlineExceededError,
    ForbiddenError,
    NetworkError,
    UnavailableError,
)
from arker.emulator import Emulator, Fault
from arker.emulator.control.rules import Moment, rule_from_json
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs/faults.md"


@pytest.fixture(autouse=True)
def quiet(emulator: Emulator, ar: AsyncArker, vm: AsyncVM) -> Iterator[None]:
    """Begins when the VM is there, with an empty journal."""
    del ar, vm
    emulator.journal.clear()
    yield
    emulator.faults.clear()


def statuses(emulator: Emulator, operation: str) -> list[int]:
    return [entry.status for entry in emulator.journal.requests() if entry.operation == operation]


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("moment", ["before", "during", "after"])
async def test_a_run_whose_connection_ends_is_sent_again_and_executed_once(
    emulator: Emulator, vm: AsyncVM, moment: Moment, reset: bool
) -> None:
    with emulator.faults.close(operation="run", moment=moment, reset=reset) as fault:
        assert (await vm.run("sleep 0.1; echo once | tee -a file")).stdout == b"once\n"
    assert fault.fired == 1
    assert statuses(emulator, "run") == [0, 200]
    first, second = (entry.idempotency_key for entry in emulator.journal.requests())
    assert first == second is not None
    assert len(emulator.journal.executions()) == 1
    assert (await vm.sync("file")) == b"once\n"


def set_fault(emulator: Emulator, action: str, **options: Any) -> Fault:
    fault: Fault = getattr(emulator.faults, action)(**options)
    return fault


@pytest.mark.parametrize(
    ("action", "options", "status"),
    [
        ("error", {"processed": True}, 503),
        ("error", {"status": 429, "retry_after": 0.01}, 429),
        ("close", {"moment": "after"}, 0),
        ("truncate", {}, 200),
    ],
)
async def test_a_fork_is_sent_again_and_made_once(
    emulator: Emulator, ar: AsyncArker, action: str, options: dict[str, Any], status: int
) -> None:
    set_fault(emulator, action, operation="fork", **options)
    child = await ar.fork("ubuntu")
    assert statuses(emulator, "fork") == [status, 200]
    (fork,) = emulator.journal.forks()
    assert (fork.vm_id, fork.source) == (child.vm_id, "ubuntu")


async def test_it_gives_up_in_the_end(emulator: Emulator, vm: AsyncVM) -> None:
    with (
        emulator.faults.error(operation="run", times=None, retry_after=0.01, message="for ever"),
        pytest.raises(UnavailableError, match="for ever") as caught,
    ):
        await vm.run("true")
    assert caught.value.attempts == 4
    assert statuses(emulator, "run") == [503] * 4
    assert emulator.journal.executions() == ()
    with emulator.faults.close(operation="run", times=4), pytest.raises(NetworkError):
        await vm.run("true")


async def test_a_reply_that_is_no_json(emulator: Emulator, vm: AsyncVM) -> None:
    emulator.faults.garbage(operation="run")
    with pytest.raises(BadReplyError):
        await vm.run("true")
    assert len(emulator.journal.executions()) == 1


async def test_silence_and_a_deadline(emulator: Emulator, vm: AsyncVM) -> None:
    emulator.faults.stall(operation="run", times=None)
    with anyio.fail_after(PATIENCE), pytest.raises(DeadlineExceededError):
        await vm.run("true", deadline=0.3)
    assert emulator.journal.executions() == ()


@pytest.mark.parametrize(
    ("action", "options"),
    [
        ("truncate", {}),
        ("close", {"reset": True}),
        ("close", {}),
        ("error", {}),
        ("expire", {}),
        ("throttle", {"bytes_per_second": 2e8, "times": None}),
    ],
    ids=["truncate", "reset", "close", "error", "expire", "throttle"],
)
async def test_files_arrive_whole_in_spite_of_it(
    emulator: Emulator, vm: AsyncVM, action: str, options: dict[str, Any]
) -> None:
    data = os.urandom(CHUNK_SIZE + 1_000_000)
    first = set_fault(emulator, action, path="/presigned/*", **options)
    await vm.sync("file", data)
    second = set_fault(emulator, action, path="/presigned/*", **options)
    assert await vm.sync("file") == data
    assert [one.refresh().fired > 0 for one in (first, second)] == [True, True]


async def test_urls_that_go_on_expiring(emulator: Emulator, vm: AsyncVM) -> None:
    with emulator.faults.expire(times=None) as fault, pytest.raises(ForbiddenError, match="403"):
        await vm.sync("file", bytes(CHUNK_SIZE + 1))
    assert fault.fired == 3


async def test_the_faults_that_the_page_sets_over_http_are_rules() -> None:
    text = PAGE.read_text()
    rules = [rule_from_json(json.loads(body)) for body in re.findall(r"emulator/faults\" -d '(.*?)'", text)]
    assert [rule.action for rule in rules] == ["error", "close"]
