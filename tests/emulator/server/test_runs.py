"""Runs: replies, sessions, timeouts, signals, cancellation, lists (contract, sections 4 and 5)."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import anyio
import pytest

from tests.emulator.server.support import Api, chunk, output
from tests.support.waiting import longer_and_longer

pytestmark = pytest.mark.anyio


async def test_a_foreground_run_answers_with_both_outputs_and_the_status(api: Api, vm: str) -> None:
    reply = await api.run(vm, "echo out; echo err >&2; exit 7")
    assert output(reply) == b"out\n"
    assert output(reply, "stderr") == b"err\n"
    assert (reply["state"], reply["exit_code"]) == ("completed", 7)
    assert "fail_reason" not in reply
    run = await api.get_run(vm, reply["run_id"])
    assert (run["state"], run["exit_code"], run["retry_count"], run["tunnels"]) == ("completed", 7, 0, [])
    assert (output(run), output(run, "stderr")) == (b"out\n", b"err\n")
    assert run["vm_id"] == vm
    assert run["started_at"] <= run["completed_at"]
    assert run["command"] == "echo out; echo err >&2; exit 7"


async def test_a_background_run_answers_at_once_and_its_output_grows(api: Api, vm: str) -> None:
    run_id = await api.background(vm, "echo one; until [ -e go ]; do sleep 0.01; done; echo two")
    run = await api.printed(vm, run_id, "one")
    assert (run["state"], run["exit_code"]) == ("running", None)
    assert "completed_at" not in run
    assert (await api.get(f"/v1/vms/{vm}"))["state"] == "running"
    (result,) = await api.write(
        vm, {"path": "go", "size": 0, "upload_id": "0" * 26, "content": "", "start": 0, "end": 0}
    )
    assert result["written"] is True
    run = await api.ended(vm, run_id)
    assert (output(run), run["state"], run["exit_code"]) == (b"one\ntwo\n", "completed", 0)


@pytest.mark.parametrize(
    ("command", "expected", "encoding"),
    [
        ("printf 'h\\303\\251'", b"h\xc3\xa9", "utf-8"),
        ("printf 'a\\000b'", b"a\0b", "base64"),
        ("printf '\\377'", b"\xff", "base64"),
        ("true", b"", "utf-8"),
        ("head -c 300000 /dev/zero", bytes(300_000), "base64"),
        ("head -c 3000000 /dev/zero | tr '\\0' '\\\"'", b'"' * 3_000_000, "utf-8"),
        ("for i in {1..100000}; do printf 'a\\303\\251'; done", b"a\xc3\xa9" * 100_000, "utf-8"),
    ],
)
async def test_output_is_byte_exact(api: Api, vm: str, command: str, expected: bytes, encoding: str) -> None:
    reply = await api.run(vm, command)
    assert output(reply) == expected
    assert reply["stdout_encoding"] == encoding


async def test_a_long_command_is_run_whole(api: Api, vm: str) -> None:
    text = "x" * 3_000_000
    assert output(await api.run(vm, f"echo -n {text} | wc -c")).strip() == b"3000000"


async def test_the_session_keeps_directory_and_environment(api: Api, vm: str) -> None:
    await api.run(vm, "mkdir -p deep/er && cd deep/er && export WORD=kept")
    reply = await api.run(vm, 'basename "$PWD"; echo "$WORD"')
    assert output(reply) == b"er\nkept\n"
    (session,) = (await api.get(f"/v1/vms/{vm}"))["sessions"]
    assert session["cwd"].endswith("/deep/er")
    assert session["env"]["WORD"] == "kept"
    by_id = await api.run(vm, "echo $WORD", session_id=session["session_id"], session_idx=9)
    assert output(by_id) == b"kept\n"


async def test_a_session_runs_one_command_at_a_time_in_order(api: Api, vm: str) -> None:
    runs = [await api.background(vm, f"echo {i} >> log; sleep 0.02; echo {i} >> log") for i in range(4)]
    for run in runs:
        await api.ended(vm, run)
    assert output(await api.run(vm, "cat log")) == b"0\n0\n1\n1\n2\n2\n3\n3\n"


async def test_a_timeout_kills_everything_and_keeps_the_output(api: Api, vm: str) -> None:
    stubborn = "trap '' TERM; while :; do echo >> alive; sleep 0.02; done"
    command = f'echo before; setsid bash -c "{stubborn}" & sleep 600'
    longer = longer_and_longer(0.5)
    while True:
        seconds = next(longer)
        start = time.monotonic()
        reply = await api.run(vm, command, timeout=seconds)
        assert seconds - 0.1 < time.monotonic() - start < 300
        assert (reply["state"], reply["exit_code"]) == ("failed", -1)
        assert "timeout" in reply["fail_reason"]
        if output(reply) and (await api.run(vm, "test -s alive"))["exit_code"] == 0:
            break
    assert output(reply) == b"before\n"
    run = await api.get_run(vm, reply["run_id"])
    assert (run["state"], run["exit_code"]) == ("failed", None)
    assert "timeout" in run["fail_reason"]
    check = await api.run(vm, "wc -c < alive; sleep 0.2; wc -c < alive")
    before, after = output(check).split()
    assert before == after
    # The timeout is of the command, not of its time in the queue.
    longer = longer_and_longer(0.5)
    while True:
        seconds = next(longer)
        blocker = await api.background(vm, f"sleep {seconds + 0.1}")
        state = (await api.run(vm, "echo on time", timeout=seconds))["state"]
        await api.ended(vm, blocker)
        if state == "completed":
            break
    assert state == "completed"


async def test_a_disconnect_does_not_stop_the_run(api: Api, vm: str) -> None:
    async with aiohttp.ClientSession() as session, anyio.create_task_group() as group:
        impatient = Api(session, api.url, api.key)
        group.start_soon(impatient.run, vm, "until [ -e go ]; do sleep 0.02; done; echo done > file")
        while not (await api.get(f"/v1/vms/{vm}/runs"))["runs"]:
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    await anyio.sleep(0.2)
    (run,) = (await api.get(f"/v1/vms/{vm}/runs"))["runs"]
    assert (await api.get_run(vm, run["run_id"]))["state"] == "running"
    await api.write(vm, chunk("go", b""))
    assert (await api.ended(vm, run["run_id"]))["exit_code"] == 0
    assert output(await api.run(vm, "cat file")) == b"done\n"


async def test_cancel_ends_a_run_and_keeps_its_output(api: Api, vm: str) -> None:
    run_id = await api.background(vm, "echo here; sleep 60")
    await api.printed(vm, run_id, "here")
    path = f"/v1/vms/{vm}/runs/{run_id}"
    assert (await api.call("DELETE", path)).json == {"cancelled": True}
    run = await api.get_run(vm, run_id)
    assert (run["state"], run["exit_code"], output(run)) == ("cancelled", None, b"here\n")
    assert (await api.call("DELETE", path)).json == {"cancelled": False}
    assert (await api.call("DELETE", f"/v1/vms/{vm}/runs/none")).refusal == (404, "not_found")


async def test_a_queued_run_is_cancelled_without_having_run(api: Api, vm: str) -> None:
    first = await api.background(vm, "sleep 60")
    second = await api.background(vm, "echo never > file")
    assert (await api.call("DELETE", f"/v1/vms/{vm}/runs/{second}")).json == {"cancelled": True}
    assert (await api.get_run(vm, second))["state"] == "cancelled"
    assert (await api.call("DELETE", f"/v1/vms/{vm}/runs/{first}")).json == {"cancelled": True}
    assert (await api.run(vm, "test -e file"))["exit_code"] == 1


async def test_a_signal_reaches_what_the_session_runs(api: Api, vm: str) -> None:
    run_id = await api.background(vm, "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.02; done")
    await api.printed(vm, run_id, "ready")
    reply = await api.run(vm, "", signal="SIGUSR1")
    assert "run_id" not in reply
    assert (reply["state"], reply["stdout"], isinstance(reply["exit_code"], int)) == ("completed", "", True)
    run = await api.ended(vm, run_id)
    assert (run["exit_code"], output(run)) == (3, b"ready\ncaught\n")
    idle = await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "", "signal": "INT"})
    assert idle.refusal == (404, "not_found")


async def test_death_by_a_signal_is_a_status(api: Api, vm: str) -> None:
    run_id = await api.background(vm, "echo ready; exec sleep 60")
    await api.printed(vm, run_id, "ready")
    await api.run(vm, "", signal="int")
    run = await api.ended(vm, run_id)
    assert (run["state"], run["exit_code"]) == ("completed", 130)


async def test_resources_are_accepted_with_a_command_or_alone(api: Api, vm: str) -> None:
    reply = await api.run(vm, "echo hi", acquire="cpu, memory", release="cpu,memory,disk", end_symbol="auto")
    assert output(reply) == b"hi\n"
    alone = await api.run(vm, "", release="cpu,memory,disk")
    assert ("run_id" in alone, alone["state"]) == (False, "completed")


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"command": None}, "command"),
    ({"command": ""}, "command"),
    ({"command": "a\0b"}, "command"),
    ({"command": ["ls"]}, "command"),
    ({"command": "true", "timeout": -1}, "timeout"),
    ({"command": "true", "timeout": "5"}, "timeout"),
    ({"command": "true", "timeout": True}, "timeout"),
    ({"command": "true", "background": "yes"}, "background"),
    ({"command": "true", "session_idx": -1}, "session_idx"),
    ({"command": "true", "session_id": ""}, "session_id"),
    ({"command": "true", "vcpu_count": 0}, "vcpu_count"),
    ({"command": "true", "acquire": "cpu,gpu"}, "acquire"),
    ({"command": "true", "release": ["cpu"]}, "release"),
    ({"command": "true", "signal": "SIGNOTHING"}, "signal"),
    ({"command": "true", "network": {"inbound": []}}, "network.inbound"),
    ({"command": "true", "network": {"inbound": {"ports": {"0": {}}}}}, "network.inbound.ports.0"),
]


async def test_a_bad_field_is_named(api: Api, vm: str) -> None:
    for fields, named in BAD_FIELDS:
        print(str(fields)[:200])  # which it was, should it fail
        reply = await api.call("POST", f"/v1/vms/{vm}/runs", fields)
        assert reply.refusal == (400, "bad_request")
        assert reply.message.startswith(f"{named}:")
        assert (await api.get(f"/v1/vms/{vm}/runs"))["runs"] == []


async def test_unknown_sessions_and_runs_are_not_found(api: Api, vm: str) -> None:
    missing = (404, "not_found")
    for fields in ({"session_id": "nobody"}, {"session_idx": 1, "signal": "INT"}):
        assert (await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "true", **fields})).refusal == missing
    assert (await api.call("GET", f"/v1/vms/{vm}/runs/none")).refusal == missing
    assert (await api.call("GET", "/v1/vms/none/runs")).refusal == missing


async def test_the_list_of_runs_and_its_filters(api: Api, vm: str) -> None:
    first = (await api.run(vm, "echo 1"))["run_id"]
    await anyio.sleep(0.005)
    second = (await api.run(vm, "sleep 60", timeout=0.05))["run_id"]
    await anyio.sleep(0.005)
    third = await api.background(vm, "sleep 60")
    fourth = await api.background(vm, "true")
    await api.call("DELETE", f"/v1/vms/{vm}/runs/{fourth}")
    path = f"/v1/vms/{vm}/runs"

    async def ids(**query: str) -> list[str]:
        return [run["run_id"] for run in await api.list_all(path, "runs", **query)]

    assert await ids() == [fourth, third, second, first]
    assert await ids(limit="1") == [fourth, third, second, first]
    assert await ids(state="running") == [third]
    assert await ids(state="completed,failed") == [second, first]
    assert await ids(state="cancelled") == [fourth]
    run = await api.get_run(vm, second)
    assert await ids(started_after=run["started_at"]) == [fourth, third]
    assert await ids(started_before=run["started_at"]) == [first]
    assert await ids(completed_after=(await api.get_run(vm, first))["completed_at"]) == [fourth, second]
    (summary,) = await api.list_all(path, "runs", state="failed")
    assert "stdout" not in summary
    assert summary["exit_code"] is None
    assert summary["session_id"]
    bad = await api.call("GET", f"{path}?state=sleeping")
    assert bad.refusal == (400, "bad_request")
    await api.call("DELETE", f"{path}/{third}")


async def test_many_runs_at_once_in_many_vms(api: Api) -> None:
    vms = [(await api.fork())["vm_id"] for _ in range(4)]
    results: list[tuple[str, bytes]] = []

    async def run(vm: str, i: int) -> None:
        results.append((f"{vm} {i}", output(await api.run(vm, f"echo {vm} {i}"))))

    async with anyio.create_task_group() as group:
        for i in range(40):
            group.start_soon(run, vms[i % 4], i)
    assert len(results) == 40
    assert all(got == f"{expected}\n".encode() for expected, got in results)
