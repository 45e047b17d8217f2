"""Runs: what each operation puts on the wire, and what it makes of the answer (contract, section 5)."""

from __future__ import annotations

from typing import Any

import pytest

from arker import (
    AsyncVM,
    BackgroundRunResult,
    BadReplyError,
    CancelRunResponse,
    CompletedRunResult,
    InboundPortRequest,
    InboundRequest,
    InvalidArgumentError,
    NetworkRequest,
    NotFoundError,
    Run,
    RunFailedError,
    RunRequest,
)
from tests.support.clients import COMPUTE
from tests.support.samples import completed, full
from tests.support.secrets import API_KEY
from tests.support.server import ScriptedServer, ok
from tests.support.today import nested

pytestmark = pytest.mark.anyio
STRICT_REPLIES = True

RUNS = f"{COMPUTE}/v1/vms/vm-1/runs"


async def test_run_in_the_foreground(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(completed("out", "err", 3)))
    result = await vm.run("echo 'hé' && exit 3")
    request = server.last
    assert (request.method, request.target) == ("POST", RUNS)
    assert request.headers["Authorization"] == f"Bearer {API_KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.key
    assert request.json == {"command": "echo 'hé' && exit 3"}
    assert type(result) is CompletedRunResult
    assert (result.stdout, result.stderr, result.exit_code) == (b"out", b"err", 3)
    assert (result.stdout_text, result.stderr_text) == ("out", "err")
    assert (result.run_id, result.state, result.fail_reason, result.dispatch) == ("run-1", "completed", None, None)


async def test_run_in_the_background(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"run_id": "r-1"}), ok(full(BackgroundRunResult)))
    result = await vm.run("sleep 9", background=True)
    assert server.last.json == {"command": "sleep 9", "background": True}
    assert result == BackgroundRunResult(run_id="r-1", state="running", tunnels=())
    assert len((await vm.run("x", background=True)).tunnels) == 1


@pytest.mark.parametrize(
    ("command", "wire"),
    [
        (["echo", "a b", "$HOME", "it's", ""], "echo 'a b' '$HOME' 'it'\"'\"'s' ''"),
        (("ls",), "ls"),
        ("  ls  ", "  ls  "),
        ("a\nb", "a\nb"),
    ],
)
async def test_commands(server: ScriptedServer, vm: AsyncVM, command: Any, wire: str) -> None:
    server.script(ok(completed()))
    await vm.run(command)
    assert server.last.json["command"] == wire


async def test_run_with_every_argument(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(completed()))
    await vm.run(
        "serve",
        session_id="ses-1",
        session_idx=0,
        timeout=1.5,
        end_symbol="auto",
        vcpu_count=1,
        memory_mib=2,
        disk_mib=3,
        network={"inbound": {"ports": {8080: {"visibility": "public"}, "9090": {}}}},
        acquire=["memory", "cpu"],
        release="disk, memory ,cpu",
        idempotency_key="k-1",
        deadline=60,
    )
    assert server.last.key == "k-1"
    assert server.last.json == {
        "command": "serve",
        "session_id": "ses-1",
        "session_idx": 0,
        "timeout": 1.5,
        "end_symbol": "auto",
        "vcpu_count": 1,
        "memory_mib": 2,
        "disk_mib": 3,
        "network": {
            "inbound": {
                "ports": {
                    "8080": {"visibility": "public"},
                    "9090": {},
                }
            }
        },
        "acquire": "cpu,memory",
        "release": "cpu,memory,disk",
    }


@pytest.mark.parametrize(
    ("network", "wire"),
    [
        (None, None),
        ({}, {}),
        (NetworkRequest(), {}),
        ({"inbound": None}, {}),
        ({"inbound": {}}, {"inbound": {"ports": {}}}),
        ({"inbound": {"ports": None}}, {"inbound": {"ports": {}}}),
        (
            NetworkRequest(InboundRequest({"80": InboundPortRequest(visibility="public", protocol="tcp")})),
            {"inbound": {"ports": {"80": {"visibility": "public", "protocol": "tcp"}}}},
        ),
        (
            {"inbound": InboundRequest({"80": InboundPortRequest()})},
            {"inbound": {"ports": {"80": {}}}},
        ),
    ],
)
async def test_network_of_a_run(server: ScriptedServer, vm: AsyncVM, network: Any, wire: object) -> None:
    server.script(ok(completed()))
    await vm.run("x", network=network)
    assert server.last.json.get("network") == wire


async def test_a_signal_is_acknowledged_without_a_run(server: ScriptedServer, vm: AsyncVM) -> None:
    payload = completed("", "", 0, dispatch={"k": 1})
    del payload["run_id"]
    server.script(ok(payload))
    result = await vm.run("", signal="TERM")
    assert server.last.json == {"command": "", "signal": "SIGTERM"}
    assert (result.run_id, result.dispatch) == (None, {"k": 1})


