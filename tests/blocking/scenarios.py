"""Programs that use a client, each giving what it has observed. They are driven through both clients."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    BackgroundRunResult,
    FleetProgress,
    InvalidArgumentError,
    RunFailedError,
    TransferProgress,
)
from tests.support.waiting import longer_and_longer

Scenario: TypeAlias = Callable[[AsyncArker], Awaitable[object]]


async def failure(work: Callable[[], Awaitable[object]]) -> dict[str, object]:
    """Return what is raised, with all its attributes."""
    try:
        result = await work()
    except ArkerError as error:
        facts: dict[str, object] = {
            name: getattr(error, name)
            for name in ("message", "code", "status", "operation", "attempts", "outcome", "vm_id", "run_id")
        }
        return {"type": type(error).__name__, "value_error": isinstance(error, ValueError), **facts}
    raise AssertionError(f"nothing was raised: {result}")


def without(directory: str, seen: list[object]) -> str:
    """Return what was seen, without the name of a temporary directory."""
    return repr(seen).replace(directory, "<directory>")


async def the_main_job(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu", name="main")
    seen: list[object] = [vm.name, vm.state, vm.id == vm.vm_id, vm.base_url == ar.base_url, vm.data is not None]
    result = await vm.run("echo out; echo err >&2; exit 3")
    seen += [result.stdout, result.stderr, result.exit_code, result.state, result.stdout_text]
    await vm.sync("dir/in.txt", b"hello")
    seen += [await vm.sync("dir/in.txt"), (await vm.run(["cat", "dir/in.txt"])).stdout]
    child = await ar.fork(vm)
    other = await vm.fork(name="other")
    await child.sync("dir/in.txt", b"changed")
    seen += [await each.sync("dir/in.txt") for each in (vm, child, other)]
    again = await ar.get_vm(vm.id)
    seen += [(await ar.find_vm("main")).id == vm.id, (await ar.get_vm("main")).id == vm.id]
    seen += [again.name, (await ar.vm(vm.id).refresh()).name, [each.name for each in await ar.list_vms()]]
    seen += [await each.delete() for each in (other, child, vm)]
    seen += [list(await ar.list_vms())]
    return seen


async def large_files(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    data = bytes(range(256)) * 20_000
    await vm.sync("large", memoryview(data))
    size = await vm.run("wc -c < large")
    return [size.stdout_text, await vm.sync("large") == data, await vm.sync("/etc/hostname")]


async def errors(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    wrong: Any = 7
    seen = [
        await failure(lambda: vm.sync("missing")),
        await failure(lambda: vm.get_run("missing")),
        await failure(lambda: ar.get_vm("missing")),
        await failure(lambda: ar.fork("missing")),
        await failure(lambda: ar.fork("ubuntu-docker")),
        await failure(lambda: ar.fork()),
        await failure(lambda: ar.fork(wrong)),
        await failure(lambda: vm.run("")),
        await failure(lambda: vm.run("true", timeout=-1)),
        await failure(lambda: vm.run("true", deadline=0)),
        await failure(lambda: vm.sync("", b"")),
        await failure(lambda: vm.sync("file", wrong)),
        await failure(lambda: vm.list_runs(limit=0)),
        await failure(lambda: ar.list_vms(cursor="no cursor")),
        await failure(lambda: vm.delete_session("missing")),
        await failure(lambda: ar.vm("ubuntu").delete()),
    ]
    try:
        ar.vm("..")
    except InvalidArgumentError as error:
        seen.append({"message": error.message})
    return seen


async def a_command_that_fails(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    try:
        await vm.run("echo some; echo more >&2; exit 7", check=True)
    except RunFailedError as error:
        result = error.result
        return [type(error).__name__, error.message, result.stdout, result.stderr, result.exit_code, error.operation]
    raise AssertionError("nothing was raised")


async def bounds(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    longer = longer_and_longer(0.3)  # longer ones where a busy machine did not begin in time
    while True:
        seconds = next(longer)
        killed = await vm.run("echo begun; sleep 60", timeout=seconds)
        if killed.stdout:
            break
    longer = longer_and_longer(0.3)
    while True:
        deadline = next(longer)
        late = await failure(partial(vm.run, "sleep 60", deadline=deadline))
        if late["outcome"] == "unknown":
            break
    reason = (killed.fail_reason or "").replace(f"{seconds:g}", "some")
    seen: list[object] = [killed.state, reason, killed.stdout, killed.exit_code, late["type"], late["outcome"]]
    return seen


async def in_the_background(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    started = await vm.run("echo begun; sleep 60", background=True)
    assert isinstance(started, BackgroundRunResult)
    run = await vm.get_run(started.run_id)
    seen: list[object] = [started.state, run.state, run.command, run.exit_code]
    seen += [await vm.cancel_run(started.run_id), (await vm.get_run(started.run_id)).state]
    once = await vm.run("echo $RANDOM", idempotency_key="key")
    twice = await vm.run("echo $RANDOM", idempotency_key="key")
    seen += [once.run_id == twice.run_id, [each.state for each in await vm.list_runs(state=["cancelled", "completed"])]]
    return seen


async def sessions(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    session = await vm.create_session(env={"NAME": "value"}, cwd="/tmp")
    await vm.run("cd /; export MORE=1", session_id=session.session_id)
    result = await vm.run("echo $PWD $NAME $MORE", session_id=session.session_id)
    seen: list[object] = [session.session_idx, session.cwd, result.stdout, len(await vm.list_sessions())]
    seen += [(await vm.get_session(session.session_id)).cwd, await vm.delete_session(session.session_id)]
    return [*seen, await vm.resize(vcpu_count=2), (await vm.refresh()).vcpu_count]


async def filesystems_and_tunnels(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    filesystem = await ar.create_filesystem(name="shared")
    bound = await vm.create_sync(filesystem_id=filesystem.filesystem_id, path="/mnt/shared")
    await vm.run("echo kept > /mnt/shared/file")
    other = await ar.fork("ubuntu")
    await other.create_sync(filesystem_id=filesystem.filesystem_id)
    seen: list[object] = [bound.path, await other.sync("/mnt/shared/file"), len(await vm.list_syncs())]
    tunnel = await vm.create_tunnel(ports=[8080])
    seen += [tunnel.port, tunnel.visibility, tunnel.state, [each.port for each in await vm.list_tunnels()]]
    assert tunnel.tunnel_key is not None
    seen += [await vm.delete_tunnel(tunnel.tunnel_key), await vm.delete_sync(bound.sync_id), await other.delete()]
    return [*seen, await ar.delete_filesystem(filesystem.filesystem_id), len(await ar.list_filesystems())]


async def blocks(ar: AsyncArker) -> object:
    seen: list[object] = []
    async with await ar.fork("ubuntu", name="inside") as vm:
        seen.append([each.name for each in await ar.list_vms()])
    seen.append(await failure(vm.refresh))
    try:
        async with await ar.fork("ubuntu") as vm:
            raise LookupError("the body's own")
    except LookupError as error:
        seen.append(str(error))
    seen.append(len(await ar.list_vms()))
    async with await ar.fork("ubuntu", name="kept") as vm:
        vm.keep()
    seen.append([each.name for each in await ar.list_vms()])
    async with await ar.fork("ubuntu") as vm:
        await vm.delete()
    return [*seen, len(await ar.list_runs(endpoint="fork")), (await ar.reap(dry_run=True)).living]


async def runs_that_are_held(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    run = await vm.start("echo one; echo two >&2; sleep 0.2; printf 'three\\nfour'; exit 5")
    seen: list[object] = [run.vm_id == vm.id, sorted([(line.stream, line.text) async for line in run.lines()])]
    seen += [run.state, run.exit_code, (await run.wait()).stdout, (await run.result()).exit_code]
    seen += [await failure(lambda: run.wait(check=True))]
    attached = await vm.attach_run(run.run_id).refresh()
    seen += [attached.state, attached.command, b"".join([chunk.data async for chunk in attached.output()])[-4:]]
    other = await vm.start(["sleep", "60"])
    seen += [
        await failure(other.result),
        {**await failure(lambda: other.wait(deadline=0.2)), "attempts": None},
        await other.cancel(),
    ]
    return [*seen, (await other.wait()).state, await failure(vm.attach_run("missing").refresh)]


async def sessions_and_tunnels_in_blocks(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    async with vm.open_session(cwd="/tmp", env={"NAME": "value"}) as session:
        await session.run("export MORE=1; cd /")
        seen: list[object] = [session.cwd, (await session.run("echo $PWD $NAME $MORE")).stdout]
        run = await session.start("echo started")
        seen += [(await run.wait()).stdout, len(await vm.list_sessions())]
    seen += [len(await vm.list_sessions()), await failure(session.refresh)]
    await vm.run("mkdir www && echo page > www/index.html && cd www && (python3 -m http.server 8080 >/dev/null 2>&1 &)")
    await vm.run(
        "until python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8080))'; do sleep 0.05; done"
    )
    async with vm.tunnel(8080, auth_mode="authenticated") as tunnel:
        answer = await tunnel.request("GET", "/index.html")
        seen += [answer.status, answer.body, tunnel.state, sorted(tunnel.headers)]
    return [*seen, len(await vm.list_tunnels())]


async def lists(ar: AsyncArker) -> object:
    vms = [await ar.fork("ubuntu", name=f"vm-{number}") for number in range(5)]
    for number in range(3):
        await vms[0].run(f"exit {number}")
        await vms[0].create_session()
        await ar.create_filesystem(name=f"filesystem-{number}")
    seen: list[object] = [[vm.name async for vm in ar.iter_vms(page_size=2)]]
    seen += [[run.exit_code async for run in vms[0].iter_runs(page_size=2)]]
    seen += [[session.session_idx async for session in vms[0].iter_sessions(page_size=1)]]
    seen += [[filesystem.name async for filesystem in ar.iter_filesystems(page_size=2)]]
    page = await ar.list_vms(limit=3)
    seen += [[vm.name async for vm in ar.iter_vms(cursor=page.next_cursor)]]

    async def bad() -> None:
        async for _ in ar.iter_vms(cursor="no cursor"):
            pass

    return [*seen, await failure(bad)]


async def files_of_any_size(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    data = random.Random(1).randbytes(9_000_000)
    told: list[TransferProgress] = []
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory, "file")
        here.write_bytes(data)
        ways: list[dict[str, Any]] = [{}, {"strategy": "parts", "part_size": 4_000_000, "verify": "full"}]
        seen: list[object] = []
        ways += [{"strategy": "chunks"}, {"mode": 0o600}]
        for number, way in enumerate(ways):
            result = await vm.upload(here, f"/tmp/{number}", progress=told.append, **way)
            seen += [result.strategy, result.size, await vm.sync(f"/tmp/{number}") == data]
        seen += [told[0].done, told[-1].done, {each.operation for each in told}]
        seen += [(await vm.upload([b"piece by ", b"piece"], "/tmp/pieces")).size, await vm.sync("/tmp/pieces")]
        seen += [
            (await vm.download("/tmp/1", Path(directory, "back"))).size,
            Path(directory, "back").read_bytes() == data,
        ]
        buffer = io.BytesIO()
        await vm.download("/tmp/pieces", buffer)
        async with vm.open_read("/tmp/0") as stream:
            seen += [stream.size, await stream.read(10) == data[:10], stream.position]
            seen += [b"".join([chunk async for chunk in stream]) == data[10:]]
        seen += [buffer.getvalue(), sorted(each.name for each in Path(directory).iterdir())]
        seen += [await failure(lambda: vm.upload(here.with_name("missing"), "/tmp/x"))]
        seen += [await failure(lambda: vm.download("/tmp/missing", here.with_name("missing")))]
        pairs = [(f"{number}".encode(), f"many/{number}") for number in range(20)]
        outcomes = await vm.upload_many([*pairs, (b"", "/etc")], progress=told.append)
        seen += [[each.path for each in outcomes], [type(each.error).__name__ for each in outcomes[-2:]]]
        back = await vm.download_many([(path, Path(directory, path.partition("/")[2])) for _, path in pairs])
        seen += [[each.ok for each in back], Path(directory, "7").read_bytes()]
    return without(directory, seen)


async def directories(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory, "tree")
        for name in ("a/b/deep", "empty/", "text.txt", "skipped.log", "-odd name\n"):
            place = here / name
            (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                place.write_text(name)
        (here / "link").symlink_to("text.txt")
        planned = await vm.upload_dir(here, "/tmp/tree", ignore=["*.log"], dry_run=True)
        first = await vm.upload_dir(here, "/tmp/tree", ignore=["*.log"])
        (here / "text.txt").write_text("changed")
        second = await vm.upload_dir(here, "/tmp/tree", ignore=["*.log"], delete=True)
        back = await vm.download_dir("/tmp/tree", Path(directory, "back"))
        names = sorted(str(path.relative_to(directory)) for path in Path(directory, "back").rglob("*"))
        conflict = Path(directory, "conflict")
        (conflict / "text.txt" / "file").mkdir(parents=True)
        seen: list[object] = [str(planned), first.counts, str(second), back.counts, names]
        seen += [await failure(lambda: vm.download_dir("/tmp/tree", conflict))]
    return without(directory, seen)


async def fleets(ar: AsyncArker) -> object:
    told: list[FleetProgress] = []

    async def double(vm: AsyncVM, item: int) -> int:
        if item == 4:
            raise LookupError("no four")
        return 2 * int((await vm.run(["echo", str(item)])).stdout)

    async with ar.fork_many("ubuntu", 3, name_prefix="fleet", progress=told.append) as fleet:
        seen: list[object] = [len(fleet), [vm.name for vm in fleet], fleet.failures, fleet.vms[0] in fleet]
        outcomes = [outcome async for outcome in fleet.map(double, range(7), ordered=True, progress=told.append)]
        seen += [[(each.index, each.item, each.value, repr(each.error), each.tries) for each in outcomes]]
        seen += [all(each.vm in fleet for each in outcomes)]
        unordered = [outcome.value async for outcome in fleet.map(double, iter([1, 2, 3]))]
        seen += [sorted(map(str, unordered))]
        seen += [[each.unwrap().stdout_text for each in await fleet.run("echo hi")]]
        seen += [[each.unwrap().size for each in await fleet.upload(b"some", "/tmp/file")]]
        await fleet.vms[1].delete()
        again = [outcome async for outcome in fleet.map(double, range(6), ordered=True)]
        seen += [[each.value for each in again], len(fleet), [vm.vm_id for vm in fleet] == [vm.id for vm in fleet.vms]]
        async for _ in fleet.map(double, range(50)):
            break
    seen += [len(await ar.list_vms()), sorted({each.operation for each in told}), told[-1].done]
    seen += [await failure(ar.fork_many("missing", 1).__aenter__)]
    return [*seen, repr(fleet).partition(" ")[2]]


async def what_a_client_shows(ar: AsyncArker) -> object:
    return [ar.region, ar.provider, ar.burst_base_url == ar.base_url, ar.control_base_url == ar.base_url, ar.ledger]


async def a_client_that_is_closed(ar: AsyncArker) -> object:
    vm = await ar.fork("ubuntu")
    await ar.aclose()
    await ar.aclose()
    return [await failure(lambda: vm.run("true")), await failure(lambda: ar.fork("ubuntu")), "closed" in repr(ar)]


SCENARIOS: tuple[Scenario, ...] = (
    the_main_job,
    large_files,
    errors,
    a_command_that_fails,
    bounds,
    in_the_background,
    sessions,
    filesystems_and_tunnels,
    blocks,
    runs_that_are_held,
    sessions_and_tunnels_in_blocks,
    lists,
    files_of_any_size,
    directories,
    fleets,
    what_a_client_shows,
    a_client_that_is_closed,
)
