"""No wait of either client depends on clocks that a test has stopped."""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import freezegun
import pytest
import time_machine

from arker import Hooks
from tests.support.clients import make_client
from tests.support.length import cases
from tests.support.server import Reply, ScriptedServer

PACKAGES = [Path(__file__).parents[2] / name for name in ("arker", "arker_sync")]


@pytest.mark.parametrize(
    ("client", "freezer"),
    cases(
        [("blocking", "freezegun"), ("blocking", "patched"), ("async", "freezegun"), ("async", "patched")],
        rest=[(client, freezer) for client in ("blocking", "async") for freezer in ("freezegun-past", "time-machine")],
    ),
)
def test_everything_ends_while_time_stands_still(
    run_program: Callable[..., list[str]], client: str, freezer: str
) -> None:
    assert run_program("frozen", freezer, client, new=True) == [
        "run -> hi",
        "wait -> completed",
        "lines -> ['1', '2']",
        "deadline of a run -> DeadlineExceededError",
        "deadline of a wait -> DeadlineExceededError",
        "deadline of output -> DeadlineExceededError",
        "session -> True",
        "fleet -> ['a', 'b']",
        "item -> DeadlineExceededError",
        "directory -> 1",
        "after -> True",
        "own backend -> hi",
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("travel", [time_machine.travel, freezegun.freeze_time], ids=["time-machine", "freezegun"])
@pytest.mark.parametrize("year", [2001, 2091])
async def test_a_date_to_try_again_at_counts_from_the_reply_s_own(
    server: ScriptedServer, travel: Callable[[datetime], object], year: int
) -> None:
    now = datetime.now(timezone.utc)
    headers = {"Date": format_datetime(now), "Retry-After": format_datetime(now + timedelta(seconds=1))}
    server.script(Reply(status=429, body=b"{}", headers=headers), Reply(body=b'{"vms": []}'))
    travelling: Any = travel(datetime(year, 1, 1, tzinfo=timezone.utc))
    delays: list[float] = []
    async with make_client(server, hooks=Hooks(on_retry=lambda event: delays.append(event.delay))) as client:
        with travelling:
            assert (await client.list_vms()).vms == ()
    assert delays == [1.0]


CLOCKS = {"time": {"monotonic", "monotonic_ns", "perf_counter", "sleep", "time"}, "anyio": {"sleep", "sleep_until"}}
CLOCKS["anyio"] |= {"move_on_after", "fail_after", "move_on_at", "fail_at", "current_time"}
CLOCKS["asyncio"] = {"wait_for", "timeout", "timeout_at"}
THE_CLOCK = "arker/_tasks/clock.py"
ALLOWED = {
    ("arker/_transport/observer.py", "time.time"),  # the moments that hooks are told
    ("arker/_transport/http/pieces.py", "anyio.current_time"),  # counted by the loop, as aiohttp's timeouts are
    ("arker/_paths/inotify.py", "time.sleep"),  # a program that runs in VMs
    # In the loop that is this package's own.
    ("arker_sync/_bridge/share.py", "asyncio.wait"),
    ("arker_sync/_bridge/lease.py", "asyncio.wait_for"),
    ("arker_sync/_bridge/workers.py", "asyncio.wait"),
}


def calls(path: Path) -> list[str]:
    """Return the calls of these in a file, and its bounded waits of asyncio."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in CLOCKS.get(node.value.id, ()):
                found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module in CLOCKS:
            found += [f"{node.module}.{each.name}" for each in node.names if each.name in CLOCKS[node.module]]
        if isinstance(node, ast.Call):
            function, first = ast.unparse(node.func), ast.unparse(node.args[0]) if node.args else ""
            if function == "asyncio.sleep" and first != "0":
                found.append(function)
            if function == "asyncio.wait" and any(each.arg == "timeout" for each in node.keywords):
                found.append(function)
            if function.endswith((".call_later", ".call_at")) and function != "clock.call_later":
                found.append(function)
    return found


def test_only_one_file_knows_the_clocks() -> None:
    found: set[tuple[str, str]] = set()
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            inside = path.relative_to(package).parts
            if inside[0] == "emulator" and inside[1] in {"server", "sandbox"}:
                continue
            found |= {(path.relative_to(package.parent).as_posix(), call) for call in calls(path)}
    assert any(file == THE_CLOCK for file, _ in found)
    assert {(file, call) for file, call in found if file != THE_CLOCK} == ALLOWED