BAD_RUNS: list[tuple[dict[str, Any], str]] = [
    ({"command": ""}, "command"),
    ({"command": " \n"}, "command"),
    ({"command": "a\0b"}, "command"),
    ({"command": "\ud800"}, "command"),
    ({"command": None}, "command"),
    ({"command": b"ls"}, "command"),
    ({"command": 7}, "command"),
    ({"command": []}, "command"),
    ({"command": ["ls", 7]}, "command[1]"),
    ({"session_id": ""}, "session_id"),
    ({"session_id": ".."}, "session_id"),
    ({"session_id": 7}, "session_id"),
    ({"session_idx": -1}, "session_idx"),
    ({"session_idx": True}, "session_idx"),
    ({"session_idx": "0"}, "session_idx"),
    ({"background": "yes"}, "background"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": -1}, "timeout"),
    ({"timeout": True}, "timeout"),
    ({"timeout": "5"}, "timeout"),
    ({"timeout": float("inf")}, "timeout"),
    ({"end_symbol": ""}, "end_symbol"),
    ({"vcpu_count": 0}, "vcpu_count"),
    ({"memory_mib": 0.5}, "memory_mib"),
    ({"disk_mib": 2**63}, "disk_mib"),
    ({"network": 8080}, "network"),
    ({"network": {"outbound": {}}}, "network['outbound']"),
    ({"network": {"inbound": 80}}, "network['inbound']"),
    ({"network": {"inbound": {"port": 80}}}, "network['inbound']['port']"),
    ({"network": {"inbound": {"ports": [80]}}}, "network['inbound']['ports']"),
    ({"network": {"inbound": {"ports": {"http": {}}}}}, "network['inbound']['ports']['http']"),
    ({"network": {"inbound": {"ports": {0: {}}}}}, "network['inbound']['ports'][0]"),
    ({"network": {"inbound": {"ports": {65536: {}}}}}, "network['inbound']['ports'][65536]"),
    ({"network": {"inbound": {"ports": {"٣": {}}}}}, "network['inbound']['ports']['٣']"),
    ({"network": {"inbound": {"ports": {80: None}}}}, "network['inbound']['ports'][80]"),
    ({"network": {"inbound": {"ports": {80: {"tls": 1}}}}}, "network['inbound']['ports'][80]['tls']"),
    ({"network": {"inbound": {"ports": {80: {"visibility": ""}}}}}, "visibility"),
    ({"acquire": []}, "acquire"),
    ({"acquire": ""}, "acquire"),
    ({"acquire": "gpu"}, "acquire"),
    ({"acquire": ["cpu", "gpu"]}, "acquire"),
    ({"release": 7}, "release"),
    ({"release": ["cpu", 7]}, "release"),
    ({"signal": ""}, "signal"),
    ({"signal": 9}, "signal"),
    ({"idempotency_key": "é"}, "idempotency_key"),
    ({"deadline": 0}, "deadline"),
    ({"background": True, "check": True}, "check"),
]


@pytest.mark.parametrize(("arguments", "argument"), BAD_RUNS, ids=range(len(BAD_RUNS)))
async def test_bad_arguments_of_run(
    server: ScriptedServer, vm: AsyncVM, arguments: dict[str, Any], argument: str
) -> None:
    with_command: dict[str, Any] = {"command": "ls", **arguments}
    with pytest.raises(InvalidArgumentError) as caught:
        await vm.run(**with_command)
    assert caught.value.argument == argument
    if argument in arguments:
        assert caught.value.value is arguments[argument]
    assert argument in str(caught.value)
    assert not server.requests


def test_a_request_as_a_value_is_checked_too() -> None:
    with pytest.raises(InvalidArgumentError):
        RunRequest(command=" ")
    with pytest.raises(InvalidArgumentError):
        NetworkRequest({"ports": {}})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidArgumentError):
        InboundRequest({"x": InboundPortRequest()})


