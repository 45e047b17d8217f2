"""VMs: fork, get, list, delete, on the embedded backend."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadRequestError,
    ConflictError,
    ForbiddenError,
    InvalidArgumentError,
    NetworkPolicyBlocked,
    NotFoundError,
    UnauthorizedError,
    UnsupportedOperationError,
)
from arker.emulator import Emulator

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("connections", [1, 2])
async def test_a_vm_can_be_deleted_while_a_run_has_every_connection(emulator: Emulator, connections: int) -> None:
    async with AsyncArker(**emulator.client_options, max_connections=connections, ledger=False) as client:
        vm = await client.fork("ubuntu")
        run = asyncio.create_task(vm.run("sleep 30"))
        while not (await vm.list_runs()).runs:
            await asyncio.sleep(0.02)
        assert (await vm.delete()).deleted
        assert (await run).state != "completed"


async def test_fork_a_golden_by_name(ar: AsyncArker) -> None:
    vm = await ar.fork("ubuntu", name="first", network=False, vcpu_count=2, memory_mib=512)
    assert vm.data is not None
    assert vm.data.vm_id == vm.id
    assert vm.name == "first"
    assert vm.state == "idle"
    assert vm.public is False
    assert vm.vcpu_count == 2
    assert vm.memory_mib == 512
    assert vm.network == NetworkPolicyBlocked()
    assert vm.sessions is not None
    assert [session.session_idx for session in vm.sessions] == [0]
    # A VM forked straight from an image has no deeper ancestor.
    assert vm.root_source_vm_id is None


async def test_a_forked_vm_has_the_files_of_its_source_and_then_differs(ar: AsyncArker, vm: AsyncVM) -> None:
    await vm.sync("state", b"parent")
    child = await ar.fork(vm)
    grandchild = await child.fork()
    assert await child.sync("state") == b"parent"
    await child.sync("state", b"child")
    assert await vm.sync("state") == b"parent"
    assert await grandchild.sync("state") == b"parent"
    assert child.root_source_vm_id == vm.id
    assert grandchild.root_source_vm_id == vm.id


async def test_every_way_to_name_a_source(ar: AsyncArker, vm: AsyncVM) -> None:
    named = await ar.fork(source_vm_id=vm.id, name="mine")
    for fork in (
        ar.fork("mine"),
        ar.fork(source_vm_name="mine"),
        ar.fork(named),
        ar.vm(named.id).fork(),
        # Servers take a golden's name where an id is expected.
        ar.vm("ubuntu").fork(),
        ar.fork("ubuntu", source_org_id="ArkerHQ"),
    ):
        async with await fork as child:
            assert child.id not in {vm.id, named.id}


async def test_a_burst_vm_is_a_burst_reference_and_works(ar: AsyncArker) -> None:
    async with await ar.fork("arkuntu") as vm:
        assert vm.provider == "aws-burst"
        assert "_" in vm.id
        assert (await ar.vm(vm.id).run("echo hi")).stdout == b"hi\n"


async def test_get_and_refresh(ar: AsyncArker, vm: AsyncVM) -> None:
    same = await ar.get_vm(vm.id)
    assert same.data == vm.data
    bare = ar.vm(vm.id)
    assert bare.data is None
    assert bare.created_at is None
    assert await bare.refresh() is bare
    assert bare.data == vm.data


async def test_delete(ar: AsyncArker, vm: AsyncVM) -> None:
    assert (await vm.delete()).deleted is True
    with pytest.raises(NotFoundError) as caught:
        await vm.refresh()
    assert caught.value.operation == "get_vm"
    assert caught.value.request_id
    with pytest.raises(NotFoundError):
        await vm.run("true")


async def test_a_block_deletes_its_vm(ar: AsyncArker) -> None:
    async with await ar.fork("ubuntu") as vm:
        pass
    with pytest.raises(NotFoundError):
        await vm.refresh()

    with pytest.raises(ZeroDivisionError):
        async with await ar.fork("ubuntu") as vm:
            _ = 1 / 0
    with pytest.raises(NotFoundError):
        await vm.refresh()

    async with await ar.fork("ubuntu") as vm:
        vm.keep()
    await vm.refresh()


async def test_a_cancelled_block_deletes_its_vm(ar: AsyncArker) -> None:
    forked: list[AsyncVM] = []

    async def sleeper() -> None:
        async with await ar.fork("ubuntu") as vm:
            forked.append(vm)
            await vm.run("sleep 30")

    task = asyncio.create_task(sleeper())
    with anyio.fail_after(120):
        while not forked:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(NotFoundError):
        await forked[0].refresh()


async def test_a_snapshot_is_a_fork_with_a_name_that_stays(emulator: Emulator, ar: AsyncArker, vm: AsyncVM) -> None:
    await vm.sync("f", b"before")
    made = await vm.snapshot("checkpoint", public=True)
    assert (made.name, made.kept, made.public) == ("checkpoint", True, True)
    await vm.sync("f", b"after")
    with pytest.raises(ConflictError, match=r"^vm\.snapshot: .*checkpoint") as caught:
        await vm.snapshot("checkpoint")
    assert caught.value.operation == "vm.snapshot"
    with pytest.raises(InvalidArgumentError, match="name"):
        await vm.snapshot("")
    async with made:
        pass
    async with await ar.fork("checkpoint") as child:
        assert (await child.run("cat f")).stdout == b"before"
    assert len(await ar.list_vms()) == 2
    assert (await made.delete()).deleted
    with pytest.raises(NotFoundError):
        await ar.fork("checkpoint")


async def test_list_pages_newest_first(ar: AsyncArker) -> None:
    forked = [(await ar.fork("ubuntu")).id for _ in range(5)]
    listed: list[str] = []
    page = await ar.list_vms(limit=2)
    assert len(page) == 2
    while True:
        listed += [vm.vm_id for vm in page]
        if page.next_cursor is None:
            break
        page = await ar.list_vms(limit=2, cursor=page.next_cursor)
    assert listed == forked[::-1]
    assert len(await ar.list_vms(state="running")) == 0
    assert len(await ar.list_vms(region="us-west-2", provider="aws", state=["idle", "running"])) == 5
    with pytest.raises(BadRequestError):
        await ar.list_vms(cursor="nonsense")


async def test_what_the_server_refuses(ar: AsyncArker, vm: AsyncVM) -> None:
    with pytest.raises(NotFoundError):
        await ar.fork("no-such-source")
    with pytest.raises(UnsupportedOperationError):
        await ar.fork("ubuntu-docker")
    with pytest.raises(ForbiddenError):
        await ar.vm("ubuntu").run("true")
    with pytest.raises(ForbiddenError):
        await ar.vm("ubuntu").delete()
    await ar.fork("ubuntu", name="taken")
    with pytest.raises(ConflictError):
        await ar.fork("ubuntu", name="taken")


async def test_the_same_key_forks_once(ar: AsyncArker) -> None:
    first, second = await asyncio.gather(*(ar.fork("ubuntu", idempotency_key="once") for _ in range(2)))
    assert first.id == second.id
    assert len(await ar.list_vms()) == 1
    with pytest.raises(ConflictError):
        await ar.fork("ubuntu-small", idempotency_key="once")


async def test_a_wrong_key_is_refused(emulator: Emulator) -> None:
    options = emulator.client_options
    options["api_key"] = "not-the-key"
    async with AsyncArker(**options) as stranger:
        with pytest.raises(UnauthorizedError) as caught:
            await stranger.fork("ubuntu")
        assert caught.value.outcome == "not_started"
        assert "not-the-key" not in str(caught.value)


async def test_many_vms_at_once(ar: AsyncArker) -> None:
    async def work(number: int) -> bytes:
        async with await ar.fork("ubuntu") as vm:
            return (await vm.run(f"echo {number}")).stdout

    assert await asyncio.gather(*map(work, range(16))) == [f"{number}\n".encode() for number in range(16)]
    assert len(await ar.list_vms()) == 0
