"""Sessions, tunnels, filesystems, syncs, resize and the organisation's run list, on the wire (contract, section 5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from attrs import frozen

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    DeleteFilesystemResponse,
    DeleteSessionResponse,
    DeleteSyncResponse,
    DeleteTunnelResponse,
    Filesystem,
    InvalidArgumentError,
    ListFilesystemsResponse,
    ListOrgRunsResponse,
    ListSessionsResponse,
    ListSyncsResponse,
    ListTunnelsResponse,
    NetworkError,
    NotFoundError,
    ResizeResponse,
    Session,
    Sync,
    Tunnel,
)
from tests.support.clients import COMPUTE, CONTROL, make_client
from tests.support.samples import full, minimal
from tests.support.secrets import API_KEY, TUNNEL_TOKEN
from tests.support.server import Drop, Reply, ScriptedServer, dropped, error, ok

pytestmark = pytest.mark.anyio
STRICT_REPLIES = True

VM = f"{COMPUTE}/v1/vms/v%2F1"
ID = "a/b?ü"
CODED = "a%2Fb%3F%C3%BC"


@frozen
class Case:
    """An operation, what it is to put on the wire, and what its reply is to become."""

    use: Callable[[AsyncArker, AsyncVM], Awaitable[object]]
    method: str
    target: str
    result: type[Any]
    body: object = None


CASES: dict[str, Case] = {
    "vm.list_sessions": Case(
        lambda _, vm: vm.list_sessions(cursor="c", limit=5, state=["idle", "running"]),
        *("GET", f"{VM}/sessions?cursor=c&limit=5&state=idle%2Crunning", ListSessionsResponse),
    ),
    "vm.create_session": Case(
        lambda _, vm: vm.create_session(env={"A": "1", "B": ""}, cwd="/tmp"),
        *("POST", f"{VM}/sessions", Session, {"env": {"A": "1", "B": ""}, "cwd": "/tmp"}),
    ),
    "vm.get_session": Case(lambda _, vm: vm.get_session(ID), "GET", f"{VM}/sessions/{CODED}", Session),
    "vm.delete_session": Case(
        lambda _, vm: vm.delete_session(ID), "DELETE", f"{VM}/sessions/{CODED}", DeleteSessionResponse
    ),
    "vm.list_tunnels": Case(
        lambda _, vm: vm.list_tunnels(cursor="c", limit=5, state="open"),
        *("GET", f"{VM}/tunnels?cursor=c&limit=5&state=open", ListTunnelsResponse),
    ),
    "vm.create_tunnel": Case(
        lambda _, vm: vm.create_tunnel(ports=[8080], auth_mode="authenticated"),
        *("POST", f"{VM}/tunnels", Tunnel, {"ports": [8080], "auth_mode": "authenticated"}),
    ),
    "vm.get_tunnel": Case(lambda _, vm: vm.get_tunnel(ID), "GET", f"{VM}/tunnels/{CODED}", Tunnel),
    "vm.delete_tunnel": Case(
        lambda _, vm: vm.delete_tunnel(ID), "DELETE", f"{VM}/tunnels/{CODED}", DeleteTunnelResponse
    ),
    "vm.list_syncs": Case(
        lambda _, vm: vm.list_syncs(cursor="c", limit=5, filesystem_id="fs/1"),
        *("GET", f"{VM}/syncs?cursor=c&limit=5&filesystem_id=fs%2F1", ListSyncsResponse),
    ),
    "vm.create_sync": Case(
        lambda _, vm: vm.create_sync(filesystem_id="fs-1", path="/data"),
        *("POST", f"{VM}/syncs", Sync, {"filesystem_id": "fs-1", "path": "/data"}),
    ),
    "vm.delete_sync": Case(lambda _, vm: vm.delete_sync(ID), "DELETE", f"{VM}/syncs/{CODED}", DeleteSyncResponse),
    "vm.resize": Case(
        lambda _, vm: vm.resize(vcpu_count=1, memory_mib=2, disk_mib=3),
        *("POST", f"{VM}/resize", ResizeResponse, {"vcpu_count": 1, "memory_mib": 2, "disk_mib": 3}),
    ),
    "list_filesystems": Case(
        lambda ar, _: ar.list_filesystems(cursor="c", limit=5, name_prefix="d&"),
        *("GET", f"{COMPUTE}/v1/filesystems?cursor=c&limit=5&name_prefix=d%26", ListFilesystemsResponse),
    ),
    "create_filesystem": Case(
        lambda ar, _: ar.create_filesystem(name="data"),
        *("POST", f"{COMPUTE}/v1/filesystems", Filesystem, {"name": "data"}),
    ),
    "get_filesystem": Case(lambda ar, _: ar.get_filesystem(ID), "GET", f"{COMPUTE}/v1/filesystems/{CODED}", Filesystem),
    "delete_filesystem": Case(
        lambda ar, _: ar.delete_filesystem(ID),
        *("DELETE", f"{COMPUTE}/v1/filesystems/{CODED}", DeleteFilesystemResponse),
    ),
    "list_runs": Case(
        lambda ar, _: ar.list_runs(
            since=1,
            until=2,
            vm="v",
            vm_ids=["a", "b"],
            region="r",
            provider="aws",
            source="s",
            search="x y",
            limit=5,
            offset=0,
            lite=True,
            runtime="rt",
            endpoint="e",
            actions=["run", "fork"],
            status=200,
            status_min=100,
            status_max=599,
            sort="t_ms",
            dir="desc",
        ),
        "GET",
        f"{CONTROL}/v1/runs?since=1&until=2&vm=v&vms=a%2Cb&region=r&provider=aws&source=s&search=x%20y&limit=5&offset=0"
        "&lite=true&runtime=rt&endpoint=e&actions=run%2Cfork&status=200&status_min=100&status_max=599&sort=t_ms&dir=desc",
        ListOrgRunsResponse,
    ),
}
every_operation = pytest.mark.parametrize("name", CASES)
CREATING = [name for name in CASES if ".create" in name or name.startswith("create")]
REPEATABLE = [name for name in CASES if name not in CREATING]
DELETING = [name for name in CASES if "delete" in name]


def use(client: AsyncArker, name: str) -> Awaitable[object]:
    return CASES[name].use(client, client.vm("v/1"))


async def failing(work: Awaitable[object]) -> ArkerError:
    with pytest.raises(ArkerError) as caught:
        await work
    return caught.value


@every_operation
async def test_on_the_wire(server: ScriptedServer, client: AsyncArker, name: str) -> None:
    case = CASES[name]
    server.script(ok(full(case.result)))
    result = await use(client, name)
    request = server.last
    assert (request.method, request.target) == (case.method, case.target)
    assert request.headers.getall("Authorization") == [f"Bearer {API_KEY}"]
    assert (request.key is not None) == (name in CREATING)
    if case.body is None:
        assert request.body == b""
        assert "Content-Type" not in request.headers
    else:
        assert request.json == case.body
        assert request.headers.getall("Content-Type") == ["application/json"]
    assert type(result) is case.result


@pytest.mark.parametrize("name", [name for name in CASES if "list" in name])
async def test_pages(server: ScriptedServer, client: AsyncArker, name: str) -> None:
    server.script(ok(full(CASES[name].result)), ok(minimal(CASES[name].result)))
    page: Any = await use(client, name)
    assert len(page) == len(list(page)) == 1
    assert page[0] == next(iter(page))
    empty: Any = await use(client, name)
    assert (len(empty), list(empty), getattr(empty, "next_cursor", None)) == (0, [], None)


async def test_absent_arguments_are_left_out(server: ScriptedServer, client: AsyncArker, vm: AsyncVM) -> None:
    server.script(ok({"rows": []}), ok({"filesystems": []}))
    server.script(ok(full(Session)), ok(full(Tunnel)), ok(full(Sync)), ok({"resized": False}))
    await client.list_runs()
    assert server.last.target == f"{CONTROL}/v1/runs"
    await client.list_filesystems()
    assert server.last.target == f"{COMPUTE}/v1/filesystems"
    await vm.create_session()
    assert server.last.body == b"{}"
    assert (await vm.create_tunnel(ports=[80])).auth_token == TUNNEL_TOKEN
    assert server.last.json == {"ports": [80]}
    await vm.create_sync(filesystem_id="fs-1")
    assert server.last.json == {"filesystem_id": "fs-1"}
    assert (await vm.resize(disk_mib=1)).resized is False
    assert server.last.json == {"disk_mib": 1}


# --- what may be sent again ------------------------------------------------------------------------------------------


@every_operation
async def test_busy_answers_are_tried_again(server: ScriptedServer, client: AsyncArker, name: str) -> None:
    server.script(error("unavailable", status=503), error("x", status=429), ok(full(CASES[name].result)))
    await use(client, name)
    assert len({(request.target, request.body, request.key) for request in server.requests}) == 1


@pytest.mark.parametrize(
    "answer",
    [
        *(Reply(status=status, body=b"<html>busy</html>") for status in (429, 502, 503, 504)),
        *(error("x", status=status) for status in (502, 504)),
        error("internal", "SlowDown", status=500),
    ],
)
@pytest.mark.parametrize("name", CREATING)
async def test_a_creation_is_tried_again_after_any_retryable_answer(
    server: ScriptedServer, client: AsyncArker, name: str, answer: Reply
) -> None:
    """Also after one that does not prove that nothing was made: the key says that it is the same request."""
    server.script(answer, ok(full(CASES[name].result)))
    await use(client, name)
    assert len({(request.target, request.body, request.key) for request in server.requests}) == 1
    assert (len(server.requests), server.last.key is None) == (2, False)


@pytest.mark.parametrize("drop", [Drop.AFTER_PROCESSING, Drop.RESET, Drop.MID_BODY])
@pytest.mark.parametrize("name", CREATING)
async def test_a_creation_that_was_lost_is_not_repeated(
    server: ScriptedServer, client: AsyncArker, name: str, drop: Drop
) -> None:
    """A server may ignore the key there, so the caller has to look whether there is one now."""
    server.script(dropped(drop))
    raised = await failing(use(client, name))
    assert type(raised) is NetworkError
    assert (raised.outcome, raised.attempts, raised.operation) == ("unknown", 1, name)
    assert raised.idempotency_key == server.last.key is not None


@pytest.mark.parametrize("name", CREATING)
async def test_a_creation_that_was_not_sent_is(name: str, server: ScriptedServer) -> None:
    async with make_client(server, base_url="http://127.0.0.1:1") as client:
        raised = await failing(use(client, name))
    assert (raised.outcome, raised.attempts) == ("not_started", 4)


@pytest.mark.parametrize("name", REPEATABLE)
async def test_the_others_are_repeated(server: ScriptedServer, client: AsyncArker, name: str) -> None:
    server.script(dropped(Drop.AFTER_PROCESSING), dropped(Drop.RESET), ok(full(CASES[name].result)))
    await use(client, name)
    assert len(server.requests) == 3


@pytest.mark.parametrize("name", DELETING)
async def test_a_repeated_deletion_may_find_nothing(server: ScriptedServer, client: AsyncArker, name: str) -> None:
    server.script(dropped(Drop.AFTER_PROCESSING), error("not_found", status=404), error("not_found", status=404))
    result: Any = await use(client, name)
    assert result.deleted is True
    assert isinstance(await failing(use(client, name)), NotFoundError)


# --- arguments -------------------------------------------------------------------------------------------------------

BAD: list[tuple[str, dict[str, Any], str]] = [
    *((f"{kind}_session", {"session_id": bad}, "session_id") for kind in ("get", "delete") for bad in ("", "..", 7)),
    *((f"{kind}_tunnel", {"tunnel_key": bad}, "tunnel_key") for kind in ("get", "delete") for bad in ("", ".", None)),
    *(("delete_sync", {"sync_id": bad}, "sync_id") for bad in ("", "..", 7)),
    *((f"{kind}_filesystem", {"filesystem_id": bad}, "filesystem_id") for kind in ("get", "delete") for bad in ("", 7)),
    ("create_filesystem", {"name": ""}, "name"),
    ("create_filesystem", {"name": 7}, "name"),
    ("create_sync", {"filesystem_id": ""}, "filesystem_id"),
    ("create_sync", {"filesystem_id": "f", "path": ""}, "path"),
    ("create_session", {"env": "A=1"}, "env"),
    ("create_session", {"env": {"A": 1}}, "env['A']"),
    ("create_session", {"env": {"A=B": "1"}}, "env"),
    ("create_session", {"cwd": ""}, "cwd"),
    ("create_tunnel", {"ports": 80}, "ports"),
    ("create_tunnel", {"ports": [True]}, "ports[0]"),
    ("create_tunnel", {"ports": [80], "auth_mode": "x"}, "auth_mode"),
    ("resize", {}, "vcpu_count"),
    ("resize", {"vcpu_count": 0}, "vcpu_count"),
    ("resize", {"memory_mib": "1"}, "memory_mib"),
    *((f"list_{what}", {"limit": 0}, "limit") for what in ("sessions", "tunnels", "syncs", "filesystems", "runs")),
    ("list_sessions", {"state": 7}, "state"),
    ("list_tunnels", {"cursor": ""}, "cursor"),
    ("list_syncs", {"filesystem_id": 7}, "filesystem_id"),
    ("list_filesystems", {"name_prefix": 7}, "name_prefix"),
    ("client.list_runs", {"since": "1"}, "since"),
    ("client.list_runs", {"until": 1.5}, "until"),
    ("client.list_runs", {"vm_ids": []}, "vm_ids"),
    ("client.list_runs", {"actions": [7]}, "actions[0]"),
    ("client.list_runs", {"lite": "yes"}, "lite"),
    ("client.list_runs", {"status": True}, "status"),
    ("client.list_runs", {"offset": -1}, "offset"),
    ("client.list_runs", {"dir": "up"}, "dir"),
]


@pytest.mark.parametrize(("name", "arguments", "argument"), BAD, ids=range(len(BAD)))
async def test_bad_arguments(
    server: ScriptedServer, client: AsyncArker, vm: AsyncVM, name: str, arguments: dict[str, Any], argument: str
) -> None:
    of_client = name.startswith("client.") or "filesystem" in name
    method = getattr(client if of_client else vm, name.removeprefix("client."))
    with pytest.raises(InvalidArgumentError) as caught:
        await method(**arguments)
    assert caught.value.argument == argument
    assert not server.requests
