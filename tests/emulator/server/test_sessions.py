"""Sessions: create, list, get, delete, and runs in them (contract, section 5)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.emulator.server.support import Api, chunk, output

pytestmark = pytest.mark.anyio

MISSING = (404, "not_found")


async def create(api: Api, vm: str, **fields: Any) -> dict[str, Any]:
    reply = await api.call("POST", f"/v1/vms/{vm}/sessions", fields)
    assert reply.status == 200, reply
    return dict(reply.json)


async def test_a_session_is_described_in_full(api: Api) -> None:
    vm = await api.fork(name="tabs")
    path = f"/v1/vms/{vm['vm_id']}"
    session = await create(api, vm["vm_id"], env={"COLOUR": "deep blue", "EMPTY": ""}, cwd="/tmp")
    assert (session["session_idx"], session["state"], session["cwd"]) == (1, "idle", "/tmp")
    assert (session["vm_id"], session["vm_name"]) == (vm["vm_id"], "tabs")
    assert (session["env"]["COLOUR"], session["env"]["EMPTY"]) == ("deep blue", "")
    # On top of what every session has.
    (default,) = vm["sessions"]
    assert session["env"].items() >= default["env"].items()
    assert "PATH" in default["env"]
    assert await api.get(f"{path}/sessions/{session['session_id']}") == session
    assert (await api.get(path))["sessions"] == [default, session]


async def test_each_session_keeps_its_own_directory_and_environment(api: Api, vm: str) -> None:
    await api.run(vm, "mkdir one two")
    one = await create(api, vm, cwd="one", env={"WORD": "first"})
    two = await create(api, vm, cwd="/home/user/two", env={"WORD": "second"})
    show = 'basename "$PWD"; echo "$WORD"'
    assert output(await api.run(vm, show, session_id=one["session_id"])) == b"one\nfirst\n"
    assert output(await api.run(vm, show, session_idx=2)) == b"two\nsecond\n"
    await api.run(vm, "cd /tmp; WORD=changed", session_idx=1)
    assert output(await api.run(vm, show, session_idx=1)) == b"tmp\nchanged\n"
    assert output(await api.run(vm, show, session_id=two["session_id"])) == b"two\nsecond\n"
    assert output(await api.run(vm, show)) == b"user\n\n"
    # The id wins over the number.
    assert output(await api.run(vm, show, session_id=two["session_id"], session_idx=1)) == b"two\nsecond\n"
    run = await api.run(vm, "true", session_idx=2)
    assert (await api.get_run(vm, run["run_id"]))["session_id"] == two["session_id"]


async def test_a_directory_may_have_any_name(api: Api, vm: str) -> None:
    names = ["-", "-P", "a b", "$HOME", "'", "~", "ü", "*"]
    for name in names:
        await api.write(vm, chunk(f"{name}/file", b""))
        session = await create(api, vm, cwd=name)
        assert session["cwd"] == f"/home/user/{name}"
        run = await api.run(vm, "pwd; ls", session_id=session["session_id"])
        assert output(run) == f"/home/user/{name}\nfile\n".encode()


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"cwd": "/nowhere"}, "cwd"),
    ({"cwd": "nowhere"}, "cwd"),
    ({"cwd": "/etc/passwd"}, "cwd"),
    ({"cwd": ""}, "cwd"),
    ({"cwd": "a\0b"}, "cwd"),
    ({"cwd": 5}, "cwd"),
    ({"cwd": "x/" * 5000}, "cwd"),
    ({"env": []}, "env"),
    ({"env": {"": "x"}}, "env"),
    ({"env": {"A=B": "x"}}, "env"),
    ({"env": {"A\0": "x"}}, "env"),
    ({"env": {"A": 5}}, "env.A"),
    ({"env": {"A": None}}, "env.A"),
    ({"env": {"A": "x\0"}}, "env.A"),
    ({"env": {"A": "x" * 200_000}}, "env.A"),
    ({"env": {f"A{i}": "x" * 50_000 for i in range(20)}}, "env"),
]


async def test_a_bad_field_is_named(api: Api, vm: str) -> None:
    for fields, named in BAD_FIELDS:
        print(str(fields)[:200])  # which it was, should it fail
        reply = await api.call("POST", f"/v1/vms/{vm}/sessions", fields)
        assert reply.refusal == (400, "bad_request")
        assert reply.message.startswith(f"{named}:")
        assert len((await api.get(f"/v1/vms/{vm}"))["sessions"]) == 1


async def test_a_large_environment_works(api: Api, vm: str) -> None:
    session = await create(api, vm, env={f"A{i}": "x" * 90_000 for i in range(5)})
    run = await api.run(vm, "echo ${#A0} ${#A4}", session_id=session["session_id"])
    assert output(run) == b"90000 90000\n"


async def test_the_list_and_its_filters(api: Api, vm: str) -> None:
    path = f"/v1/vms/{vm}/sessions"
    for _ in range(4):
        await create(api, vm)

    async def numbers(**query: str) -> list[int]:
        return [session["session_idx"] for session in await api.list_all(path, "sessions", **query)]

    assert await numbers() == [4, 3, 2, 1, 0]
    assert await numbers(limit="2") == [4, 3, 2, 1, 0]
    run_id = await api.background(vm, "sleep 60", session_idx=3)
    assert await numbers(state="running") == [3]
    assert await numbers(state="idle") == [4, 2, 1, 0]
    assert (await api.get(f"/v1/vms/{vm}"))["state"] == "running"
    await api.call("DELETE", f"/v1/vms/{vm}/runs/{run_id}")
    assert (await api.get(f"/v1/vms/{vm}"))["state"] == "idle"
    for query in ("state=sleeping", "cursor=x", "limit=0"):
        assert (await api.call("GET", f"{path}?{query}")).refusal == (400, "bad_request")


async def test_deleting_a_session_stops_what_runs_in_it(api: Api, vm: str) -> None:
    session = (await create(api, vm))["session_id"]
    # What an earlier command left in the background goes too.
    await api.run(vm, "(while :; do echo >> alive; sleep 0.02; done) > /dev/null 2>&1 &", session_id=session)
    begun = "until [ -s alive ]; do sleep 0.02; done; echo here"
    going = await api.background(vm, f"{begun}; sleep 60", session_id=session)
    queued = await api.background(vm, "echo never > file", session_id=session)
    await api.printed(vm, going, "here")
    path = f"/v1/vms/{vm}/sessions/{session}"
    assert (await api.call("DELETE", path)).json == {"deleted": True}
    for run_id in (going, queued):
        run = await api.get_run(vm, run_id)
        assert (run["state"], run["exit_code"], run["session_id"]) == ("cancelled", None, session)
        assert "session" in run["fail_reason"]
    check = await api.run(vm, "test -e file; echo $?; wc -c < alive; sleep 0.3; wc -c < alive")
    status, before, after = output(check).split()
    assert (status, before) == (b"1", after)
    for method in ("GET", "DELETE"):
        assert (await api.call(method, path)).refusal == MISSING
    run = {"command": "true", "session_id": session}
    assert (await api.call("POST", f"/v1/vms/{vm}/runs", run)).refusal == MISSING
    run = {"command": "true", "session_idx": 1}
    assert (await api.call("POST", f"/v1/vms/{vm}/runs", run)).json["session_id"] != session


async def test_an_empty_default_session_takes_the_place_of_a_deleted_one(api: Api, vm: str) -> None:
    other = await create(api, vm)
    await api.run(vm, "mkdir here; cd here; export WORD=gone; sleep 60 & echo $! >pid")
    (session, _) = (await api.get(f"/v1/vms/{vm}"))["sessions"]
    begun = await api.background(vm, "sleep 60")
    assert (await api.call("DELETE", f"/v1/vms/{vm}/sessions/{session['session_id']}")).json == {"deleted": True}
    assert (await api.ended(vm, begun))["state"] == "cancelled"
    kept, default = (await api.get(f"/v1/vms/{vm}"))["sessions"]
    assert (kept["session_id"], default["session_idx"]) == (other["session_id"], 0)
    assert default["session_id"] != session["session_id"]
    assert output(await api.run(vm, "echo $PWD-$WORD; kill -0 $(cat here/pid) || echo dead")) == b"/home/user-\ndead\n"
    newest, oldest = await api.list_all(f"/v1/vms/{vm}/sessions", "sessions")
    assert [newest["session_id"], oldest["session_id"]] == [default["session_id"], other["session_id"]]
    assert (await create(api, vm))["session_idx"] == 2


async def test_numbers_are_not_used_again(api: Api, vm: str) -> None:
    first = await create(api, vm)
    await api.call("DELETE", f"/v1/vms/{vm}/sessions/{first['session_id']}")
    assert (await create(api, vm))["session_idx"] == 2


async def test_a_fork_starts_with_the_default_session_only(api: Api, vm: str) -> None:
    await create(api, vm, env={"WORD": "other"})
    await api.run(vm, "mkdir here; cd here; export WORD=kept")
    child = await api.fork(source_vm_id=vm)
    (session,) = child["sessions"]
    assert (session["session_idx"], session["cwd"], session["env"]["WORD"]) == (0, "/home/user/here", "kept")
    assert (await create(api, child["vm_id"]))["session_idx"] == 1


async def test_sessions_are_found_in_their_own_vm_only(api: Api, other: Api, vm: str) -> None:
    session = (await create(api, vm))["session_id"]
    second = (await api.fork())["vm_id"]
    assert (await api.call("GET", f"/v1/vms/{second}/sessions/{session}")).refusal == MISSING
    assert (await other.call("GET", f"/v1/vms/{vm}/sessions")).refusal == MISSING
    assert (await other.call("POST", f"/v1/vms/{vm}/sessions", {})).refusal == MISSING
    assert (await api.call("POST", "/v1/vms/ubuntu/sessions", {})).refusal == (403, "forbidden")


async def test_sessions_run_side_by_side_and_each_one_at_a_time(api: Api, vm: str) -> None:
    for _ in range(3):
        await create(api, vm)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for index in range(4):
                for i in range(2):
                    # Each waits until four sessions have begun, and then gives the second run of its own some time.
                    meet = "until [ $(cat log* | grep -c begin) -ge 4 ]; do sleep 0.02; done; sleep 0.1"
                    command = f"echo begin {i} >> log{index}; {meet}; echo end {i} >> log{index}"
                    group.start_soon(lambda command, index: api.run(vm, command, session_idx=index), command, index)
    for index in range(4):
        lines = output(await api.run(vm, f"cat log{index}")).decode().splitlines()
        assert [line.split()[0] for line in lines] == ["begin", "end"] * 2


async def test_environments_and_directories_of_bytes_that_are_no_text_are_shown(api: Api, vm: str) -> None:
    await api.run(vm, "export ODD=$'a\\377b'; mkdir $'d\\377'; cd $'d\\377'")
    (session,) = (await api.get(f"/v1/vms/{vm}"))["sessions"]
    assert (session["env"]["ODD"], session["cwd"]) == ("a\ufffdb", "/home/user/d\ufffd")
    assert output(await api.run(vm, 'printf %s "$ODD"; basename "$PWD"')) == b"a\xffbd\xff\n"
