"""Every operation of the client, as it is tried before a server that drifts."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import define, field, frozen

from arker import AsyncArker, AsyncVM


@define(eq=False)
class Held:
    """What a program has of what it has done.

    Attributes:
        vms: Handles that it was given, and has not deleted.
        result: What the operation gave.
    """

    vms: list[str] = field(factory=list[str])
    result: Any = None


Act = Callable[[AsyncArker, AsyncVM, Held], Awaitable[Any]]


@frozen
class Operation:
    """An operation of the client.

    Attributes:
        name: The public method.
        requests: The service's operations that it asks for, any of which may drift.
        act: Carries it out.
        counts: What the service counts when it has been carried out; None for one that changes nothing.
        expected: What it gives; ... for anything.
    """

    name: str
    requests: tuple[str, ...]
    act: Act
    counts: str | None = None
    expected: object = ...


async def _fork(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    made = await ar.fork("ubuntu")
    held.vms.append(made.id)
    return made.id


async def _vm_fork(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    made = await vm.fork()
    held.vms.append(made.id)
    return made.id


async def _delete(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    answer = await vm.delete()
    if answer.deleted:
        held.vms.remove(vm.id)
    return answer.deleted


async def _block(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    async with await ar.fork("ubuntu") as inner:
        return (await inner.run("echo hi")).stdout


async def _fleet(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    async with ar.fork_many("ubuntu", 3) as fleet:
        outcomes = [outcome async for outcome in fleet.map(lambda vm, text: vm.run(f"echo {text}"), ["hi"] * 5)]
        return [outcome.unwrap().stdout for outcome in outcomes]


async def _fleet_run(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    async with ar.fork_many("ubuntu", 2) as fleet:
        await fleet.upload(b"x", "/f")
        return [outcome.unwrap().stdout for outcome in await fleet.run("echo hi")]


async def _run(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    return (await vm.run("echo hi", timeout=0.5)).stdout


async def _background(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    return (await vm.run("echo hi", background=True)).run_id


async def _signal(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    return await vm.run("", signal="INT")


async def _start(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    run = await vm.start("echo hi")
    return (await run.wait()).stdout


async def _result(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    run = vm.attach_run((await vm.start("echo hi")).run_id)
    await run.refresh()
    await run.wait()
    return (await run.result()).stdout


async def _output(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    run = await vm.start("echo hi")
    return b"".join([chunk.data async for chunk in run.output()])


async def _lines(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    return [line.text async for line in (await vm.start("echo hi")).lines()]


async def _run_signal(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    await (await vm.start("echo hi")).signal("INT")


async def _run_cancel(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    return (await (await vm.start("echo hi")).cancel()).cancelled


async def _cancel(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    return (await vm.cancel_run((await vm.start("echo hi")).run_id)).cancelled


async def _session(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    async with vm.open_session(env={"A": "b"}) as session:
        await session.refresh()
        await (await session.start("echo there")).wait()
        return (await session.run("echo hi")).stdout


async def _delete_session(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    session = await vm.create_session()
    await vm.get_session(session.session_id)
    return (await vm.delete_session(session.session_id)).deleted


async def _filesystem(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    made = await ar.create_filesystem(name="n")
    await ar.get_filesystem(made.filesystem_id)
    return (await ar.delete_filesystem(made.filesystem_id)).deleted


async def _sync(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    await vm.sync("/f", b"hello")
    return await vm.sync("/f")


async def _sync_text(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    await vm.sync("/f", "hello")
    stream = vm.open_read("/f")
    async with stream:
        return b"".join([piece async for piece in stream])


async def _upload(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    await vm.upload(b"hello", "/f")
    await vm.upload_many([(b"hello", "/f"), (b"", "/g")])
    target = io.BytesIO()
    await vm.download("/f", target)
    return target.getvalue()


async def _tunnel(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
    async with vm.tunnel(80, deadline=2):
        pass


def _of(name: str, *requests: str) -> Operation:
    """An operation on the client or the VM that takes no arguments and changes nothing."""

    async def act(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
        owner: Any = vm if name.startswith("vm.") else ar
        result = getattr(owner, name.rpartition(".")[2])()
        if name.rpartition(".")[2].startswith("iter_"):
            return [item async for item in result]
        return await result

    return Operation(name, requests, act)


def _with(name: str, requests: tuple[str, ...], *arguments: Any, **named: Any) -> Operation:
    async def act(ar: AsyncArker, vm: AsyncVM, held: Held) -> Any:
        owner: Any = vm if name.startswith("vm.") else ar
        return await getattr(owner, name.rpartition(".")[2])(*arguments, **named)

    return Operation(name, requests, act)


OPERATIONS: Final[list[Operation]] = [
    Operation("fork", ("fork",), _fork, "fork"),
    Operation("vm.fork", ("fork",), _vm_fork, "fork"),
    Operation("vm.delete", ("delete",), _delete, "delete"),
    Operation("vm in a block", ("fork", "run", "delete", "get_vm"), _block, None, b"hi"),
    Operation("fork_many", ("fork", "run", "delete", "get_vm"), _fleet, None, [b"hi"] * 5),
    Operation("fleet.run, fleet.upload", ("fork", "run", "write"), _fleet_run, None, [b"hi"] * 2),
    Operation("vm.run", ("run",), _run, "run", b"hi"),
    Operation("vm.run, in the background", ("run",), _background, "run"),
    Operation("vm.run, a signal", ("run",), _signal),
    Operation("vm.start, run.wait", ("run", "list_runs", "get_run"), _start, None, b"hi"),
    Operation("vm.attach_run, run.refresh, run.result", ("run", "list_runs", "get_run"), _result, None, b"hi"),
    Operation("run.output", ("run", "list_runs", "get_run"), _output, None, b"hi"),
    Operation("run.lines", ("list_runs", "get_run"), _lines, None, ["hi"]),
    Operation("run.signal", ("run", "list_runs"), _run_signal),
    Operation("run.cancel", ("cancel_run",), _run_cancel, "cancel_run"),
    Operation("vm.cancel_run", ("cancel_run",), _cancel, "cancel_run"),
    Operation("vm.open_session", ("create_session", "get_session", "run", "delete_session"), _session, None, b"hi"),
    Operation(
        "vm.create_session, vm.get_session, vm.delete_session", ("create_session", "get_session"), _delete_session
    ),
    Operation(
        "create_filesystem, get_filesystem, delete_filesystem", ("create_filesystem", "get_filesystem"), _filesystem
    ),
    Operation("vm.sync", ("read", "write"), _sync, None, b"hello"),
    Operation("vm.open_read", ("read", "write"), _sync_text, None, b"hello"),
    Operation("vm.upload, vm.download, vm.upload_many", ("read", "write"), _upload, None, b"hello"),
    Operation("vm.tunnel", ("get_vm",), _tunnel),
    _with("vm.download_many", ("read",), []),
    _of("vm.refresh", "get_vm"),
    _with("get_vm", ("get_vm",), f"01VM{1:022d}"),
    _with("vm.get_run", ("get_run",), "r"),
    _of("vm.list_runs", "list_runs"),
    _of("vm.iter_runs", "list_runs"),
    _of("vm.list_sessions", "list_sessions"),
    _of("vm.iter_sessions", "list_sessions"),
    _of("vm.list_tunnels", "none"),
    _of("vm.iter_tunnels", "none"),
    _with("vm.create_tunnel", ("none",), ports=[80]),
    _with("vm.get_tunnel", ("none",), "k"),
    _with("vm.delete_tunnel", ("none",), "k"),
    _of("vm.list_syncs", "none"),
    _of("vm.iter_syncs", "none"),
    _with("vm.create_sync", ("none",), filesystem_id="f"),
    _with("vm.delete_sync", ("none",), "s"),
    _with("vm.resize", ("none",), vcpu_count=2),
    _of("list_vms", "list_vms"),
    _of("iter_vms", "list_vms"),
    _of("list_runs", "list_org_runs"),
    _of("iter_runs", "list_org_runs"),
    _of("list_filesystems", "list_filesystems"),
    _of("iter_filesystems", "list_filesystems"),
    _with("reap", ("fork", "delete")),
]
"""Those with commas are several in one."""
