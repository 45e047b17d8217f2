"""Runs: those that go on, those that wait, and what they leave behind."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.emulator.server.support import Api, chunk, output
from tests.support.waiting import longer_and_longer

pytestmark = pytest.mark.anyio


async def vm_of(api: Api) -> str:
    return str((await api.fork(source_vm_name="ubuntu"))["vm_id"])


async def test_a_foreground_run_beyond_the_window_goes_on_in_the_background(hasty: Api) -> None:
    vm = await vm_of(hasty)
    await hasty.ended(vm, await hasty.background(vm, "true"))  # the VM has been started
    waiting = "sleep 1" if hasty.generation == "0.5" else "until [ -e go ]; do sleep 0.02; done"
    command = f"echo begun; {waiting}; echo done"
    reply = await hasty.call("POST", f"/v1/vms/{vm}/runs", {"command": command})
    if hasty.generation == "0.5":  # it waits as long as it takes
        assert (reply.status, reply.json["stdout"]) == (200, "begun\ndone\n")
        return
    assert (reply.status, reply.json["state"]) == (202, "running")
    assert "stdout" not in reply.json
    await hasty.write(vm, chunk("go", b""))
    run = await hasty.ended(vm, reply.json["run_id"])
    assert (run["state"], run["exit_code"], output(run)) == ("completed", 0, b"begun\ndone\n")
    listed = await hasty.list_all(f"/v1/vms/{vm}/runs", "runs")
    assert [each["command"] for each in listed] == [command, "true"]


async def test_generation_05_keeps_the_default_session(old: Api) -> None:
    vm = await vm_of(old)
    (session,) = (await old.get(f"/v1/vms/{vm}"))["sessions"]
    reply = await old.call("DELETE", f"/v1/vms/{vm}/sessions/{session['session_id']}")
    assert reply.refusal == (409, "conflict")
    assert (await old.run(vm, "echo still"))["stdout"] == "still\n"


async def test_generation_05_answers_runs_in_the_background_with_200(old: Api) -> None:
    vm = await vm_of(old)
    reply = await old.call("POST", f"/v1/vms/{vm}/runs", {"command": "sleep 9", "background": True})
    assert (reply.status, reply.json["state"]) == (200, "running")
    assert "session_id" not in reply.json


async def test_when_a_run_is_answered_is_the_callers_choice(today: Api) -> None:
    path = f"/v1/vms/{await vm_of(today)}/runs"
    quick = await today.call("POST", path, {"command": "echo hi", "time_to_background": 300})
    assert (quick.status, quick.json["stdout"]) == (200, "hi\n")
    assert quick.json["session_id"]
    for name, value in (("time_to_background", 0), ("background", True)):
        at_once = await today.call("POST", path, {"command": "true", name: value})
        assert at_once.status == 202
    refused: list[dict[str, Any]] = [
        {"time_to_background": 301},
        {"time_to_background": -1},
        {"time_to_background": 1.5},
        {"time_to_background": 0, "background": True},
        {"time_to_background": 0, "signal": "SIGINT"},
    ]
    for fields in refused:
        assert (await today.call("POST", path, {"command": "true", **fields})).refusal == (400, "bad_request")


async def test_a_key_finds_its_run_again_in_either_way(today: Api) -> None:
    path = f"/v1/vms/{await vm_of(today)}/runs"
    body = {"command": "sleep 600", "time_to_background": 0}
    first = await today.call("POST", path, body, idempotency_key="one key")
    second = await today.call("POST", path, body, idempotency_key="one key")
    assert (first.status, second.status, first.json["run_id"]) == (202, 202, second.json["run_id"])
    other = await today.call("POST", path, {"command": "true"}, idempotency_key="one key")
    assert other.refusal == (409, "idempotency_conflict")


async def test_a_run_behind_another_is_pending(each: Api) -> None:
    vm = await vm_of(each)
    path = f"/v1/vms/{vm}/runs"
    going = await each.background(vm, "sleep 60")
    waiting = await each.background(vm, "true")
    expected = "running" if each.generation == "0.5" else "pending"
    assert (await each.get_run(vm, waiting))["state"] == expected
    assert (await each.list_all(path, "runs", state=expected))[0]["run_id"] == waiting
    listed = await each.call("GET", f"{path}?state=pending")
    assert listed.status == (400 if each.generation == "0.5" else 200)
    await each.call("DELETE", f"{path}/{going}")
    assert (await each.ended(vm, waiting))["state"] == "completed"


async def test_a_number_without_a_session_makes_one(today: Api) -> None:
    vm = await vm_of(today)
    reply = await today.call("POST", f"/v1/vms/{vm}/runs", {"command": "export A=1", "session_idx": 7})
    again = await today.call("POST", f"/v1/vms/{vm}/runs", {"command": "echo $A", "session_idx": 7})
    assert (again.json["session_id"], again.json["stdout"]) == (reply.json["session_id"], "1\n")
    listed = await today.list_all(f"/v1/vms/{vm}/sessions", "sessions")
    assert [session["session_idx"] for session in listed] == [7, 0]
    made = await today.call("POST", f"/v1/vms/{vm}/sessions", {})
    assert made.json["session_idx"] == 8


async def test_generation_05_has_no_session_with_such_a_number(old: Api) -> None:
    vm = await vm_of(old)
    reply = await old.call("POST", f"/v1/vms/{vm}/runs", {"command": "true", "session_idx": 7})
    assert reply.refusal == (404, "not_found")


async def test_a_cancelled_run_has_no_exit_code(each: Api) -> None:
    vm = await vm_of(each)
    path = f"/v1/vms/{vm}/runs"
    async with anyio.create_task_group() as group:

        async def cancel() -> None:
            with anyio.fail_after(60):
                while not (runs := await each.list_all(path, "runs")):
                    await anyio.sleep(0.01)
            await each.call("DELETE", f"{path}/{runs[0]['run_id']}")

        group.start_soon(cancel)
        reply = await each.call("POST", path, {"command": "sleep 60"})
        assert (reply.status, reply.json["state"]) == (200, "cancelled")
        assert reply.json["exit_code"] == (-1 if each.generation == "0.5" else None)
    failed = await each.call("POST", path, {"command": "exec sleep 60", "timeout": 1, "session_idx": 0})
    # In generation 1 the exit code tells that it failed.
    state = "completed" if each.generation == "1" else "failed"
    assert (failed.json["state"], failed.json["exit_code"]) == (state, -1)


async def test_a_run_is_over_when_all_that_it_started_is(new: Api) -> None:
    vm = await vm_of(new)
    command = "(sleep 0.7; echo late) & echo early; cd /tmp; exit 3"
    run = await new.ended(vm, await new.background(vm, command))
    assert (run["state"], run["exit_code"], output(run)) == ("completed", 3, b"early\nlate\n")
    assert (await new.run(vm, "pwd"))["stdout"] == "/tmp\n"
    # Also what has let go of the output.
    started = await new.background(vm, "(until [ -e ~/go ]; do sleep 0.02; done) > /dev/null 2>&1 &")
    await anyio.sleep(0.3)
    assert (await new.get_run(vm, started))["state"] == "running"
    await new.write(vm, chunk("/home/user/go", b""))
    assert (await new.ended(vm, started))["state"] == "completed"


async def test_the_timeout_bounds_what_a_run_has_left_behind(new: Api) -> None:
    vm = await vm_of(new)
    longer = longer_and_longer(1)
    while True:
        seconds = next(longer)
        run = await new.ended(vm, await new.background(vm, "sleep 600 & echo begun", timeout=seconds), seconds + 60)
        assert (run["state"], run["exit_code"]) == ("failed", None)
        assert "timeout" in run["fail_reason"]
        if output(run):
            break
    assert output(run) == b"begun\n"
    assert (await new.run(vm, "pgrep -c sleep; true"))["stdout"] == "0\n"


async def test_elsewhere_a_run_is_over_with_its_command(both: Api, old: Api) -> None:
    for api in (both, old):
        done = await api.run(await vm_of(api), "sleep 600 & echo begun")
        assert (done["state"], done["stdout"]) == ("completed", "begun\n")


async def test_signals_have_their_whole_names(new: Api, both: Api) -> None:
    for api in (new, both):
        vm = await vm_of(api)
        run = await api.background(vm, "trap 'exit 5' INT; echo ready; while :; do sleep 0.02; done")
        await api.printed(vm, run, "ready")
        short = await api.call("POST", f"/v1/vms/{vm}/runs", {"signal": "INT"})
        if api is new:
            assert short.refusal == (400, "bad_request")
            sent = await api.call("POST", f"/v1/vms/{vm}/runs", {"signal": "SIGINT"})
            assert sent.status == 200
            assert "run_id" not in sent.json
            assert (await api.call("POST", f"/v1/vms/{vm}/runs", {"signal": "SIGUSR1"})).status == 400
        assert (await api.ended(vm, run))["exit_code"] == 5
        idle = await api.call("POST", f"/v1/vms/{vm}/runs", {"signal": "SIGINT"})
        assert (idle.refusal, idle.details) == ((404, "not_found"), {"resource": "run"})


async def test_an_empty_request_is_acknowledged(new: Api) -> None:
    vm = await vm_of(new)
    reply = await new.call("POST", f"/v1/vms/{vm}/runs", {})
    assert (reply.status, reply.json["state"]) == (200, "completed")
    assert "run_id" not in reply.json
    assert await new.list_all(f"/v1/vms/{vm}/runs", "runs") == []


async def test_a_timeout_is_whole_seconds(new: Api, both: Api) -> None:
    for api, status in ((new, 400), (both, 200)):
        vm = await vm_of(api)
        assert (await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "true", "timeout": 1.5})).status == status
        assert (await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "true", "timeout": 0})).status == 200


async def test_a_deleted_session_cancels_its_runs(each: Api) -> None:
    vm = await vm_of(each)
    session = (await each.call("POST", f"/v1/vms/{vm}/sessions", {})).json["session_id"]
    run = await each.background(vm, "sleep 60", session_id=session)
    await each.call("DELETE", f"/v1/vms/{vm}/sessions/{session}")
    assert (await each.get_run(vm, run))["state"] == "cancelled"
