"""A run in the foreground that takes longer than a server keeps it there: one run, one result, all of its output."""

from __future__ import annotations

import time

import pytest

from arker import AsyncArker, Hooks, RequestEvent
from arker.emulator import EmulatorOptions
from tests.soak.conftest import Soak
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

WINDOW = 1.0
"""Seconds after which the server answers; the service's window is 300."""
_PAUSE = 0.05
_COMMAND = """\
number=0
while [ $number -lt {lines} ]; do
    echo "out $number"; echo "err $number" >&2
    number=$((number + 1)); sleep {pause}
done
exit 7
"""


async def test_a_run_longer_than_the_window(soak: Soak) -> None:
    seconds = max(20.0, soak.seconds(400))
    lines = round(seconds / _PAUSE)
    requests: list[RequestEvent] = []
    async with ForkedEmulator(EmulatorOptions(generation="1", foreground_window=WINDOW)) as emulator:
        hooks = Hooks(on_request=requests.append)
        async with AsyncArker(**emulator.client_options, hooks=hooks) as ar, await ar.fork("ubuntu") as vm:
            began = time.monotonic()
            done = await vm.run(_COMMAND.format(lines=lines, pause=_PAUSE))
            took = time.monotonic() - began
            runs = list(await vm.list_runs())
            executions = emulator.journal.executions()
    posts = [event for event in requests if event.operation == "vm.run"]
    print(f"{took:.1f} s, {len(requests)} requests, {len(done.stdout)} bytes")
    assert took >= seconds
    assert (done.state, done.exit_code, done.run_id) == ("completed", 7, runs[0].run_id)
    assert done.stdout == b"".join([b"out %d\n" % number for number in range(lines)])
    assert done.stderr == b"".join([b"err %d\n" % number for number in range(lines)])
    assert (len(runs), len(executions), len(posts)) == (1, 1, 1)
