"""Lists item by item: what is asked for, and what becomes of lists that break off, turn in circles or never end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs
from weakref import WeakSet

import pytest

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    BadCursorError,
    BadReplyError,
    BadRequestError,
    DeadlineExceededError,
    InvalidArgumentError,
    NetworkError,
)
from tests.support.clients import BURST, BURST_ID, COMPUTE, CONTROL
from tests.support.lists import VmList
from tests.support.server import Drop, Recorded, Reply, ScriptedServer, dropped, error, ok
from tests.support.waiting import longer_and_longer

pytestmark = pytest.mark.anyio


def page(*ids: str, cursor: str | None = None, **more: Any) -> Reply:
    return ok({"vms": [{"vm_id": each, **more} for each in ids], "next_cursor": cursor})


async def ids(vms: AsyncIterator[AsyncVM], into: list[str] | None = None) -> list[str]:
    """Return the VMs' ids. With ``into``, they are in that list even if the iterator raises."""
    found = [] if into is None else into
    async for vm in vms:
        found.append(vm.id)
    return found


def cursors(server: ScriptedServer) -> list[str | None]:
    return [parse_qs(request.query).get("cursor", [None])[0] for request in server.requests]


async def test_page_after_page(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(page("a", "b", cursor="1"), page(cursor="2"), page(cursor="3"), page("c"))
    assert await ids(client.iter_vms()) == ["a", "b", "c"]
    assert cursors(server) == [None, "1", "2", "3"]
    assert {request.path for request in server.requests} == {f"{CONTROL}/v1/vms"}


async def test_nothing_is_asked_for_before_it_is_needed(server: ScriptedServer, client: AsyncArker) -> None:
    vms = client.iter_vms(page_size=2, state=["idle", "running"], region="eu", cursor="begin")
    assert server.requests == []
    server.script(page("a", "b", cursor="next"))
    assert (await vms.__anext__()).id == "a"
    assert (await vms.__anext__()).id == "b"
    assert [request.query for request in server.requests] == ["cursor=begin&limit=2&region=eu&state=idle%2Crunning"]
    server.script(page("c"))
    assert await ids(vms) == ["c"]
    assert await ids(vms) == []
    assert len(server.requests) == 2


async def test_an_empty_list(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(page(), page(cursor=""))
    assert await ids(client.iter_vms()) == []
    assert await ids(client.iter_vms()) == []


async def test_handles_have_their_data_and_can_be_worked_with(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(page("vm-1", name="worker", state="idle"), ok({"deleted": True}))
    async for vm in client.iter_vms():
        assert (vm.name, vm.state, vm.base_url) == ("worker", "idle", server.url + COMPUTE)
        await vm.delete()
    assert server.last.target == f"{COMPUTE}/v1/vms/vm-1"
    server.script(page(BURST_ID))
    assert [vm.base_url async for vm in client.iter_vms()] == [server.url + BURST]


async def test_every_list(server: ScriptedServer, client: AsyncArker, vm: AsyncVM) -> None:
    base = f"{COMPUTE}/v1/vms/vm-1"
    session = {"session_id": "s", "state": "idle", "cwd": "/"}
    run = {"run_id": "r", "state": "completed", "started_at": "then", "exit_code": 0}
    tunnel = {"vm_id": "v", "port": 1, "visibility": "public", "protocol": "http", "state": "open"}
    sync = {"sync_id": "y", "vm_id": "v", "filesystem_id": "f", "path": "/f", "created_at": "then"}
    filesystem = {"filesystem_id": "f", "name": "n", "owner_org_id": "o", "created_at": "then"}
    lists: list[tuple[Callable[[], AsyncIterator[Any]], str, str, dict[str, Any], str]] = [
        (lambda: vm.iter_runs(page_size=7, state="failed"), "runs", f"{base}/runs", run, "&state=failed"),
        (lambda: vm.iter_sessions(page_size=7, state="idle"), "sessions", f"{base}/sessions", session, "&state=idle"),
        (lambda: vm.iter_tunnels(page_size=7, state="open"), "tunnels", f"{base}/tunnels", tunnel, "&state=open"),
        (lambda: vm.iter_syncs(page_size=7, filesystem_id="f"), "syncs", f"{base}/syncs", sync, "&filesystem_id=f"),
        (
            lambda: client.iter_filesystems(page_size=7, name_prefix="n"),
            "filesystems",
            f"{COMPUTE}/v1/filesystems",
            filesystem,
            "&name_prefix=n",
        ),
    ]
    for make, member, path, item, query in lists:
        server.requests.clear()
        server.script(ok({member: [item], "next_cursor": "c"}), ok({member: [item, item]}))
        assert len([each async for each in make()]) == 3, member
        targets = [f"{path}?limit=7{query}", f"{path}?cursor=c&limit=7{query}"]
        assert [request.target for request in server.requests] == targets


async def test_arguments(client: AsyncArker, vm: AsyncVM) -> None:
    for make in (client.iter_vms, client.iter_filesystems, vm.iter_runs, vm.iter_sessions, vm.iter_tunnels):
        for wrong in (0, -1, True, 1.5, "7"):
            with pytest.raises(InvalidArgumentError, match="page_size"):
                make(page_size=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="cursor"):
            make(cursor=" ")
    with pytest.raises(InvalidArgumentError, match="region"):
        await client.iter_vms(region="").__anext__()


# --- lists that break off --------------------------------------------------------------------------------------------


async def test_a_cursor_that_goes_bad_says_where_to_go_on(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(page("a", "b", cursor="1"), page("c", "d", cursor="2"), error("bad_request", "stale", status=400))
    seen: list[str] = []
    with pytest.raises(BadCursorError, match="stale") as caught:
        await ids(client.iter_vms(), into=seen)
    broken = caught.value
    assert isinstance(broken, BadRequestError)
    assert seen == ["a", "b", "c", "d"]
    assert (broken.items_given, broken.items_of_page, broken.resume_cursor) == (4, 2, "1")
    assert (broken.code, broken.status, broken.operation) == ("bad_request", 400, "list_vms")
    # From there on, without what is known already, nothing is missing and nothing comes twice.
    server.script(page("c", "d", cursor="2b"), page("e"))
    rest = await ids(client.iter_vms(cursor=broken.resume_cursor))
    assert seen + rest[broken.items_of_page :] == ["a", "b", "c", "d", "e"]


async def test_a_cursor_that_goes_bad_after_the_first_page(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(page("a", cursor="1"), error("bad_request", status=400))
    with pytest.raises(BadCursorError, match="its beginning") as caught:
        await ids(client.iter_vms())
    assert (caught.value.resume_cursor, caught.value.items_of_page) == (None, 1)


async def test_what_is_refused_from_the_start(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(error("bad_request", "no such cursor", status=400))
    with pytest.raises(BadRequestError) as caught:
        await ids(client.iter_vms(cursor="mine"))
    assert not isinstance(caught.value, BadCursorError)


async def test_after_a_lost_connection_the_same_page_is_asked_for(server: ScriptedServer, client: AsyncArker) -> None:
    vms = client.iter_vms()
    server.script(page("a", cursor="1"), *[dropped(Drop.RESET)] * 4)
    seen: list[str] = []
    with pytest.raises(NetworkError):
        await ids(vms, into=seen)
    server.script(dropped(Drop.MID_BODY), page("b"))
    assert seen + await ids(vms) == ["a", "b"]
    assert cursors(server) == [None] + ["1"] * 6


async def test_a_deadline_bounds_each_page(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(lambda request: ok({"vms": []}, delay=600) if "cursor" in request.query else page("a", cursor="1"))
    longer = longer_and_longer(0.3)
    while True:
        seconds = next(longer)
        server.requests.clear()
        vms = client.iter_vms(deadline=seconds)
        with contextlib.suppress(DeadlineExceededError):  # a busy machine's, already for the first page
            assert (await vms.__anext__()).id == "a"
            await asyncio.sleep(1.2 * seconds)  # the caller's own time does not count
            with pytest.raises(DeadlineExceededError):
                await vms.__anext__()
        if cursors(server) == [None, "1"]:
            break


@pytest.mark.parametrize("length", [1, 2, 3, 7, 20])
async def test_a_list_that_turns_in_circles(server: ScriptedServer, client: AsyncArker, length: int) -> None:
    def circle(request: Recorded) -> Reply:
        number = int(parse_qs(request.query).get("cursor", ["-4"])[0])
        return page("a", cursor=str(number + 1 if number < length - 1 else 0))

    server.answer(circle)
    with pytest.raises(BadReplyError, match="does not go on") as caught:
        await ids(client.iter_vms())
    assert caught.value.path == "$.next_cursor"
    assert len(server.requests) <= 5 * (length + 5)


async def test_a_cursor_that_is_none(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(page("a", cursor=" "))
    with pytest.raises(BadReplyError, match="next_cursor"):
        await ids(client.iter_vms())


# --- the organisation's requests: offsets instead of cursors ---------------------------------------------------------


def rows(*names: str, until: int = 99) -> Reply:
    return ok({"until": until, "rows": [{"t_ms": 1, "request_id": name} for name in names]})


async def test_rows_by_offset(server: ScriptedServer, client: AsyncArker) -> None:
    # Two rows came while the list was read; the second page begins with what they have moved there.
    server.script(rows("9", "8", "7"), rows("8", "7", "6"), rows("5"), rows())
    found = [row.request_id async for row in client.iter_runs(page_size=3, offset=2, status=200)]
    assert found == ["9", "8", "7", "6", "5"]
    assert [request.query for request in server.requests] == [
        "limit=3&offset=2&status=200",
        "until=99&limit=3&offset=5&status=200",
        "until=99&limit=3&offset=8&status=200",
        "until=99&limit=3&offset=9&status=200",
    ]


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_each_request_for_the_list_is_a_row(server: ScriptedServer, client: AsyncArker, size: int) -> None:
    names = [str(number) for number in range(30)]

    def grown(request: Recorded) -> Reply:
        query = parse_qs(request.query)
        offset, limit = (int(query.get(name, ["0"])[0]) for name in ("offset", "limit"))
        names.insert(0, f"new {len(names)}")
        return rows(*names[offset + 1 :][:limit])  # not itself

    server.answer(grown)
    found = [row.request_id async for row in client.iter_runs(page_size=size)]
    assert found == names[-30:]


async def test_a_server_that_knows_no_offsets(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(rows("a", "b"))
    with pytest.raises(BadReplyError, match="does not go on"):
        _ = [row async for row in client.iter_runs()]


# --- what it costs ---------------------------------------------------------------------------------------------------


async def test_ten_thousand_vms_of_which_a_page_is_held(server: ScriptedServer, client: AsyncArker) -> None:
    # How much memory that takes is measured in `tests.soak`.
    number, size = 10_000, 500
    server.answer(VmList(number))
    held = WeakSet[AsyncVM]()
    most = seen = 0
    async for vm in client.iter_vms(page_size=size):
        assert vm.id == f"vm-{seen}"
        seen += 1
        held.add(vm)
        most = max(most, len(held))
    assert seen == number
    assert most <= size + 1
    assert len(server.requests) == number // size


async def test_one_that_is_given_up_leaves_nothing(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(page("a", "b", cursor="1"), page("c", cursor="2"))
    before = asyncio.all_tasks()
    async for vm in client.iter_vms():
        if vm.id == "c":
            break
    gc.collect()
    assert asyncio.all_tasks() == before
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_an_error_of_the_list_is_an_arker_error(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vms": {"vm_id": 7}}))
    with pytest.raises(ArkerError):
        await ids(client.iter_vms())
