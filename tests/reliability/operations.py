"""Every operation of the client: how to ask for it, what is right as its result, and what of its effect is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

from attrs import define, frozen

from arker import AsyncArker, AsyncVM, Filesystem, NotFoundError
from arker.emulator import Emulator
from arker.emulator.control.rules import OperationName

Kind: TypeAlias = Literal["reading", "keyed", "repeatable", "creating"]
"""What section 3 of the contract tells apart: what has no effect; runs and forks, which the server knows again by their
keys; DELETE, `/sync` and `/resize`, which do no harm twice; and the other creating POSTs."""

Named: TypeAlias = Literal["key", "vm", "run"]
"""What an error of an operation is to name."""

CONTENT: Final = bytes(range(256)) * 8
LARGE: Final = bytes(range(256)) * (4 * 4096) + b"more than 4 MiB, which is the most that goes inline"


@define
class Scene:
    """What there is before a cell's operation, made by a client that no fault reaches.

    Attributes:
        emulator: The server.
        steady: The client.
        vm: A VM of the cell's own.
        token: Stands in the names and commands of this cell alone.
        target: The id of what the operation is about, if there is such a thing.
    """

    emulator: Emulator
    steady: AsyncArker
    vm: AsyncVM
    token: str
    target: str = ""


Prepare: TypeAlias = Callable[[Scene], Awaitable[None]]
Act: TypeAlias = Callable[[Scene, AsyncArker], Awaitable[bool]]
Count: TypeAlias = Callable[[Scene], Awaitable[int]]


@frozen(kw_only=True)
class Operation:
    """A row of the matrix.

    Attributes:
        name: Its title.
        hit: The request that the fault is set for.
        kind: What may be done with it a second time.
        names: What an error of it names.
        prepare: Makes what it needs.
        act: Asks for it; whether the result is right.
        effects: How often its effect is there; None for an operation without any.
        skip: How many requests with that name come before the one that is hit.
        decisive: Whether the request that is hit is the one with the effect.
    """

    name: str
    hit: OperationName
    kind: Kind
    names: frozenset[Named] = frozenset({"vm"})
    prepare: Prepare | None = None
    act: Act
    effects: Count | None = None
    skip: int = 0
    decisive: bool = True


def _handle(scene: Scene, client: AsyncArker) -> AsyncVM:
    return client.vm(scene.vm.id)


# --- runs ------------------------------------------------------------------------------------------------------------


async def _has_run(scene: Scene) -> None:
    scene.target = (await scene.vm.run(f"echo {scene.token}")).run_id or ""


async def _has_running(scene: Scene) -> None:
    scene.target = (await scene.vm.run("sleep 600", background=True)).run_id


async def _run(scene: Scene, client: AsyncArker) -> bool:
    result = await _handle(scene, client).run(f"echo {scene.token}")
    return result.stdout == f"{scene.token}\n".encode() and result.exit_code == 0


async def _run_behind(scene: Scene, client: AsyncArker) -> bool:
    result = await _handle(scene, client).run(f"echo {scene.token}", background=True)
    return (await scene.vm.get_run(result.run_id)).command == f"echo {scene.token}"


async def _executions(scene: Scene) -> int:
    found = scene.emulator.journal.executions()
    return sum(scene.token in each.command for each in found)


async def _list_runs(scene: Scene, client: AsyncArker) -> bool:
    return [run.run_id for run in await _handle(scene, client).list_runs()] == [scene.target]


async def _get_run(scene: Scene, client: AsyncArker) -> bool:
    return (await _handle(scene, client).get_run(scene.target)).stdout == f"{scene.token}\n".encode()


async def _cancel_run(scene: Scene, client: AsyncArker) -> bool:
    await _handle(scene, client).cancel_run(scene.target)
    return True


async def _cancelled(scene: Scene) -> int:
    return int((await scene.vm.get_run(scene.target)).state == "cancelled")


async def _list_org_runs(scene: Scene, client: AsyncArker) -> bool:
    return any(row.run_id == scene.target for row in await client.list_runs(vm=scene.vm.id))


# --- VMs -------------------------------------------------------------------------------------------------------------


async def _fork(scene: Scene, client: AsyncArker) -> bool:
    child = await client.fork("ubuntu")
    return child.id in {each.vm_id for each in scene.emulator.journal.forks()}


async def _forks(scene: Scene) -> int:
    return len(scene.emulator.journal.forks())


async def _get_vm(scene: Scene, client: AsyncArker) -> bool:
    return (await client.get_vm(scene.vm.id)).id == scene.vm.id


async def _list_vms(scene: Scene, client: AsyncArker) -> bool:
    return scene.vm.id in {vm.vm_id for vm in await client.list_vms(limit=1000)}


async def _delete_vm(scene: Scene, client: AsyncArker) -> bool:
    return (await _handle(scene, client).delete()).deleted


async def _deleted(scene: Scene) -> int:
    try:
        await scene.vm.refresh()
    except NotFoundError:
        return 1
    return 0


async def _resize(scene: Scene, client: AsyncArker) -> bool:
    return (await _handle(scene, client).resize(memory_mib=777)).resized


async def _resized(scene: Scene) -> int:
    return int((await scene.vm.refresh()).memory_mib == 777)


# --- files -----------------------------------------------------------------------------------------------------------


async def _has_file(scene: Scene) -> None:
    await scene.vm.sync("/tmp/file", CONTENT)


async def _has_large_file(scene: Scene) -> None:
    await scene.vm.sync("/tmp/file", LARGE)


async def _write(scene: Scene, client: AsyncArker) -> bool:
    await _handle(scene, client).sync("/tmp/file", CONTENT)
    return True


async def _write_large(scene: Scene, client: AsyncArker) -> bool:
    await _handle(scene, client).sync("/tmp/file", LARGE)
    return True


async def _written(scene: Scene) -> int:
    try:
        content = await scene.vm.sync("/tmp/file")
    except NotFoundError:
        return 0
    if content not in (CONTENT, LARGE):
        raise AssertionError("the file holds what no call wrote")
    return 1


async def _read(scene: Scene, client: AsyncArker) -> bool:
    return await _handle(scene, client).sync("/tmp/file") == CONTENT


async def _read_large(scene: Scene, client: AsyncArker) -> bool:
    return await _handle(scene, client).sync("/tmp/file") == LARGE


# --- sessions --------------------------------------------------------------------------------------------------------


async def _has_session(scene: Scene) -> None:
    scene.target = (await scene.vm.create_session()).session_id


async def _create_session(scene: Scene, client: AsyncArker) -> bool:
    made = await _handle(scene, client).create_session()
    return made.session_id in {each.session_id for each in await scene.vm.list_sessions()}


async def _sessions(scene: Scene) -> int:
    return sum(each.session_idx != 0 for each in await scene.vm.list_sessions())


async def _list_sessions(scene: Scene, client: AsyncArker) -> bool:
    return scene.target in {each.session_id for each in await _handle(scene, client).list_sessions()}


async def _get_session(scene: Scene, client: AsyncArker) -> bool:
    return (await _handle(scene, client).get_session(scene.target)).session_id == scene.target


async def _delete_session(scene: Scene, client: AsyncArker) -> bool:
    return (await _handle(scene, client).delete_session(scene.target)).deleted


async def _session_gone(scene: Scene) -> int:
    return int(scene.target not in {each.session_id for each in await scene.vm.list_sessions()})


# --- tunnels ---------------------------------------------------------------------------------------------------------


async def _has_tunnel(scene: Scene) -> None:
    scene.target = (await scene.vm.create_tunnel(ports=[8080])).tunnel_key or ""


async def _create_tunnel(scene: Scene, client: AsyncArker) -> bool:
    made = await _handle(scene, client).create_tunnel(ports=[8080])
    return made.tunnel_key in {each.tunnel_key for each in await scene.vm.list_tunnels()}


async def _tunnels(scene: Scene) -> int:
    return len(list(await scene.vm.list_tunnels()))


async def _list_tunnels(scene: Scene, client: AsyncArker) -> bool:
    return [each.tunnel_key for each in await _handle(scene, client).list_tunnels()] == [scene.target]


async def _get_tunnel(scene: Scene, client: AsyncArker) -> bool:
    return (await _handle(scene, client).get_tunnel(scene.target)).tunnel_key == scene.target


async def _delete_tunnel(scene: Scene, client: AsyncArker) -> bool:
    return (await _handle(scene, client).delete_tunnel(scene.target)).deleted


async def _tunnel_gone(scene: Scene) -> int:
    return int(not list(await scene.vm.list_tunnels()))


# --- filesystems and syncs -------------------------------------------------------------------------------------------


async def _has_filesystem(scene: Scene) -> None:
    scene.target = (await scene.steady.create_filesystem(name=scene.token)).filesystem_id


async def _has_sync(scene: Scene) -> None:
    await _has_filesystem(scene)
    scene.target = (await scene.vm.create_sync(filesystem_id=scene.target)).sync_id


async def _named(client: AsyncArker, scene: Scene) -> list[Filesystem]:
    return [each for each in await client.list_filesystems(name_prefix=scene.token) if each.name == scene.token]


async def _create_filesystem(scene: Scene, client: AsyncArker) -> bool:
    made = await client.create_filesystem(name=scene.token)
    return [each.filesystem_id for each in await _named(scene.steady, scene)] == [made.filesystem_id]


async def _filesystems(scene: Scene) -> int:
    return len(await _named(scene.steady, scene))


async def _list_filesystems(scene: Scene, client: AsyncArker) -> bool:
    return [each.filesystem_id for each in await _named(client, scene)] == [scene.target]


async def _get_filesystem(scene: Scene, client: AsyncArker) -> bool:
    return (await client.get_filesystem(scene.target)).name == scene.token


async def _delete_filesystem(scene: Scene, client: AsyncArker) -> bool:
    return (await client.delete_filesystem(scene.target)).deleted


async def _filesystem_gone(scene: Scene) -> int:
    return int(not await _named(scene.steady, scene))


async def _create_sync(scene: Scene, client: AsyncArker) -> bool:
    made = await _handle(scene, client).create_sync(filesystem_id=scene.target)
    return [each.sync_id for each in await scene.vm.list_syncs()] == [made.sync_id]


async def _syncs(scene: Scene) -> int:
    return len(list(await scene.vm.list_syncs()))


async def _list_syncs(scene: Scene, client: AsyncArker) -> bool:
    return [each.sync_id for each in await _handle(scene, client).list_syncs()] == [scene.target]


async def _delete_sync(scene: Scene, client: AsyncArker) -> bool:
    return (await _handle(scene, client).delete_sync(scene.target)).deleted


async def _sync_gone(scene: Scene) -> int:
    return int(not list(await scene.vm.list_syncs()))


_NOTHING: Final[frozenset[Named]] = frozenset()
_KEY: Final[frozenset[Named]] = frozenset({"key"})
_VM_AND_KEY: Final[frozenset[Named]] = frozenset({"key", "vm"})
_VM_AND_RUN: Final[frozenset[Named]] = frozenset({"run", "vm"})


def _row(
    name: str,
    hit: OperationName,
    kind: Kind,
    act: Act,
    effects: Count | None = None,
    *,
    prepare: Prepare | None = None,
    names: frozenset[Named] = frozenset({"vm"}),
    skip: int = 0,
    decisive: bool = True,
) -> Operation:
    return Operation(
        name=name,
        hit=hit,
        kind=kind,
        names=names,
        prepare=prepare,
        act=act,
        effects=effects,
        skip=skip,
        decisive=decisive,
    )


OPERATIONS: Final[tuple[Operation, ...]] = (
    _row("fork", "fork", "keyed", _fork, _forks, names=_KEY),
    _row("run", "run", "keyed", _run, _executions, names=_VM_AND_KEY),
    _row("run, in the background", "run", "keyed", _run_behind, _executions, names=_VM_AND_KEY),
    _row("cancel_run", "cancel_run", "repeatable", _cancel_run, _cancelled, prepare=_has_running, names=_VM_AND_RUN),
    _row("get_run", "get_run", "reading", _get_run, prepare=_has_run, names=_VM_AND_RUN),
    _row("list_runs", "list_runs", "reading", _list_runs, prepare=_has_run),
    _row("list_runs of all", "list_org_runs", "reading", _list_org_runs, prepare=_has_run, names=_NOTHING),
    _row("get_vm", "get_vm", "reading", _get_vm),
    _row("list_vms", "list_vms", "reading", _list_vms, names=_NOTHING),
    _row("delete_vm", "delete_vm", "repeatable", _delete_vm, _deleted),
    _row("resize", "resize", "repeatable", _resize, _resized),
    _row("write", "sync", "repeatable", _write, _written),
    _row("write, large: begin", "sync", "repeatable", _write_large, _written, decisive=False),
    _row("write, large: PUT", "presigned_put", "repeatable", _write_large, _written, decisive=False),
    _row("write, large: commit", "sync", "repeatable", _write_large, _written, skip=1),
    _row("read", "sync", "reading", _read, prepare=_has_file),
    _row("read, large: begin", "sync", "reading", _read_large, prepare=_has_large_file),
    _row("read, large: GET", "presigned_get", "reading", _read_large, prepare=_has_large_file),
    _row("create_session", "create_session", "creating", _create_session, _sessions, names=_VM_AND_KEY),
    _row("get_session", "get_session", "reading", _get_session, prepare=_has_session),
    _row("list_sessions", "list_sessions", "reading", _list_sessions, prepare=_has_session),
    _row("delete_session", "delete_session", "repeatable", _delete_session, _session_gone, prepare=_has_session),
    _row("create_tunnel", "create_tunnel", "creating", _create_tunnel, _tunnels, names=_VM_AND_KEY),
    _row("get_tunnel", "get_tunnel", "reading", _get_tunnel, prepare=_has_tunnel),
    _row("list_tunnels", "list_tunnels", "reading", _list_tunnels, prepare=_has_tunnel),
    _row("delete_tunnel", "delete_tunnel", "repeatable", _delete_tunnel, _tunnel_gone, prepare=_has_tunnel),
    _row("create_filesystem", "create_filesystem", "creating", _create_filesystem, _filesystems, names=_KEY),
    _row("get_filesystem", "get_filesystem", "reading", _get_filesystem, prepare=_has_filesystem, names=_NOTHING),
    _row("list_filesystems", "list_filesystems", "reading", _list_filesystems, prepare=_has_filesystem, names=_NOTHING),
    _row(
        "delete_filesystem",
        "delete_filesystem",
        "repeatable",
        _delete_filesystem,
        _filesystem_gone,
        prepare=_has_filesystem,
        names=_NOTHING,
    ),
    _row("create_sync", "create_sync", "creating", _create_sync, _syncs, prepare=_has_filesystem, names=_VM_AND_KEY),
    _row("list_syncs", "list_syncs", "reading", _list_syncs, prepare=_has_sync),
    _row("delete_sync", "delete_sync", "repeatable", _delete_sync, _sync_gone, prepare=_has_sync),
)

__all__ = ["OPERATIONS", "Kind", "Named", "Operation", "Scene"]
