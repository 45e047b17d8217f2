"""The organisation's run list and its filters (contract, sections 4 and 5)."""

from __future__ import annotations

import json
import time
from typing import Any

import anyio
import pytest

from tests.emulator.server.support import OTHER_KEY, Api

pytestmark = pytest.mark.anyio


async def rows(api: Api, query: str = "") -> list[dict[str, Any]]:
    return list((await api.get(f"/v1/runs?{query}"))["rows"])


async def test_a_run_in_the_foreground_is_a_row(api: Api, vm: str) -> None:
    begin = int(time.time() * 1000)
    run = await api.run(vm, "sleep 1; echo out; exit 3")
    reply = await api.get("/v1/runs?limit=1")
    assert (reply["limit"], reply["offset"], reply["lite"], reply["since"]) == (1, 0, False, 0)
    assert begin // 1000 <= reply["until"] <= begin // 1000 + 60
    (row,) = reply["rows"]
    (session,) = (await api.get(f"/v1/vms/{vm}"))["sessions"]
    assert {name: row[name] for name in ("run_id", "vm_id", "session_id", "exit_code", "command")} == {
        "run_id": run["run_id"],
        "vm_id": vm,
        "session_id": session["session_id"],
        "exit_code": 3,
        "command": "sleep 1; echo out; exit 3",
    }
    assert (row["method"], row["path"], row["status"]) == ("POST", f"/api/v1/vms/{vm}/runs", 200)
    assert (row["endpoint"], row["region"], row["source"]) == ("run", "us-west-2", "emulator")
    assert begin <= row["t_ms"] <= begin + 60_000
    # In milliseconds, by the server's clock: a busy machine may tell it late that the command has begun.
    assert 10 < row["executor_duration_ms"] <= row["total_ms"]
    assert (row["vm_vcpus"], row["vm_memory_mib"]) == (2, 4096)
    assert row["body_bytes_in"] == len(row["body_in"])
    assert json.loads(row["body_in"])["command"] == row["command"]
    assert json.loads(row["body_out"])["stdout"] == "out\n"
    assert row["body_bytes_out"] == len(row["body_out"])


async def test_a_run_in_the_background_has_its_exit_code_once_it_has_ended(api: Api, vm: str) -> None:
    blocker = await api.background(vm, "sleep 60")
    run_id = await api.background(vm, "exit 4")
    (row,) = await rows(api, "limit=1")
    assert row["run_id"] == run_id
    assert row["exit_code"] is None
    await anyio.sleep(0.1)
    await api.call("DELETE", f"/v1/vms/{vm}/runs/{blocker}")
    await api.ended(vm, run_id)
    (row,) = await rows(api, f"limit=1&search={run_id}&actions=run")
    assert row["exit_code"] == 4
    assert row["queue_ms"] >= 100


async def test_every_request_of_the_organisation_is_a_row(api: Api, other: Api, vm: str) -> None:
    child = await api.fork(source_vm_id=vm)
    await api.call("GET", "/v1/vms/nobody")
    await other.call("GET", f"/v1/vms/{vm}")
    await api.delete(child["vm_id"])
    latest = await rows(api, "limit=3")
    assert [(row["endpoint"], row["status"], row.get("vm_id")) for row in latest] == [
        ("delete_vm", 200, child["vm_id"]),
        ("get_vm", 404, ""),
        ("fork", 200, child["vm_id"]),
    ]
    assert latest[2]["source_vm_id"] == vm
    (row,) = await rows(other, "limit=1")
    assert (row["endpoint"], row["status"]) == ("get_vm", 404)
    reply = await api.call("GET", "/v1/vms/nobody")
    assert (await rows(api, "limit=1"))[0]["request_id"] == reply.headers["x-request-id"]


