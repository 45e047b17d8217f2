"""Commands with all that they get: what goes over the wire, on a scripted server."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadRequestError,
    CompletedRunResult,
    DeadlineExceededError,
    NetworkError,
    PayloadTooLargeError,
)
from arker._commands.shell import Origin, Subshell, mark_of
from tests.support.clients import COMPUTE, make_client
from tests.support.samples import completed
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok
from tests.support.waiting import PATIENCE, put_forward, some_turns, until

pytestmark = pytest.mark.anyio

RUNS = f"{COMPUTE}/v1/vms/vm-1/runs"
SESSIONS = f"{COMPUTE}/v1/vms/vm-1/sessions"
ENDED = {"run_id": "r", "state": "completed", "stdout": "out", "stderr": "", "exit_code": 0}
RUNNING = {"run_id": "r", "state": "running", "stdout": "", "stderr": "", "exit_code": None}


def posts(server: ScriptedServer) -> list[Recorded]:
    return [request for request in server.requests if request.method == "POST" and request.path == RUNS]


# --- what is sent as it always was ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({}, b'{"command":"echo \'h\xc3\xa9\'"}'),
        ({"timeout": 2, "session_idx": 0}, b'{"command":"echo \'h\xc3\xa9\'","session_idx":0,"timeout":2}'),
        ({"session_id": "s"}, b'{"command":"echo \'h\xc3\xa9\'","session_id":"s"}'),
        ({"env": None, "cwd": None, "input": None, "on_stdout": None}, b'{"command":"echo \'h\xc3\xa9\'"}'),
        ({"on_cancel": "leave", "idempotency_key": "k"}, b'{"command":"echo \'h\xc3\xa9\'"}'),
    ],
    ids=repr,
)
async def test_a_command_without_any_of_it_is_sent_byte_for_byte_as_ever(
    server: ScriptedServer, options: dict[str, Any], body: bytes
) -> None:
    async with make_client(server, overlap_sessions=8) as client:
        vm = client.vm("vm-1")
        server.script(ok(completed()))
        await vm.run("echo 'hé'", **options)
        assert [(each.method, each.target, each.body) for each in server.requests] == [("POST", RUNS, body)]
        if options.keys() <= {"timeout", "session_idx", "session_id"}:
            background = body[:-1].replace(b',"timeout":2', b"") + b',"background":true'
            background += (b',"timeout":2' if "timeout" in options else b"") + b"}"
            server.script(ok({"run_id": "r"}))
            await vm.run("echo 'hé'", background=True, **options)
            assert server.last.body == background


async def test_a_watched_or_killed_command_is_not_changed(server: ScriptedServer, vm: AsyncVM) -> None:
    heard: list[str] = []
    every: tuple[dict[str, Any], ...] = ({"on_cancel": "kill"}, {"on_stdout": heard.append})
    untyped: Any = vm
    for options in every:
        server.script(ok({"run_id": "r"}), ok(ENDED))
        result: CompletedRunResult = await untyped.run("cd /", **options)
        assert result.stdout == b"out"
        assert server.requests[-2].json == {"command": "cd /", "background": True}
        assert server.requests[-1].target == f"{RUNS}/r"


async def test_a_repeated_request_is_the_same(server: ScriptedServer, vm: AsyncVM) -> None:
    options: dict[str, Any] = {"env": {"A": "1"}, "cwd": "/usr", "input": "x", "idempotency_key": "k"}
    for _ in range(2):
        server.script(dropped(Drop.AFTER_PROCESSING), ok(completed()))
        await vm.run("true", **options)
    assert len({(request.body, request.key) for request in server.requests}) == 1
    line = Subshell(mark_of("k"), {"A": "1"}, "/usr", b"x").line("true")
    assert server.last.json == {"command": line}


# --- kill -------------------------------------------------------------------------------------------------------------


def followed(server: ScriptedServer) -> bool:
    """Return whether a run's state was asked for, so that its start was answered before."""
    return any(request.method == "GET" for request in server.requests)