# --- check=True ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [{}, {"state": "completed"}, {"state": None}])
async def test_check_passes(server: ScriptedServer, vm: AsyncVM, extra: dict[str, Any]) -> None:
    server.script(ok(completed(**extra)))
    assert (await vm.run("true", check=True)).exit_code == 0
    assert "check" not in server.last.json


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (completed("", "", 1), "the command exited with 1"),
        (completed("", "oh\nno\n", 137), "the command exited with 137; stderr ends with 'oh\\nno'"),
        (completed("partial", "", -1, state="failed", fail_reason="timeout"), "the run failed: timeout"),
        (completed("", "", 0, state="failed"), "the run failed: no reason given"),
        (completed("", "", -1, state="cancelled"), "the run was cancelled: no reason given"),
        (completed("", "", 1, state="hibernated"), "the run is hibernated: no reason given"),
    ],
)
async def test_check_raises(server: ScriptedServer, vm: AsyncVM, payload: dict[str, Any], message: str) -> None:
    server.script(ok(payload), ok(payload))
    with pytest.raises(RunFailedError) as caught:
        await vm.run("x", check=True)
    raised = caught.value
    assert raised.message == message
    assert (raised.code, raised.outcome, raised.status) == ("run_failed", "applied", 0)
    assert raised.stdout == payload["stdout"].encode()
    assert raised.stderr == payload["stderr"].encode()
    assert (raised.exit_code, raised.result.run_id) == (payload["exit_code"], "run-1")
    # Without the check it is a result like any other.
    assert (await vm.run("x")).exit_code == payload["exit_code"]


@pytest.mark.parametrize("payload", [{}, {"stdout": 7}, {"stdout": None, "run_id": 7}, {"state": "running"}])
async def test_a_reply_that_is_neither_kind(server: ScriptedServer, vm: AsyncVM, payload: dict[str, Any]) -> None:
    server.script(ok(payload))
    with pytest.raises(BadReplyError) as caught:
        await vm.run("x")
    assert (caught.value.path, caught.value.code, caught.value.outcome) == ("$", "internal", "applied")


async def test_background_is_decided_by_the_reply(server: ScriptedServer, vm: AsyncVM) -> None:
    """A server may answer a run in the background that has ended already with its output."""
    server.script(ok(completed()))
    wanted = True
    assert (await vm.run("x", background=bool(wanted))).type == "completed"


# --- runs that are there ---------------------------------------------------------------------------------------------


async def test_get_run(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(full(Run)))
    run = await vm.get_run("a/b ü")
    assert (server.last.method, server.last.target) == ("GET", f"{RUNS}/a%2Fb%20%C3%BC")
    assert server.last.body == b""
    assert type(run) is Run
    assert (run.run_id, run.exit_code, run.retry_count, run.stderr) == ("run-1", 3, 1, b"\xff\x00\xfe")


async def test_a_run_that_is_going(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({**completed("so far", "", 0), "exit_code": None, "state": "running", "started_at": "t"}))
    run = await vm.get_run("run-1")
    assert (run.exit_code, run.state, run.stdout) == (None, "running", b"so far")


async def test_cancel_run(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok({"cancelled": False}))
    assert await vm.cancel_run("run-1") == CancelRunResponse(cancelled=False)
    assert (server.last.method, server.last.target, server.last.body) == ("DELETE", f"{RUNS}/run-1", b"")


async def test_cancel_run_waits_for_a_run_to_be_known(server: ScriptedServer, vm: AsyncVM) -> None:
    """A server of generation 1 may not know a run that it has just accepted (contract-1, section 6)."""
    unknown = nested("not_found", "no such run", status=404, details={"resource": "run"})
    server.script(unknown, unknown, ok({"cancelled": True}))
    assert await vm.cancel_run("run-1") == CancelRunResponse(cancelled=True)
    assert len(server.requests) == 3
    server.script(nested("not_found", status=404, details={"resource": "vm"}))
    with pytest.raises(NotFoundError):
        await vm.cancel_run("run-1")


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, ""),
        (
            {
                "cursor": "c/1",
                "limit": 7,
                "state": ["running", "failed"],
                "started_after": "2026-01-02T00:00:00Z",
                "started_before": "b",
                "completed_after": "c",
            },
            "cursor=c%2F1&limit=7&state=running%2Cfailed&started_after=2026-01-02T00%3A00%3A00Z"
            "&started_before=b&completed_after=c",
        ),
        ({"state": "from_the_future"}, "state=from_the_future"),
    ],
)
async def test_list_runs(server: ScriptedServer, vm: AsyncVM, arguments: dict[str, Any], query: str) -> None:
    server.script(ok({"runs": [{"run_id": "r", "state": "running", "started_at": "t"}], "next_cursor": None}))
    page = await vm.list_runs(**arguments)
    assert (server.last.method, server.last.path, server.last.query) == ("GET", RUNS, query)
    assert ([run.run_id for run in page], len(page), page.next_cursor) == (["r"], 1, None)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"limit": -1}, "limit"),
        ({"limit": 1.0}, "limit"),
        ({"cursor": " "}, "cursor"),
        ({"state": ()}, "state"),
        ({"state": [""]}, "state[0]"),
        ({"completed_after": 7}, "completed_after"),
    ],
)
async def test_bad_arguments_of_list_runs(
    server: ScriptedServer, vm: AsyncVM, arguments: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await vm.list_runs(**arguments)
    assert caught.value.argument == argument
    assert not server.requests
