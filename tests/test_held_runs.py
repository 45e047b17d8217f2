"""`AsyncRun`: what is asked for, what is handed out, and what becomes of it when something goes wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from arker import (
    ArkerError,
    AsyncRun,
    AsyncVM,
    BackgroundRunResult,
    BadReplyError,
    CompletedRunResult,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    NetworkError,
    NotFoundError,
    OutputChangedError,
    OutputChunk,
    OutputLine,
    RunFailedError,
    RunNotFinishedError,
    VMGoneError,
)
from tests.support.clients import COMPUTE, make_client
from tests.support.growing import RUN, RUNS, GrowingRun, listed, run_json
from tests.support.samples import completed, full
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok
from tests.support.today import nested
from tests.support.waiting import longer_and_longer, put_forward, until

pytestmark = pytest.mark.anyio

GOING = listed(run_json())
NOTHING = listed()


@pytest.fixture
def run(vm: AsyncVM) -> AsyncRun:
    return vm.attach_run("run-1")


async def collect(chunks: AsyncIterator[OutputChunk]) -> dict[str, bytes]:
    found = {"stdout": b"", "stderr": b""}
    async for chunk in chunks:
        found[chunk.stream] += chunk.data
    return found


def reads(server: ScriptedServer) -> int:
    return sum(request.path == RUN for request in server.requests)


# --- starting and attaching ------------------------------------------------------------------------------------------


async def test_start(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(full(BackgroundRunResult)))
    run = await vm.start(
        ["make", "all tests"],
        session_id="ses-1",
        session_idx=2,
        timeout=60,
        end_symbol="auto",
        vcpu_count=1,
        memory_mib=2,
        disk_mib=3,
        network={"inbound": {"ports": {8080: {"visibility": "public"}}}},
        acquire="cpu",
        release=["disk"],
        idempotency_key="k-1",
        deadline=30,
    )
    assert (server.last.method, server.last.target, server.last.key) == ("POST", RUNS, "k-1")
    assert server.last.json == {
        "command": "make 'all tests'",
        "session_id": "ses-1",
        "session_idx": 2,
        "background": True,
        "timeout": 60.0,
        "end_symbol": "auto",
        "vcpu_count": 1,
        "memory_mib": 2,
        "disk_mib": 3,
        "network": {"inbound": {"ports": {"8080": {"visibility": "public"}}}},
        "acquire": "cpu",
        "release": "disk",
    }
    assert (run.run_id, run.vm_id, run.state, run.ended) == ("run-1", "vm-1", "running", False)
    assert (run.data, run.exit_code, run.fail_reason, run.session_id, run.command) == (None, None, None, None, None)
    assert [tunnel.tunnel_key for tunnel in run.tunnels] == ["tk-1"]
    assert repr(run) == "<AsyncRun run-1 running in VM vm-1>"


@pytest.mark.parametrize(
    ("more", "timed_out"),
    [
        ({"completed_at": "2026-01-02T03:05:05.2Z"}, True),
        ({"completed_at": "2026-01-02T03:05:05.2Z", "exit_code": -1}, True),
        ({"completed_at": "2026-01-02T03:05:04.9Z"}, False),  # before its time: something else has ended it
        ({"completed_at": "2026-01-02T03:05:05.2Z", "exit_code": 3}, False),  # it ended by itself
        ({"completed_at": "2026-01-02T03:05:05.2Z", "fail_reason": "no room"}, False),  # the server knows better
        ({"completed_at": None}, False),
        ({"completed_at": "soon"}, False),
    ],
)
async def test_a_server_that_gives_no_reason_for_a_timeout(
    server: ScriptedServer, vm: AsyncVM, more: dict[str, Any], timed_out: bool
) -> None:
    ended = run_json(b"so far", state="failed", **more)
    server.script(ok({"run_id": "run-1"}), NOTHING, ok(ended), NOTHING, ok(ended))
    run = await vm.start("make", timeout=60)
    result = await run.wait()
    assert (result.timed_out, result.stdout) == (timed_out, b"so far")
    assert (
        run.fail_reason
        == result.fail_reason
        == ("timeout: the command did not end within 60 s" if timed_out else more.get("fail_reason"))
    )
    # Another handle does not know how much time the run was given.
    assert not (await vm.attach_run("run-1").wait()).timed_out


async def test_a_run_is_started_once(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(dropped(Drop.AFTER_PROCESSING), ok({"run_id": "run-1"}))
    assert (await vm.start("make")).run_id == "run-1"
    first, second = server.requests
    assert first.key == second.key is not None


@pytest.mark.parametrize("reply", [{**completed(), "run_id": None}, {"run_id": ".."}, {}])
async def test_a_start_without_an_id(server: ScriptedServer, vm: AsyncVM, reply: dict[str, Any]) -> None:
    server.script(ok(reply))
    with pytest.raises(BadReplyError) as caught:
        await vm.start("make")
    assert caught.value.outcome == "applied"


async def test_attaching_asks_nothing(server: ScriptedServer, vm: AsyncVM) -> None:
    run = vm.attach_run("a/b")
    assert (run.run_id, run.state, run.ended) == ("a/b", None, False)
    assert server.requests == []
    with pytest.raises(InvalidArgumentError, match="run_id"):
        vm.attach_run("..")
    server.script(listed(run_json(run_id="other")), ok(run_json(state="failed", fail_reason="timeout")))
    assert await run.refresh() is run
    assert (run.state, run.fail_reason, run.session_id, run.ended) == ("failed", "timeout", "ses-1", True)
    assert server.last.target == f"{RUNS}/a%2Fb"
    assert type(run.data).__name__ == "RunSummary"  # without the output
    await run.refresh()  # nothing can have changed
    assert len(server.requests) == 2


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_waiting_asks_small_questions_only(server: ScriptedServer, run: AsyncRun) -> None:
    server.script(GOING, GOING, dropped(Drop.RESET), GOING, NOTHING)
    server.script(ok(run_json(b"out", b"\xff", state="completed", exit_code=3)))
    result = await run.wait()
    assert result == CompletedRunResult(
        run_id="run-1",
        session_id="ses-1",
        stdout=b"out",
        stdout_encoding="utf-8",
        stderr=b"\xff",
        stderr_encoding="base64",
        exit_code=3,
    )
    assert [request.target for request in server.requests] == [f"{RUNS}?limit=1000&state=running"] * 5 + [RUN]
    assert (run.state, run.exit_code, run.ended) == ("completed", 3, True)
    server.script(ok(run_json(b"out", state="completed")))
    await run.wait()  # nothing needs to be asked before


async def test_check(server: ScriptedServer, run: AsyncRun) -> None:
    server.script(NOTHING, ok(run_json(b"o", b"why", state="failed", fail_reason="timeout: killed")))
    with pytest.raises(RunFailedError, match="timeout: killed") as caught:
        await run.wait(check=True)
    assert (caught.value.stdout, caught.value.stderr, caught.value.exit_code) == (b"o", b"why", None)
    assert (caught.value.operation, caught.value.vm_id, caught.value.run_id) == ("run.wait", "vm-1", "run-1")
    server.script(ok(run_json(state="completed")))
    assert (await run.result(check=True)).exit_code == 0


async def test_the_result_of_a_run_that_goes_on(server: ScriptedServer, run: AsyncRun) -> None:
    server.script(GOING)
    with pytest.raises(RunNotFinishedError) as caught:
        await run.result()
    assert (caught.value.operation, caught.value.vm_id, caught.value.run_id) == ("run.result", "vm-1", "run-1")
    assert reads(server) == 0


async def test_a_deadline_leaves_it_going(
    server: ScriptedServer, run: AsyncRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer(GOING)
    waiting = asyncio.create_task(run.wait(deadline=50))
    await until(lambda: len(server.requests) >= 2)
    await put_forward(monkeypatch, 50)
    with pytest.raises(DeadlineExceededError) as caught:
        await waiting
    assert (caught.value.operation, caught.value.vm_id, caught.value.run_id) == ("run.wait", "vm-1", "run-1")
    assert 2 <= len(server.requests) <= 12
    assert {request.method for request in server.requests} == {"GET"}
    with pytest.raises(InvalidArgumentError, match="deadline"):
        await run.wait(deadline=0)


async def test_it_is_looked_for_on_every_page(server: ScriptedServer, run: AsyncRun) -> None:
    other = run_json(run_id="run-2")
    server.script(listed(other, cursor="c"), listed(other, run_json()))
    await run.refresh()
    assert run.state == "running"
    assert server.last.target == f"{RUNS}?cursor=c&limit=1000&state=running"


async def test_a_server_that_does_not_filter(server: ScriptedServer, run: AsyncRun) -> None:
    ended = run_json(b"all", state="cancelled")
    server.script(listed(run_json(run_id="run-2"), ended), ok(ended))
    assert (await run.wait()).state == "cancelled"


async def test_a_server_that_contradicts_itself(server: ScriptedServer, run: AsyncRun) -> None:
    server.script(NOTHING, ok(run_json()), NOTHING, ok(run_json()), NOTHING, ok(run_json(b"x", state="completed")))
    assert (await run.wait()).stdout == b"x"


async def test_states_that_this_version_does_not_know(server: ScriptedServer, run: AsyncRun) -> None:
    unknown = run_json(state="evicted")
    server.script(listed({**run_json(), "state": "resuming"}), listed(unknown), ok(unknown))
    assert (await run.wait()).state == "evicted"


async def test_a_run_that_is_not_there(server: ScriptedServer, run: AsyncRun) -> None:
    gone = error("not_found", status=404)
    server.script(NOTHING, gone, ok({"vm_id": "vm-1"}))
    with pytest.raises(NotFoundError) as caught:
        await run.wait()
    assert not isinstance(caught.value, VMGoneError)


@pytest.mark.parametrize("ask", ["wait", "refresh", "result", "output"])
async def test_a_vm_that_has_gone(server: ScriptedServer, run: AsyncRun, ask: str) -> None:
    gone = error("not_found", status=404)
    server.script(gone, gone)
    with pytest.raises(VMGoneError) as caught:
        await (collect(run.output()) if ask == "output" else getattr(run, ask)())
    assert (caught.value.vm_id, caught.value.run_id, caught.value.status) == ("vm-1", "run-1", 404)
    assert server.last.target == f"{COMPUTE}/v1/vms/vm-1"


# --- output ----------------------------------------------------------------------------------------------------------


async def test_each_byte_once_and_in_order(server: ScriptedServer, run: AsyncRun) -> None:
    steps = [
        (b"", b""),
        (b"one\n", b""),
        (b"one\n", b"err\n"),
        (b"one\ntwo\n", b"err\n"),
        (b"one\ntwo\nend", b"err\n!"),
    ]
    server.script(*[ok(run_json(*step)) for step in steps])
    server.script(ok(run_json(*steps[-1], state="completed")))
    chunks = [chunk async for chunk in run.output()]
    assert chunks == [
        OutputChunk("stdout", b"one\n"),
        OutputChunk("stderr", b"err\n"),
        OutputChunk("stdout", b"two\n"),
        OutputChunk("stdout", b"end"),
        OutputChunk("stderr", b"!"),
    ]
    assert (run.state, run.exit_code) == ("completed", 0)


async def test_every_reading_begins_anew(server: ScriptedServer, run: AsyncRun) -> None:
    server.answer(ok(run_json(b"all", state="completed")))
    assert await collect(run.output()) == await collect(run.output()) == {"stdout": b"all", "stderr": b""}


async def test_large_output_comes_in_pieces(server: ScriptedServer, run: AsyncRun) -> None:
    data = bytes(range(256)) * 10_000
    server.script(ok(run_json(data, state="completed")))
    chunks = [chunk.data async for chunk in run.output()]
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) == 1024 * 1024


async def test_lines(server: ScriptedServer, run: AsyncRun) -> None:
    text = "one\n\nz\N{LATIN SMALL LETTER O WITH DIAERESIS}n\r\nlast".encode()
    cut = text.index(b"n\r") - 1  # in the middle of a character
    server.script(ok(run_json(text[:2])), ok(run_json(text[:cut], b"\xff\n")))
    server.script(ok(run_json(text, b"\xff\nend\n", state="completed")))
    assert [line async for line in run.lines()] == [
        OutputLine("stdout", "one"),
        OutputLine("stdout", ""),
        OutputLine("stderr", "\N{REPLACEMENT CHARACTER}"),
        OutputLine("stdout", "z\N{LATIN SMALL LETTER O WITH DIAERESIS}n\r"),
        OutputLine("stderr", "end"),
        OutputLine("stdout", "last", terminated=False),
    ]


async def test_a_character_that_is_not_all_there(server: ScriptedServer, run: AsyncRun) -> None:
    # A server that knows text only shows the half of a character as U+FFFD until the other half is there.
    whole, half = "a\N{EURO SIGN}".encode(), "a\N{REPLACEMENT CHARACTER}".encode()
    server.script(ok(run_json(half)), ok(run_json(whole)), ok(run_json(whole + half[1:], state="completed")))
    assert (await collect(run.output()))["stdout"] == whole + half[1:]


@pytest.mark.parametrize("later", [b"ab", b"abX", b"Xbcd", b""])
async def test_output_that_changes(server: ScriptedServer, run: AsyncRun, later: bytes) -> None:
    server.script(ok(run_json(b"abc", b"e")), ok(run_json(later, b"ef", state="completed", retry_count=2)))
    chunks = run.output()
    assert [(await chunks.__anext__()).data for _ in range(2)] == [b"abc", b"e"]
    with pytest.raises(OutputChangedError, match="taken up the run 2 times") as caught:
        await chunks.__anext__()
    changed = caught.value
    assert (changed.stream, changed.handed_out) == ("stdout", 3)
    assert (changed.operation, changed.vm_id, changed.run_id) == ("run.output", "vm-1", "run-1")


async def test_output_that_is_lost_with_a_run_that_failed(server: ScriptedServer, run: AsyncRun) -> None:
    reason = "the embedded backend ended while the command was running"
    server.script(ok(run_json(b"abc")), ok(run_json(b"", state="failed", fail_reason=reason)))
    chunks = run.output()
    assert (await chunks.__anext__()).data == b"abc"
    with pytest.raises(OutputChangedError, match=f"has become shorter; the run has failed: {reason}"):
        await chunks.__anext__()
    assert run.fail_reason == reason


async def test_after_a_lost_connection_it_goes_on_where_it_was(server: ScriptedServer, run: AsyncRun) -> None:
    chunks = run.output()
    server.script(ok(run_json(b"abc")), *[dropped(Drop.MID_BODY)] * 4)
    assert (await chunks.__anext__()).data == b"abc"
    with pytest.raises(NetworkError):
        await chunks.__anext__()
    server.script(dropped(Drop.RESET), ok(run_json(b"abcdef")), ok(run_json(b"abcdefg", state="completed")))
    assert (await collect(chunks))["stdout"] == b"defg"


async def read_into(read: list[bytes], chunks: AsyncIterator[OutputChunk]) -> None:
    async for chunk in chunks:
        read.append(chunk.data)


async def test_a_deadline_of_all_of_it(server: ScriptedServer, run: AsyncRun) -> None:
    server.answer(ok(run_json(b"abc")))
    longer = longer_and_longer(0.3)
    while True:
        seconds = next(longer)
        read: list[bytes] = []
        with pytest.raises(DeadlineExceededError, match=re.escape(f"{seconds:g} s")) as caught:
            await read_into(read, run.output(deadline=seconds))
        if read:
            break
    assert read == [b"abc"]
    assert (caught.value.operation, caught.value.vm_id, caught.value.run_id) == ("run.output", "vm-1", "run-1")
    for wrong in (0, -1, "1", True):
        with pytest.raises(InvalidArgumentError):
            run.output(deadline=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError):
            run.lines(max_delay=wrong)  # type: ignore[arg-type]


async def test_each_step_may_be_one_of_another_task(server: ScriptedServer, run: AsyncRun) -> None:
    server.script(ok(run_json(b"a\n")), ok(run_json(b"a\nb\n")), ok(run_json(b"a\nb\nc\n", state="completed")))
    lines = run.lines(deadline=60)

    async def step() -> str:
        return (await lines.__anext__()).text

    assert [await asyncio.create_task(step()) for _ in range(3)] == ["a", "b", "c"]


async def test_two_tasks_cannot_share_it(server: ScriptedServer, run: AsyncRun) -> None:
    server.script(ok(run_json(b"a", state="completed"), delay=0.05))
    chunks = run.output()
    first = asyncio.create_task(collect(chunks))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another caller"):
        await chunks.__anext__()
    assert (await first)["stdout"] == b"a"


async def test_output_that_is_given_up_leaves_nothing(server: ScriptedServer, run: AsyncRun) -> None:
    server.answer(ok(run_json(b"a\nb\n")))
    before = asyncio.all_tasks()
    async for line in run.lines(deadline=60):
        assert line.text == "a"
        break
    task = asyncio.create_task(collect(run.output()))
    while reads(server) < 3:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    assert asyncio.all_tasks() == before
    asked = len(server.requests)
    await asyncio.sleep(0.1)
    assert len(server.requests) <= asked + 1, "one may have been on its way when the task was cancelled"


async def test_output_that_the_server_dropped_is_told(
    server: ScriptedServer, run: AsyncRun, caplog: pytest.LogCaptureFixture
) -> None:
    reason = "7 bytes of output beyond the limit of 3 were dropped"
    server.script(ok(run_json(b"abc", state="completed", fail_reason=reason)))
    with caplog.at_level(logging.WARNING, "arker"):
        assert (await collect(run.output()))["stdout"] == b"abc"
    assert run.fail_reason == reason
    assert reason in caplog.text


async def test_all_of_it_under_lost_connections(server: ScriptedServer) -> None:
    size = 6 * 1024 * 1024
    data = b"".join(b"%09d %s\n" % (number, b"x" * 53) for number in range(size // 64))
    longer = longer_and_longer(1.2)
    while True:
        seconds = next(longer)

        def written(elapsed: float, seconds: float = seconds) -> bytes:
            return data[: int(size * elapsed / seconds)]

        server.requests.clear()
        course = GrowingRun(written, seconds, cut=2)
        server.answer(course)
        async with make_client(server) as client:
            run = await client.vm("vm-1").start("seq")
            assert (await collect(run.output()))["stdout"] == data
        if course.cuts >= 1 and reads(server) >= 3:
            break
    assert course.read <= 3 * size + 256 * 1024 + 16 * 1024 * 60


# --- acting ----------------------------------------------------------------------------------------------------------


async def test_cancel(server: ScriptedServer, run: AsyncRun) -> None:
    server.script(ok({"cancelled": False}), ok({"cancelled": True}))
    assert (await run.cancel()).cancelled is False
    assert not run.ended
    assert (await run.cancel()).cancelled is True
    assert (str(run.state), run.ended) == ("cancelled", True)
    assert (server.last.method, server.last.target) == ("DELETE", RUN)


NO_SUCH_RUN = nested("not_found", "no such run", status=404, details={"resource": "run"})


async def test_cancelling_waits_for_a_run_to_be_known(server: ScriptedServer, run: AsyncRun) -> None:
    """A server of generation 1 may not know a run that it has just accepted (contract-1, section 6)."""
    server.script(NO_SUCH_RUN, NO_SUCH_RUN, ok({"cancelled": True}))
    assert (await run.cancel()).cancelled is True
    assert len(server.requests) == 3


async def test_cancelling_does_not_wait_for_what_is_gone(server: ScriptedServer, run: AsyncRun) -> None:
    for gone in (nested("not_found", status=404, details={"resource": "vm"}), error("not_found", status=404)):
        server.script(gone)
        with pytest.raises(NotFoundError):
            await run.cancel()
    assert len(server.requests) == 2


async def test_cancelling_waits_no_longer_than_it_may(server: ScriptedServer, run: AsyncRun) -> None:
    server.answer(NO_SUCH_RUN)
    with pytest.raises(DeadlineExceededError):
        await run.cancel(deadline=0.3)


async def test_a_signal_goes_to_its_session(server: ScriptedServer, run: AsyncRun) -> None:
    elsewhere = run_json(run_id="run-0", session_id="ses-0")
    server.script(listed(run_json(run_id="run-2"), run_json(), elsewhere), ok({**completed(""), "run_id": None}))
    await run.signal("INT")
    assert server.last.json == {"command": "", "session_id": "ses-1", "signal": "SIGINT"}


async def test_no_signal_goes_to_another_run(server: ScriptedServer, run: AsyncRun) -> None:
    server.script(listed(run_json(), run_json(run_id="run-0")))
    with pytest.raises(ConflictError, match="waits for another"):
        await run.signal("INT")
    server.script(NOTHING)
    with pytest.raises(ConflictError, match="has ended"):
        await run.signal("INT")
    assert {request.method for request in server.requests} == {"GET"}


@pytest.mark.parametrize("refusal", [NO_SUCH_RUN, error("conflict", "nothing runs", status=409)])
async def test_a_signal_to_a_run_that_ends_meanwhile(server: ScriptedServer, run: AsyncRun, refusal: Reply) -> None:
    """A session that runs nothing refuses a signal as what was not found (generation 1) or as a conflict (0.5)."""
    server.script(listed(run_json()), refusal, NOTHING)
    with pytest.raises(ConflictError, match="the run run-1 has ended: no signal was sent") as caught:
        await run.signal("INT")
    assert (caught.value.operation, caught.value.run_id) == ("run.signal", "run-1")
    server.script(listed(run_json()), refusal, listed(run_json()))
    with pytest.raises((ConflictError, NotFoundError)) as refused:
        await run.signal("INT")
    assert refused.value.status in (404, 409)  # the server's own word


async def test_what_an_id_may_hold(server: ScriptedServer, vm: AsyncVM) -> None:
    def refuse(_: Recorded) -> Reply:
        return error("forbidden", status=403)

    server.answer(refuse)
    run = vm.attach_run("a\nb")
    with pytest.raises(ArkerError) as caught:
        await run.cancel()
    assert "\n" not in str(caught.value)