async def test_the_run_is_cancelled_when_the_call_is(
    server: ScriptedServer, vm: AsyncVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script(ok({"run_id": "r"}))
    server.answer(lambda request: ok({"cancelled": True}) if request.method == "DELETE" else ok(RUNNING))
    call = asyncio.create_task(vm.run("sleep 9", on_cancel="kill", deadline=50))
    await until(lambda: followed(server))
    await put_forward(monkeypatch, 50)
    with pytest.raises(DeadlineExceededError) as caught:
        await call
    assert (server.last.method, server.last.target) == ("DELETE", f"{RUNS}/r")
    assert (caught.value.run_id, caught.value.outcome) == ("r", "applied")


async def test_a_run_that_is_not_known_yet_is_cancelled_when_it_is(server: ScriptedServer, vm: AsyncVM) -> None:
    unknown = 3

    def answer(request: Recorded) -> Reply:
        nonlocal unknown
        if request.method != "DELETE":
            return ok(RUNNING)
        unknown -= 1
        return error("not_found", status=404) if unknown >= 0 else ok({"cancelled": True})

    server.script(ok({"run_id": "r"}))
    server.answer(answer)
    call = asyncio.create_task(vm.run("sleep 9", on_cancel="kill"))
    await until(lambda: followed(server))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [request.method for request in server.requests[-4:]] == ["DELETE"] * 4


async def test_a_run_that_never_becomes_known_is_given_up_after_two_seconds(
    server: ScriptedServer, vm: AsyncVM
) -> None:
    server.script(ok({"run_id": "r"}))
    server.answer(lambda request: error("not_found", status=404) if request.method == "DELETE" else ok(RUNNING))
    loop = asyncio.get_running_loop()
    call = asyncio.create_task(vm.run("sleep 9", on_cancel="kill"))
    await until(lambda: followed(server))
    began = loop.time()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert 1.9 < loop.time() - began < PATIENCE


async def test_the_answer_to_a_post_in_flight_is_waited_for(server: ScriptedServer, vm: AsyncVM) -> None:
    given_up = threading.Event()

    async def late(_: Recorded) -> Reply:
        await until(given_up.is_set)
        return ok({"run_id": "r"})

    server.script(late, ok({"cancelled": True}))
    call = asyncio.create_task(vm.run("sleep 9", on_cancel="kill"))
    await until(lambda: server.requests)
    call.cancel()
    await some_turns()
    given_up.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [request.method for request in server.requests] == ["POST", "DELETE"]


async def test_nothing_is_cancelled_when_nothing_was_started(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(error("bad_request", status=400))
    with pytest.raises(BadRequestError):
        await vm.run("sleep 9", on_cancel="kill")
    assert [request.method for request in server.requests] == ["POST"]


async def test_a_run_that_cannot_be_followed_is_killed(server: ScriptedServer, vm: AsyncVM) -> None:
    def answer(request: Recorded) -> Reply:
        return ok({"cancelled": True}) if request.method == "DELETE" else dropped(Drop.AFTER_PROCESSING)

    server.script(ok({"run_id": "r"}))
    server.answer(answer)
    with pytest.raises(NetworkError) as caught:
        await vm.run("sleep 9", on_cancel="kill")
    assert server.last.method == "DELETE"
    assert (caught.value.run_id, caught.value.outcome) == ("r", "applied")


async def test_a_server_that_answers_at_once_with_the_result(server: ScriptedServer, vm: AsyncVM) -> None:
    heard: list[str] = []
    server.script(ok(completed("out", "", 0)))
    assert (await vm.run("true", on_cancel="kill", on_stdout=heard.append)).stdout == b"out"
    assert heard == ["out"]


# --- lines that are too long ------------------------------------------------------------------------------------------


def storing(server: ScriptedServer, run: Callable[[Recorded], Reply]) -> dict[str, bytes]:
    """Have the server take files, and answer runs; return the files."""
    files: dict[str, bytes] = {}

    def answer(request: Recorded) -> Reply:
        body: dict[str, Any] = request.json if request.body else {}
        if request.path.endswith("/sync"):
            entry: dict[str, Any] = body["writes"][0]
            files[entry["path"]] = request.body
            size: int = entry["size"]
            facts = {"path": entry["path"], "size": size, "complete": True, "written": True}
            result: dict[str, Any] = {**facts, "received_bytes": size, "ranges": []}
            return ok({"results": [result]})
        if request.path == SESSIONS:
            return ok({"session_id": "own", "state": "idle", "cwd": "/", "env": {}})
        if request.method == "DELETE":
            return ok({"deleted": True})
        return run(request)

    server.answer(answer)
    return files


async def test_a_line_that_the_server_refuses_goes_in_a_file(server: ScriptedServer, vm: AsyncVM) -> None:
    text = "echo " + "x" * 100_000

    def run(request: Recorded) -> Reply:
        if request.method == "GET":
            return ok(ENDED)
        if len(request.body) > 50_000:
            return error("payload_too_large", status=413)
        return ok({"run_id": "r"})

    files = storing(server, run)
    assert (await vm.run(text)).stdout == b"out"
    [path] = files
    refused, posted = posts(server)[:2]
    assert refused.json == {"command": text}
    assert re.fullmatch(r"/tmp/\.arker-[0-9A-Z]{26}-command", path)
    assert path in posted.json["command"]
    assert refused.key != posted.key
    assert len(posted.body) < 500


async def test_a_short_line_that_is_refused_is_the_callers(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(error("payload_too_large", status=413))
    with pytest.raises(PayloadTooLargeError):
        await vm.run("echo hi", env={"A": "1"})
    assert len(server.requests) == 1


async def test_a_file_is_removed_when_the_command_was_not_started(server: ScriptedServer, vm: AsyncVM) -> None:
    def run(request: Recorded) -> Reply:
        if request.json.get("session_id") == "own":
            return ok(completed())
        return error("bad_request", status=400)

    files = storing(server, run)
    with pytest.raises(BadRequestError):
        await vm.run("cat", input=b"x" * 50_000)
    [path] = files
    assert posts(server)[-1].json["command"] == f"rm -rf -- {path}"


# --- commands at once -------------------------------------------------------------------------------------------------


def session(name: str, index: int, **more: Any) -> dict[str, Any]:
    return {"session_id": name, "session_idx": index, "state": "idle", "cwd": "/home/user", "env": {}, **more}


@pytest.fixture
async def overlapping(server: ScriptedServer) -> Any:
    async with make_client(server, overlap_sessions=2) as client:
        yield client


async def test_a_command_beside_another_names_a_session_of_the_clients_own(
    server: ScriptedServer, overlapping: AsyncArker
) -> None:
    vm = overlapping.vm("vm-1")
    default = session("zero", 0, state="running", cwd="/usr", env={"A": "1", "SAME": "x", "PWD": "/usr"})

    over = threading.Event()

    async def answer(request: Recorded) -> Reply:
        if request.path == RUNS:
            if request.json["command"] == "first":
                await until(over.is_set)
            return ok(completed())
        if request.path == SESSIONS:
            if request.method == "GET":
                return ok({"sessions": [default]})
            mark = request.json["env"]
            return ok(session("own", 1, env={"SAME": "x", "GONE": "y", **mark}))
        return ok({"deleted": True})

    server.answer(answer)
    first = asyncio.create_task(vm.run("first"))
    await until(lambda: server.requests)
    await vm.run("second")
    await vm.run("third")
    over.set()
    await first
    await vm.run("fourth")
    bodies = [request.json for request in posts(server)]
    assert [body.get("session_id") for body in bodies] == [None, "own", "own", None]
    origin = Origin("/usr", {"A": "1"}, ("GONE", "ARKER_SESSION"))
    for body, command, request in zip(bodies[1:3], ("second", "third"), posts(server)[1:3], strict=True):
        assert request.key is not None
        assert body["command"] == Subshell(mark_of(request.key), origin=origin).line(command)
    assert [request.method for request in server.requests if request.path == SESSIONS] == ["GET", "POST"]
    await overlapping.aclose()
    assert (server.last.method, server.last.target) == ("DELETE", f"{SESSIONS}/own")


async def test_where_there_are_no_sessions_commands_queue(server: ScriptedServer, overlapping: AsyncArker) -> None:
    vm = overlapping.vm("vm-1")
    server.answer(
        lambda request: ok(completed(), delay=0.1) if request.path == RUNS else error("not_implemented", status=501)
    )
    await asyncio.gather(*(vm.run(f"echo {n}") for n in range(3)))
    assert [orjson.loads(request.body) for request in posts(server)] == [{"command": f"echo {n}"} for n in range(3)]


async def test_what_names_its_session_or_runs_nothing_is_sent_as_it_is(
    server: ScriptedServer, overlapping: AsyncArker
) -> None:
    vm = overlapping.vm("vm-1")
    over = threading.Event()

    async def answer(request: Recorded) -> Reply:
        if request.json["command"] == "first":
            await until(over.is_set)
        return ok(completed())

    server.answer(answer)
    first = asyncio.create_task(vm.run("first"))
    await until(lambda: server.requests)
    await vm.run("a", session_idx=0)
    await vm.run("b", session_idx=3)
    await vm.run("c", session_id="s")
    await vm.run("d", idempotency_key="k")
    await vm.run("", signal="INT")
    await vm.run("", release="cpu")
    over.set()
    await first
    assert [request.path for request in server.requests] == [RUNS] * 7
    assert [request.json.get("session_id") for request in server.requests] == [None, None, None, "s", None, None, None]
