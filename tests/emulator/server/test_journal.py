"""The journal of requests: what it has, what it keeps to itself, and its pages."""

from __future__ import annotations

import time
from typing import Any

import pytest

from arker.emulator import Emulator
from arker.errors import InvalidArgumentError
from tests.emulator.server.support import Api, control

pytestmark = pytest.mark.anyio


async def test_every_request_is_there_with_what_became_of_it(
    emulator: Emulator, api: Api, other: Api, mark: int
) -> None:
    before = time.time() * 1000
    vm = (await api.fork())["vm_id"]
    run = await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "true"}, idempotency_key="a-key")
    await api.raw("GET", api.url + "/v1/vms?limit=1")
    await other.call("GET", f"/v1/vms/{vm}")
    await api.raw("POST", api.url + "/v1/nothing%2F?x=1")
    await api.raw("GET", api.url + "/openapi.json")
    await api.call("POST", f"/v1/vms/{vm}/runs", {"command": 5})
    entries = emulator.journal.requests(after=mark)
    run_id = run.json["run_id"]
    found = [(e.method, e.path, e.operation, e.status, e.vm_id, e.run_id, e.processed) for e in entries]
    assert found == [
        ("POST", "/v1/fork", "fork", 200, vm, None, True),
        ("POST", f"/v1/vms/{vm}/runs", "run", 200, vm, run_id, True),
        ("GET", "/v1/vms", "list_vms", 401, None, None, False),
        ("GET", f"/v1/vms/{vm}", "get_vm", 404, None, None, True),
        ("POST", "/v1/nothing%2F", None, 404, None, None, False),
        ("GET", "/openapi.json", "openapi", 200, None, None, False),
        ("POST", f"/v1/vms/{vm}/runs", "run", 400, vm, None, True),
    ]
    assert [entry.seq for entry in entries] == list(range(mark + 1, mark + 8))
    assert entries[1].request_id == run.headers["x-request-id"]
    assert [entry.idempotency_key for entry in entries] == [None, "a-key", None, None, None, None, None]
    assert all(before - 1000 < entry.t_ms < time.time() * 1000 + 1000 for entry in entries)
    assert all(0 < entry.total_ms < 60_000 for entry in entries)
    assert all((entry.fault_id, entry.fault_ids) == (None, ()) for entry in entries)


async def test_presigned_requests_are_there_without_their_query(emulator: Emulator, api: Api, vm: str) -> None:
    (entry,) = await api.write(vm, {"path": "file", "size": 3, "presigned": True})
    url = entry["presigned_url"]
    mark = emulator.journal.requests()[-1].seq
    assert (await api.raw("PUT", url, data=b"abc")).status == 200
    assert (await api.raw("GET", url)).status == 403
    put, get = emulator.journal.requests(after=mark)
    assert (put.operation, put.method, put.status, put.vm_id, put.processed) == ("presigned_put", "PUT", 200, vm, True)
    assert (get.operation, get.method, get.status) == ("presigned_get", "GET", 403)
    assert put.path == get.path == f"/presigned/{vm}"


async def test_no_secret_is_in_it(emulator: Emulator, api: Api, other: Api, vm: str) -> None:
    before = max([entry.seq for entry in emulator.journal.requests()], default=0)
    tunnel = (await api.call("POST", f"/v1/vms/{vm}/tunnels", {"ports": [8000], "auth_mode": "authenticated"})).json
    (entry,) = await api.write(vm, {"path": "file", "size": 3, "presigned": True})
    url = entry["presigned_url"]
    await api.raw("PUT", url, data=b"abc")
    await api.raw("GET", f"{api.url}/v1/vms?key={api.key}")
    await other.call("GET", "/v1/vms")
    with emulator.faults.error(times=None):
        await api.raw("PUT", url, data=b"abc")
    logs = (f"requests?after={before}", "executions", "forks")
    text = "".join([(await control(api, "GET", name)).content.decode() for name in logs])
    query = url.partition("?")[2]
    assert f"/presigned/{vm}" in text
    parts = [part.partition("=")[2] for part in query.split("&")]
    for secret in (api.key, other.key, tunnel["auth_token"], query, *parts):
        assert secret not in text


async def test_commands_and_vms_that_there_really_were(emulator: Emulator, api: Api) -> None:
    executions, forks = [(await control(api, "GET", name)).json["last"] for name in ("executions", "forks")]
    vm = (await api.fork())["vm_id"]
    child = await api.call("POST", "/v1/fork", {"source_vm_id": vm}, idempotency_key="one-fork")
    assert (await api.call("POST", "/v1/fork", {"source_vm_id": vm}, idempotency_key="one-fork")).json == child.json
    assert (await api.call("POST", "/v1/fork", {"source_vm_name": "nobody"})).status == 404
    body = {"command": "echo " + "x" * 5000}
    runs = [await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="one-run") for _ in range(2)]
    await api.call("POST", f"/v1/vms/{vm}/runs", {"command": ""})
    assert [(fork.vm_id, fork.source, fork.idempotency_key) for fork in emulator.journal.forks(after=forks)] == [
        (vm, "ubuntu", None),
        (child.json["vm_id"], vm, "one-fork"),
    ]
    (execution,) = emulator.journal.executions(after=executions)
    assert (execution.run_id, execution.vm_id) == (runs[0].json["run_id"], vm)
    assert (execution.idempotency_key, execution.command) == ("one-run", body["command"][:4096])
    assert execution.seq == executions + 1
    assert execution.command not in repr(execution)


async def test_page_by_page(emulator: Emulator, api: Api, mark: int) -> None:
    for _ in range(7):
        await api.raw("GET", api.url + "/openapi.json")
    seen: list[int] = []
    after = mark
    while True:
        page = (await control(api, "GET", f"requests?after={after}&limit=3")).json
        assert (page["last"], page["dropped"]) == (mark + 7, 0)
        if not page["requests"]:
            break
        assert len(page["requests"]) <= 3
        seen += [entry["seq"] for entry in page["requests"]]
        after = seen[-1]
    assert seen == list(range(mark + 1, mark + 8))


async def test_the_python_side_reads_all_pages(emulator: Emulator, api: Api) -> None:
    mark = max([entry.seq for entry in emulator.journal.requests()], default=0)
    for _ in range(1100):
        await api.raw("GET", api.url + "/v1/nothing")
    assert [entry.seq for entry in emulator.journal.requests(after=mark)] == list(range(mark + 1, mark + 1101))


async def test_clearing_goes_on_with_the_numbers(emulator: Emulator, api: Api, mark: int) -> None:
    await api.fork()
    assert emulator.journal.clear() >= 2
    assert (emulator.journal.requests(), emulator.journal.executions(), emulator.journal.forks()) == ((), (), ())
    page = (await control(api, "GET", "requests")).json
    assert page == {"requests": [], "last": mark + 1, "dropped": 0}
    await api.raw("GET", api.url + "/v1/nothing")
    assert [entry.seq for entry in emulator.journal.requests()] == [mark + 2]


@pytest.mark.parametrize("after", [-1, "0", True, 1.0, None, 10**20])
def test_a_place_in_the_journal_is_a_number(emulator: Emulator, after: Any) -> None:
    for read in (emulator.journal.requests, emulator.journal.executions, emulator.journal.forks):
        with pytest.raises(InvalidArgumentError, match="after"):
            read(after=after)
