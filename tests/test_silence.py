"""Foreground runs whose server is silent: the VM has gone, the reply was lost, or the command takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest

from arker import AsyncArker, AsyncVM, CompletedRunResult, HttpTimeouts, NetworkError, NotFoundError, VMGoneError
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok
from tests.support.waiting import PATIENCE, longer_and_longer, until

pytestmark = pytest.mark.anyio

SILENCE = HttpTimeouts(silence=0.05)
NEVER = 60.0


def a_run(run_id: str = "r1", *, state: str = "running", command: str = "make", **more: Any) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "session_id": "s1",
        "command": command,
        "state": state,
        "started_at": "2026-01-01T00:00:00Z",
        **more,
    }


def with_output(run: dict[str, Any], stdout: str) -> dict[str, Any]:
    return {**run, "stdout": stdout, "stdout_encoding": "utf-8", "stderr": "e", "stderr_encoding": "utf-8"}


class Quiet:
    """A server whose foreground runs are silent; what it says about VM and runs can be set."""

    def __init__(self) -> None:
        self.vm: Callable[[], Reply] = lambda: ok({"vm_id": "v", "state": "running"})
        self.runs: list[dict[str, Any]] = [a_run()]
        self.run: Callable[[], Reply] = lambda: ok(with_output(a_run(), "so far"))
        self.posts: list[Reply | Callable[[], Awaitable[Reply]]] = [ok(completed(), delay=NEVER)]
        self.keys: list[str | None] = []
        self.asked = 0

    def __call__(self, request: Recorded) -> Reply | Awaitable[Reply]:
        if request.method == "POST":
            self.keys.append(request.key)
            post = self.posts[min(len(self.keys), len(self.posts)) - 1]
            return post if isinstance(post, Reply) else post()
        if request.path.endswith("/runs"):
            return ok({"runs": self.runs})
        if "/runs/" in request.path:
            return self.run()
        self.asked += 1
        return self.vm()

    def after(self, asked: int, reply: Reply) -> Callable[[], Awaitable[Reply]]:
        """Return what replies as soon as the VM was asked for so many times."""

        async def post() -> Reply:
            await until(lambda: self.asked >= asked)
            return reply

        return post


@pytest.fixture
def quiet(server: ScriptedServer) -> Quiet:
    quiet = Quiet()
    server.answer(quiet)
    return quiet


async def run(server: ScriptedServer, *, session_id: str | None = None) -> CompletedRunResult:
    async with make_client(server, timeout=SILENCE) as client:
        with anyio.fail_after(PATIENCE):
            return await client.vm("v").run("make", session_id=session_id)


async def test_a_vm_that_has_gone_ends_the_run_with_what_was_captured(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.vm = lambda: ok({"vm_id": "v", "state": "running"}) if quiet.asked < 3 else error("not_found", status=404)
    with pytest.raises(VMGoneError) as caught:
        await run(server)
    gone = caught.value
    assert (gone.stdout, gone.stderr) == (b"so far", b"e")
    assert (gone.vm_id, gone.run_id, gone.status, gone.outcome) == ("v", "r1", 404, "unknown")
    assert gone.idempotency_key == quiet.keys[0]
    assert gone.operation == "vm.run"
    assert len(quiet.keys) == 1


async def test_nothing_is_captured_where_it_could_be_of_another_run(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.runs = [a_run("r1"), a_run("r2")]
    quiet.vm = lambda: ok({"vm_id": "v", "state": "running"}) if quiet.asked < 3 else error("not_found", status=404)
    with pytest.raises(VMGoneError) as caught:
        await run(server)
    assert (caught.value.stdout, caught.value.run_id) == (b"", None)


async def test_the_session_tells_runs_apart(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.runs = [a_run("r0", session_id="s0"), a_run("r1"), a_run("r2", command="other")]
    quiet.vm = lambda: ok({"vm_id": "v", "state": "running"}) if quiet.asked < 3 else error("not_found", status=404)
    with pytest.raises(VMGoneError) as caught:
        await run(server, session_id="s1")
    assert caught.value.run_id == "r1"


async def test_a_command_that_takes_its_time_is_left_alone(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.posts = [quiet.after(3, ok(completed("done")))]
    assert (await run(server)).stdout == b"done"
    assert len(quiet.keys) == 1


async def test_the_output_is_read_ever_more_rarely(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.posts = [quiet.after(20, ok(completed("done")))]
    await run(server)
    reads = sum("/runs/" in request.path for request in server.requests)
    assert reads == 5, "after the questions 1, 2, 4, 8 and 16"


@pytest.mark.parametrize("sign", ["the VM is idle", "the run has ended"])
async def test_a_reply_that_was_lost_is_asked_for_again_by_its_key(
    server: ScriptedServer, quiet: Quiet, sign: str
) -> None:
    quiet.posts = [ok(completed(), delay=NEVER), ok(completed("found"))]
    if sign == "the VM is idle":
        quiet.vm = lambda: ok({"vm_id": "v", "state": "idle"})
    else:
        quiet.run = lambda: ok(with_output(a_run(state="completed"), "all"))
    assert (await run(server)).stdout == b"found"
    assert len(quiet.keys) == 2
    assert quiet.keys[0] is not None
    assert quiet.keys[0] == quiet.keys[1]


def idle(quiet: Quiet, *, times: int) -> Callable[[], Reply]:
    """Return a VM that is idle so many times, and then leaves questions without an answer."""
    return lambda: ok({"vm_id": "v", "state": "idle"}, delay=0.0 if quiet.asked <= times else NEVER)


async def test_a_reply_that_is_just_on_its_way_is_not_taken_for_lost(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.posts = [quiet.after(1, ok(completed("late")))]
    quiet.vm = idle(quiet, times=1)
    assert (await run(server)).stdout == b"late"
    assert len(quiet.keys) == 1


async def test_nor_is_the_second_after_a_first_that_was_lost(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.posts = [ok(completed(), delay=NEVER), quiet.after(3, ok(completed("late")))]
    quiet.vm = idle(quiet, times=3)
    assert (await run(server)).stdout == b"late"
    assert len(quiet.keys) == 2


@pytest.mark.parametrize(
    "answer", [error("internal", status=500), dropped(Drop.RESET), ok({"nonsense": True}), ok({"vm_id": "v"})]
)
async def test_questions_without_an_answer_say_nothing(server: ScriptedServer, quiet: Quiet, answer: Reply) -> None:
    quiet.posts = [quiet.after(8, ok(completed("done")))]
    quiet.vm = lambda: answer
    assert (await run(server)).stdout == b"done"


async def test_runs_that_are_not_found_say_nothing_of_the_vm(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.posts = [quiet.after(4, ok(completed("done")))]
    quiet.run = lambda: error("not_found", status=404)
    assert (await run(server)).stdout == b"done"


async def test_who_does_not_retry_gets_an_error_for_a_lost_reply(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.vm = lambda: ok({"vm_id": "v", "state": "idle"})
    async with make_client(server, timeout=SILENCE, retry=False) as client:
        with pytest.raises(NetworkError) as caught:
            await client.vm("v").run("make")
    assert caught.value.outcome == "unknown"
    assert caught.value.idempotency_key


async def test_without_the_bound_nobody_asks(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.posts = [ok(completed("done"), delay=0.3)]
    async with make_client(server, timeout=HttpTimeouts(silence=None)) as client:
        await client.vm("v").run("make")
    assert quiet.asked == 0


async def test_only_foreground_runs_are_asked_after(server: ScriptedServer, quiet: Quiet) -> None:
    quiet.posts = [ok({"run_id": "r1"}, delay=0.3)]
    async with make_client(server, timeout=SILENCE) as client:
        await client.vm("v").run("make", background=True)
    assert quiet.asked == 0


async def give_up(run: Callable[..., Awaitable[object]], how: str, seconds: float, quiet: Quiet) -> None:
    """Begin a run and give it up after some seconds; by cancelling it, as soon as the server was asked for the VM."""
    if how == "deadline":
        with pytest.raises(TimeoutError):
            await run(deadline=seconds)
    elif how == "fail_after":
        with pytest.raises(TimeoutError), anyio.fail_after(seconds):
            await run()
    elif how == "wait_for":
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(run(), seconds)
    else:
        task = asyncio.ensure_future(run())
        await until(lambda: quiet.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("how", ["cancel", "deadline", "fail_after", "wait_for"])
async def test_a_caller_that_gives_up_during_the_silence(server: ScriptedServer, quiet: Quiet, how: str) -> None:
    tasks = asyncio.all_tasks()
    async with make_client(server, timeout=SILENCE) as client:
        longer = longer_and_longer(0.3)
        while True:
            seconds = next(longer)
            await give_up(partial(client.vm("v").run, "make"), how, seconds, quiet)
            assert asyncio.all_tasks() == tasks
            if quiet.asked:
                break


async def test_a_run_whose_connection_is_lost_finds_its_vm_gone(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(
        dropped(Drop.AFTER_PROCESSING), error("not_found", status=404), error("not_found", "no such VM", status=404)
    )
    with pytest.raises(VMGoneError) as caught:
        await client.vm("v").run("make")
    assert caught.value.attempts == 2
    assert caught.value.outcome == "unknown"


async def test_a_vm_that_never_was_is_not_found(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(error("not_found", status=404))
    with pytest.raises(NotFoundError) as caught:
        await client.vm("v").run("make")
    assert type(caught.value) is NotFoundError


async def test_a_long_wait_that_is_lost_again_and_again_is_taken_up_each_time(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What lost connections have to hold to count as progress; ten seconds would be long for a test.
    monkeypatch.setattr("arker._transport.transport.HELD_WELL", 0.02)
    held = Reply(delay=0.05, drop=Drop.AFTER_PROCESSING)
    server.script(*[held] * 9, ok(completed("done")))
    async with make_client(server) as client:
        assert (await client.vm("v").run("make")).stdout == b"done"
    assert len({request.key for request in server.requests}) == 1
    assert len(server.requests) == 10


async def test_one_that_is_lost_at_once_is_not(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(*[dropped(Drop.AFTER_PROCESSING)] * 4)
    with pytest.raises(NetworkError):
        await client.vm("v").run("make")


@pytest.mark.parametrize("state", ["hibernated", None])
async def test_a_vm_in_a_state_of_a_newer_service_ends_no_wait_and_begins_none(
    server: ScriptedServer, quiet: Quiet, state: str | None
) -> None:
    """Whether anything runs in it, its runs tell then."""
    quiet.vm = lambda: ok({"vm_id": "v", "state": state})
    quiet.posts = [quiet.after(4, ok(completed())), ok(completed("again"))]
    assert (await run(server)).stdout == b"hi\n"
    assert len(quiet.keys) == 1
    quiet.keys.clear()
    quiet.posts = [ok(completed(), delay=NEVER), ok(completed("again"))]
    quiet.runs = [a_run(state="completed")]
    assert (await run(server)).stdout == b"again"
    assert len(set(quiet.keys)) == 1


@pytest.mark.parametrize("gone", [Reply(status=404, body=b"<html>"), Reply(status=410), error("expired", status=410)])
async def test_a_vm_may_be_gone_in_other_words(server: ScriptedServer, quiet: Quiet, gone: Reply) -> None:
    quiet.vm = lambda: gone
    with pytest.raises(VMGoneError):
        await run(server)


async def test_a_run_that_went_to_the_background_unasked(server: ScriptedServer, vm: AsyncVM) -> None:
    """A foreground run that is answered like one in the background is followed to its end."""
    end = {"run_id": "r-1", "state": "completed", "exit_code": 0, "stdout": "hi", "stderr": ""}
    server.script(ok({"run_id": "r-1"}), ok({"runs": [{"run_id": "r-1", "state": "running"}]}))
    server.script(ok({"runs": []}), ok(end))
    result = await vm.run("true", check=True)
    assert (result.stdout, result.exit_code, result.run_id) == (b"hi", 0, "r-1")