async def test_the_filters(api: Api) -> None:
    vm = (await api.fork(name="listed"))["vm_id"]
    burst = (await api.fork("arkuntu"))["vm_id"]
    await api.run(vm, "echo Needle")
    await api.run(vm, "exit 9")
    await api.run(burst, "true")
    await api.call("POST", f"/v1/vms/{vm}/runs", {"command": ""})

    async def found(query: str) -> list[tuple[str, int]]:
        return [(row["endpoint"], row["status"]) for row in await rows(api, f"vms={vm},{burst}&{query}")]

    everything = [("run", 400), ("run", 200), ("run", 200), ("run", 200), ("fork", 200), ("fork", 200)]
    assert await found("") == everything
    assert await found("limit=2&offset=1") == everything[1:3]
    assert await found(f"vm={burst}") == [("run", 200), ("fork", 200)]
    assert len(await found(f"vm={vm}")) == len(await found("vm=listed")) == 4
    assert await found("actions=fork,get_vm") == [("fork", 200)] * 2
    assert await found("endpoint=fork") == [("fork", 200)] * 2
    assert await found("status=400") == [("run", 400)]
    assert await found("status_min=300") == [("run", 400)]
    assert len(await found("status_min=200&status_max=299")) == 5
    assert len(await found("provider=aws-burst")) == 2
    assert len(await found("region=us-west-2")) == 6
    assert await found("region=elsewhere") == []
    assert len(await found("source=emulator")) == 6
    assert await found("source=cloud") == []
    assert len(await found("runtime=bubblewrap")) + len(await found("runtime=none")) == 3
    assert await found("search=nEEDLE") == [("run", 200)]
    assert await found(f"since={int(time.time()) + 60}") == []
    assert len(await found(f"since={int(time.time()) - 60}&until={int(time.time()) + 60}")) == 6
    assert await found(f"until={int(time.time()) - 60}") == []
    assert await found("dir=asc") == everything[::-1]
    by_code = await rows(api, f"vms={vm},{burst}&sort=exit_code")
    assert [row.get("exit_code") for row in by_code] == [9, 0, 0, None, None, None]
    by_code = await rows(api, f"vms={vm},{burst}&sort=exit_code&dir=asc")
    assert [row.get("exit_code") for row in by_code] == [0, 0, 9, None, None, None]
    # The VM's rows outlive it.
    await api.delete(vm)
    assert len(await found("vm=listed")) == 5


async def test_a_lite_list_has_no_bodies(api: Api, vm: str) -> None:
    await api.run(vm, "true")
    reply = await api.get("/v1/runs?lite=true&limit=1")
    assert reply["lite"] is True
    (row,) = reply["rows"]
    assert row["command"] == "true"
    assert (row["body_in"], row["body_out"]) == ("", "")


async def test_no_more_than_the_beginning_of_a_body_or_a_key_is_kept(api: Api, other: Api, vm: str) -> None:
    await api.run(vm, f"echo {'x' * 50_000} {'y' * 50_000}")
    (row,) = await rows(api, "limit=1")
    assert row["body_bytes_in"] > 100_000
    assert len(row["body_in"]) < 5000
    assert len(row["body_out"]) < 5000
    assert len(row["command"]) < 5000
    assert api.key.startswith(row["api_key_prefix"])
    assert len(row["api_key_prefix"]) == 8
    await other.get("/v1/vms")
    (row,) = await rows(other, "limit=1")
    assert OTHER_KEY.startswith(row["api_key_prefix"])
    assert 0 < len(row["api_key_prefix"]) <= len(OTHER_KEY) / 4


async def test_paths_of_every_sort_are_shown(api: Api) -> None:
    odd = ["/v1/vms/%FF", "/v1/vms/%ED%A0%80", "/v1/vms/a%2Fb%00", "/v1/vms/%F0%9F%98%80"]
    for path in odd:
        assert (await api.call("GET", path)).status == 404
    latest = await rows(api, f"limit={len(odd)}")
    assert all(row["path"].startswith("/api/v1/vms/") for row in latest)
    assert latest[0]["path"].endswith("\U0001f600")


async def test_secrets_of_replies_are_not_in_the_list(api: Api, vm: str) -> None:
    (result,) = await api.write(vm, {"path": "file", "size": 5, "presigned": True})
    signature = result["presigned_url"].rpartition("=")[2]
    (row,) = await rows(api, "limit=1")
    assert row["endpoint"] == "sync"
    assert signature not in json.dumps(row)
    assert await rows(api, f"search={signature}&endpoint=sync") == []
    tunnel = await api.call("POST", f"/v1/vms/{vm}/tunnels", {"ports": [80], "auth_mode": "authenticated"})
    (row,) = await rows(api, "limit=1")
    assert row["endpoint"] == "create_tunnel"
    assert tunnel.json["auth_token"] not in json.dumps(row)
    child = await api.fork(source_vm_id=vm, tunnel={"ports": [80], "auth_mode": "authenticated"})
    (row,) = await rows(api, "limit=1")
    (tunnel_of_fork,) = child["tunnels"]
    assert tunnel_of_fork["auth_token"] not in json.dumps(row)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("since=x", "since"),
        ("until=-1", "until"),
        ("since=1e3", "since"),
        ("limit=0", "limit"),
        ("offset=-1", "offset"),
        ("lite=maybe", "lite"),
        ("status=ok", "status"),
        ("status_min=", "status_min"),
        ("status_max=1.5", "status_max"),
        ("sort=colour", "sort"),
        ("dir=up", "dir"),
        ("vm=", "vm"),
        ("vms=a,,b", "vms"),
        ("actions=", "actions"),
        ("search=%20", "search"),
    ],
)
async def test_a_bad_filter_is_named(api: Api, query: str, named: str) -> None:
    reply = await api.call("GET", f"/v1/runs?{query}")
    assert reply.refusal == (400, "bad_request")
    assert reply.message.startswith(f"{named}:")
