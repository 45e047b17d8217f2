"""Every operation of the client, as it is tried before a service that drifts."""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack, closing
from typing import Any, Final

from arker import ArkerError, AsyncVM, CompletedRunResult
from arker._ledger.ledger import Ledger
from tests.drift import operations_files, operations_runs
from tests.drift.held import Held, Operation
from tests.drift.service import BASE
from tests.ledger.support import fork_request
from tests.support.clients import COMPUTE
from tests.support.secrets import API_KEY

_USED: Final = ("fork", "run", "delete", "get_vm", "list_runs", "get_run")

# --- VMs and fleets --------------------------------------------------------------------------------------------------


async def _fork(held: Held) -> None:
    made = await held.call(held.ar.fork("ubuntu"), "fork")
    held.vms.append(made.id)


async def _vm_fork(held: Held) -> None:
    made = await held.call(held.vm.fork(deadline=held.patience), "fork")
    held.vms.append(made.id)


async def _delete(held: Held) -> None:
    answer = await held.vm.delete()
    if answer.deleted and BASE in held.service.vms:
        held.wrong.append("told to be deleted, and is there")


async def _block(held: Held) -> None:
    async with await held.call(held.ar.fork("ubuntu"), "fork") as vm:
        held.is_output(await held.call(vm.run("say hi", deadline=held.patience), "run"), "hi")


async def _keep(held: Held) -> None:
    async with await held.call(held.ar.fork("ubuntu"), "fork") as vm:
        vm.keep()
        held.vms.append(vm.id)
        await held.call(vm.refresh())


async def _keep_alive(held: Held) -> None:
    made = await held.call(held.vm.fork(ttl=600, deadline=held.patience), "fork")
    held.vms.append(made.id)
    await made.keep_alive(500)


async def _snapshot(held: Held) -> None:
    made = await held.call(held.vm.snapshot("named", deadline=held.patience), "fork")
    held.vms.append(made.id)


async def _map(held: Held) -> None:
    async def work(vm: AsyncVM, word: str) -> CompletedRunResult:
        return await held.call(vm.run(f"say {word}", deadline=held.patience), "run", vm=vm.id)

    async with AsyncExitStack() as stack:
        fleet = await held.call(stack.enter_async_context(held.ar.fork_many("ubuntu", 3, at_least=2)), "forks")
        async for outcome in fleet.map(work, ["a", "b", "c", "d", "e"]):
            if outcome.value is not None:
                held.is_output(outcome.value, outcome.item)
            elif not isinstance(outcome.error, ArkerError):
                held.wrong.append(f"an outcome is {outcome!r}")


async def _fleet(held: Held) -> None:
    async with AsyncExitStack() as stack:
        fleet = await held.call(stack.enter_async_context(held.ar.fork_many("ubuntu", 2)), "forks")
        for uploaded in await fleet.upload(b"x", "f"):
            if uploaded.error is None:
                there = held.service.vms[uploaded.vm.id].place("f").read_bytes()
                held.same("file in the fleet", there, b"x")
        for outcome in await fleet.run("say hi", deadline=held.patience):
            if outcome.value is not None:
                held.is_output(outcome.value, "hi")
            elif not isinstance(outcome.error, ArkerError):
                held.wrong.append(f"an outcome is {outcome!r}")


async def _get_vm(held: Held) -> None:
    vm = await held.call(held.ar.get_vm(BASE))
    held.same("VM", vm.id, BASE)
    await held.call(vm.refresh())
    held.same("VM", vm.id, BASE)
    held.same("VM", (await held.call(held.ar.find_vm(BASE))).id, BASE)


async def _list_vms(held: Held) -> None:
    there = list(held.service.vms)
    page = await held.call(held.ar.list_vms())
    held.is_list("VMs", [vm.vm_id for vm in page], there[:2])
    await held.is_iterated("VMs", held.ar.iter_vms(), "vm_id", there)


async def _list_org_runs(held: Held) -> None:
    page = await held.call(held.ar.list_runs(limit=2))
    held.same("number of rows", len(page.rows), 2)
    found = [row async for row in held.ar.iter_runs(page_size=2)]
    held.same("number of rows", len(found), 3)


async def _resize(held: Held) -> None:
    await held.vm.resize(vcpu_count=2)


# --- what programs that were killed have left ------------------------------------------------------------------------


async def _leave_behind(held: Held) -> None:
    """Write down three forks of a program that is dead: with an answer, without, and with one that names no VM."""
    ledger = Ledger(held.ledger, API_KEY)
    for number in range(3):
        request = fork_request(base_url=held.service.url + COMPUTE)
        assert request.idempotency_key is not None
        made = held.service.fork({}, request.idempotency_key)
        held.service.posts[request.idempotency_key] += 1
        made.effect.truthful = True
        held.service.keep("fork", request.idempotency_key, (made.described(), made.effect))
        await ledger.intend(request, None)
        if number == 0:
            ledger.made(request, made.vm_id)
        elif number == 2:
            ledger.answered(request)
    await ledger.aclose(release=False)
    orphan(held)


def orphan(held: Held) -> None:
    """Let the owners of all that is on record be dead, and the set times of VMs be over."""
    if held.ledger.is_file():
        with closing(sqlite3.connect(held.ledger, timeout=10, isolation_level=None)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() != (0,):
                connection.execute("UPDATE forks SET owner = 'dead', ends_at = min(ends_at, 1)")


async def _reap(held: Held) -> None:
    await held.ar.reap(deadline=held.patience)


# --- filesystems, tunnels, syncs -------------------------------------------------------------------------------------


async def _filesystem(held: Held) -> None:
    made = await held.call(held.ar.create_filesystem(name="n"), "create_filesystem")
    found = await held.call(held.ar.get_filesystem(made.filesystem_id))
    held.same("filesystem", found.filesystem_id, made.filesystem_id)
    await held.call(held.ar.delete_filesystem(made.filesystem_id), "delete_filesystem")


async def _list_filesystems(held: Held) -> None:
    there = held.service.filesystems()
    page = await held.call(held.ar.list_filesystems())
    held.is_list("filesystems", [each.filesystem_id for each in page], there[:2])
    await held.is_iterated("filesystems", held.ar.iter_filesystems(), "filesystem_id", there)


async def _tunnel_block(held: Held) -> None:
    async with held.vm.tunnel(8080, deadline=held.patience) as tunnel:
        held.same("reply", (await held.call(tunnel.request("GET"))).body, b"port 8080")


async def _serving(held: Held) -> None:
    async with held.vm.tunnel(8080, deadline=held.patience) as tunnel:
        await held.call(tunnel.wait_until_serving(deadline=held.patience))


async def _tunnel(held: Held) -> None:
    tunnel = held.vm.tunnel(8080, wait=False)
    await held.call(tunnel.open(), "create_tunnel")
    held.given.append(tunnel.data.tunnel_key if tunnel.data is not None and tunnel.data.tunnel_key else "")
    await held.call(tunnel.wait_open(deadline=held.patience))
    await held.call(tunnel.refresh())
    await held.call(tunnel.close(), "delete_tunnel")


async def _create_tunnel(held: Held) -> None:
    made = await held.call(held.vm.create_tunnel(ports=[80]), "create_tunnel")
    if made.tunnel_key is None:
        held.given += held.service.vms[BASE].ids("tunnels")  # as far as was told
    else:
        held.given.append(made.tunnel_key)
        await held.call(held.vm.get_tunnel(made.tunnel_key))
        await held.call(held.vm.delete_tunnel(made.tunnel_key), "delete_tunnel")


async def _list_tunnels(held: Held) -> None:
    page = await held.call(held.vm.list_tunnels())
    there = held.service.vms[BASE].ids("tunnels")
    held.same("number of tunnels", len(page.tunnels), len(there[:2]))
    held.same("number of tunnels", len([each async for each in held.vm.iter_tunnels()]), len(there))


async def _create_sync(held: Held) -> None:
    filesystem = held.service.filesystems()[0]
    made = await held.call(held.vm.create_sync(filesystem_id=filesystem, path="/mnt/x"), "create_sync")
    held.given.append(made.sync_id)
    await held.call(held.vm.delete_sync(made.sync_id), "delete_sync")


async def _list_syncs(held: Held) -> None:
    page = await held.call(held.vm.list_syncs())
    there = held.service.vms[BASE].ids("syncs")
    held.is_list("syncs", [each.sync_id for each in page], there[:2])
    await held.is_iterated("syncs", held.vm.iter_syncs(), "sync_id", there)


async def _create_mount(held: Held) -> None:
    filesystem = held.service.filesystems()[0]
    made = await held.call(held.vm.create_mount(filesystem_id=filesystem, path="/mnt/x"), "create_mount")
    held.given.append(made.mount_id)
    await held.call(held.vm.delete_mount(made.mount_id), "delete_mount")


async def _list_mounts(held: Held) -> None:
    page = await held.call(held.vm.list_mounts())
    there = held.service.vms[BASE].ids("mounts")
    held.is_list("mounts", [each.mount_id for each in page], there[:2])
    await held.is_iterated("mounts", held.vm.iter_mounts(), "mount_id", there)


# --- the service -----------------------------------------------------------------------------------------------------


async def _update(held: Held) -> None:
    vm = await held.call(held.vm.update(description="d"), "update")
    held.same("VM", vm.data is None, False)


async def _service(held: Held) -> None:
    held.same("number of regions", len(await held.call(held.ar.list_regions())), 1)
    held.same("organisation", (await held.call(held.ar.whoami())).org_id, "acme")


async def _pools(held: Held) -> None:
    page = await held.call(held.ar.list_pools())
    there = ["01PO0", "01PO1", "01PO2"]
    held.is_list("pools", [each.pool_id for each in page], there[:2])
    await held.is_iterated("pools", held.ar.iter_pools(), "pool_id", there)


async def _change_pools(held: Held) -> None:
    made = await held.call(held.ar.create_pool("self_hosted", name="mine"))
    held.same("name", made.name, "mine")
    held.same("pool", (await held.call(held.ar.get_pool("01PO0"))).pool_id, "01PO0")
    held.same("pool", (await held.call(held.ar.update_pool("01PO0", name="new"))).pool_id, "01PO0")
    held.same("number of workers", len(await held.call(held.ar.list_pool_workers("01PO0"))), 1)
    held.same("pool", (await held.call(held.ar.delete_pool("01PO0"))).pool_id, "01PO0")


async def _api_keys(held: Held) -> None:
    held.is_list(
        "api_keys", [each.api_key_id for each in await held.call(held.ar.list_api_keys())], ["key-0", "key-1", "key-2"]
    )
    held.same("key", (await held.call(held.ar.create_api_key(name="ci"))).key, "new")
    await held.call(held.ar.revoke_api_key("key-1"))


async def _close(held: Held) -> None:
    """Close the client while blocks of it are open."""
    async with held.vm.open_session(), await held.call(held.ar.fork("ubuntu"), "fork"):
        await held.ar.aclose()


OPERATIONS: Final[list[Operation]] = [
    Operation("fork", ("AsyncArker.fork",), ("fork",), _fork),
    Operation("fork of a handle", ("AsyncVM.fork", "AsyncArker.vm"), ("fork",), _vm_fork),
    Operation("delete", ("AsyncVM.delete",), ("delete",), _delete),
    Operation("VM in a block", ("AsyncArker.fork",), _USED, _block),
    Operation("VM that is kept", ("AsyncVM.keep",), ("fork", "get_vm"), _keep),
    Operation("VM with an end", ("AsyncVM.keep_alive",), ("fork", "delete"), _keep_alive),
    Operation("snapshot", ("AsyncVM.snapshot",), ("fork",), _snapshot),
    Operation("fleet, map", ("AsyncArker.fork_many", "AsyncFleet.map"), _USED, _map),
    Operation("fleet", ("AsyncFleet.run", "AsyncFleet.upload"), (*_USED, "write"), _fleet),
    Operation("get a VM", ("AsyncArker.get_vm", "AsyncArker.find_vm", "AsyncVM.refresh"), ("get_vm",), _get_vm),
    Operation("list VMs", ("AsyncArker.list_vms", "AsyncArker.iter_vms"), ("list_vms",), _list_vms),
    Operation("list runs of all", ("AsyncArker.list_runs", "AsyncArker.iter_runs"), ("list_org_runs",), _list_org_runs),
    Operation("resize", ("AsyncVM.resize",), ("resize",), _resize, older=True),
    Operation("reap", ("AsyncArker.reap",), ("fork", "delete"), _reap, prepare=_leave_behind),
    Operation(
        "filesystem",
        ("AsyncArker.create_filesystem", "AsyncArker.get_filesystem", "AsyncArker.delete_filesystem"),
        ("create_filesystem", "get_filesystem", "delete_filesystem"),
        _filesystem,
    ),
    Operation(
        "list filesystems",
        ("AsyncArker.list_filesystems", "AsyncArker.iter_filesystems"),
        ("list_filesystems",),
        _list_filesystems,
    ),
    Operation(
        "tunnel in a block",
        ("AsyncVM.tunnel", "AsyncTunnel.request"),
        ("create_tunnel", "get_tunnel", "delete_tunnel", "through"),
        _tunnel_block,
        older=True,
    ),
    Operation(
        "wait for a server",
        ("AsyncTunnel.wait_until_serving",),
        ("create_tunnel", "get_tunnel", "delete_tunnel", "through"),
        _serving,
        older=True,
    ),
    Operation(
        "open a tunnel",
        ("AsyncTunnel.open", "AsyncTunnel.wait_open", "AsyncTunnel.refresh", "AsyncTunnel.close"),
        ("create_tunnel", "get_tunnel", "delete_tunnel"),
        _tunnel,
        older=True,
    ),
    Operation(
        "create a tunnel",
        ("AsyncVM.create_tunnel", "AsyncVM.get_tunnel", "AsyncVM.delete_tunnel"),
        ("create_tunnel", "get_tunnel", "delete_tunnel"),
        _create_tunnel,
        older=True,
    ),
    Operation(
        "list tunnels", ("AsyncVM.list_tunnels", "AsyncVM.iter_tunnels"), ("list_tunnels",), _list_tunnels, older=True
    ),
    Operation(
        "create a sync",
        ("AsyncVM.create_sync", "AsyncVM.delete_sync"),
        ("create_sync", "delete_sync"),
        _create_sync,
        older=True,
    ),
    Operation("list syncs", ("AsyncVM.list_syncs", "AsyncVM.iter_syncs"), ("list_syncs",), _list_syncs, older=True),
    Operation(
        "create a mount",
        ("AsyncVM.create_mount", "AsyncVM.delete_mount"),
        ("create_mount", "delete_mount"),
        _create_mount,
    ),
    Operation("list mounts", ("AsyncVM.list_mounts", "AsyncVM.iter_mounts"), ("list_mounts",), _list_mounts),
    Operation("update", ("AsyncVM.update",), ("update",), _update),
    Operation("regions and name", ("AsyncArker.list_regions", "AsyncArker.whoami"), ("regions", "whoami"), _service),
    Operation("pools", ("AsyncArker.list_pools", "AsyncArker.iter_pools"), ("list_pools",), _pools),
    Operation(
        "changes of pools",
        (
            "AsyncArker.create_pool",
            "AsyncArker.get_pool",
            "AsyncArker.update_pool",
            "AsyncArker.delete_pool",
            "AsyncArker.list_pool_workers",
        ),
        ("create_pool", "get_pool", "update_pool", "list_workers", "delete_pool"),
        _change_pools,
    ),
    Operation(
        "API keys",
        ("AsyncArker.list_api_keys", "AsyncArker.create_api_key", "AsyncArker.revoke_api_key"),
        ("list_api-keys", "create_api-key", "delete_api-key"),
        _api_keys,
    ),
    Operation(
        "close around blocks",
        ("AsyncArker.aclose",),
        ("create_session", "fork", "delete", "delete_session"),
        _close,
    ),
    *operations_runs.OPERATIONS,
    *operations_files.OPERATIONS,
]
BY_NAME: Final[dict[str, Operation]] = {operation.name: operation for operation in OPERATIONS}
EXEMPT: Final[dict[str, str]] = {
    "AsyncArker.local": "starts a backend of its own, whose replies do not pass through here",
    "AsyncRun.write": "a run of a program for a real shell, in a session of the SDK's own; both are here without it",
    "AsyncRun.close_stdin": "the same",
    "AsyncVM.terminal": "sends nothing; the terminal's WebSocket is no reply",
}
"""Public methods that are in no operation, and why."""


def methods(owner: type[Any]) -> list[str]:
    """List the public methods of a class, by their names with the class's."""
    names = [name for name in dir(owner) if not name.startswith("_") and callable(getattr(owner, name))]
    return [f"{owner.__name__}.{name}" for name in names]


__all__ = ["BY_NAME", "EXEMPT", "OPERATIONS", "methods", "orphan"]
