"""What a user's program looks like to a type checker: checked by `test_types.py`, never run."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

import aiohttp
import anyio
from typing_extensions import assert_type

from arker import (
    ApiError,
    ArkerError,
    AsyncArker,
    AsyncFleet,
    AsyncItems,
    AsyncReadStream,
    AsyncRun,
    AsyncSession,
    AsyncTunnel,
    AsyncVM,
    BackgroundRunResult,
    BadReplyError,
    CancelRunResponse,
    CompletedRunResult,
    DeleteVmResponse,
    DirectoryAction,
    DirectoryConflictError,
    DirectoryReport,
    FileOutcome,
    FleetOutcome,
    FleetProgress,
    HttpTimeouts,
    InvalidArgumentError,
    ListRunsResponse,
    ListVmsResponse,
    NetworkPolicy,
    NetworkPolicyAllow,
    NetworkPolicyBlock,
    NetworkPolicyBlocked,
    NetworkPolicyOpen,
    NetworkPolicyUnknown,
    NetworkRequest,
    OrgRunListRow,
    OutputChunk,
    Pending,
    RetryPolicy,
    Run,
    RunFailedError,
    RunResult,
    RunState,
    RunSummary,
    Session,
    TransferResult,
    Tunnel,
    TunnelRequest,
    TunnelResponse,
    Vm,
    VmState,
)
from arker.progress import TransferBar


async def clients(session: aiohttp.ClientSession) -> None:
    AsyncArker()
    AsyncArker("key", region="us-west-2", provider="aws-burst")
    AsyncArker(base_url="https://h", retry=False)
    AsyncArker(retry={"attempts": 2, "base_delay": 0.5})
    AsyncArker(
        api_key="key",
        burst_base_url=None,
        control_base_url="https://c",
        retry=RetryPolicy(attempts=2),
        timeout=HttpTimeouts(connect=None),
        max_connections=10,
        session=session,
    )
    async with AsyncArker() as ar:
        assert_type(ar, AsyncArker)
        assert_type(ar.base_url, str | None)
        assert_type(ar.burst_base_url, str | None)
        assert_type(ar.control_base_url, str)
        assert_type(ar.region, str | None)
    async with AsyncArker.local(retry=False, isolation="none") as ar:
        assert_type(ar, AsyncArker)


async def vms(ar: AsyncArker) -> None:
    assert_type(ar.vm("id"), AsyncVM)
    assert_type(await ar.get_vm("id", deadline=5), AsyncVM)
    assert_type(await ar.find_vm("name", deadline=5), AsyncVM)
    vm = await ar.fork("ubuntu")
    assert_type(vm, AsyncVM)
    assert_type(await ar.fork(vm), AsyncVM)
    assert_type(await ar.fork(source_vm_id="id", network=False), AsyncVM)
    await ar.fork("ubuntu", network=NetworkPolicyAllow(("h",)), tunnel=TunnelRequest(ports=[80]))
    await ar.fork("ubuntu", network={"type": "block", "block": ["h"]}, tunnel={"ports": [80]})
    assert_type(await vm.fork(name="child"), AsyncVM)
    assert_type(await vm.refresh(), AsyncVM)
    assert_type(await vm.delete(), DeleteVmResponse)
    async with vm as same:
        assert_type(same, AsyncVM)
        same.keep()
    assert_type(vm.id, str)
    assert_type(vm.data, Vm | None)
    assert_type(vm.name, str | None)
    assert_type(vm.public, bool | None)
    assert_type(vm.state, VmState | str | None)
    assert_type(vm.vcpu_count, int | None)
    assert_type(vm.network, NetworkPolicy | None)
    assert_type(vm.sessions, tuple[Session, ...] | None)
    assert_type(vm.tunnels, tuple[Tunnel, ...] | None)


def policies(policy: NetworkPolicy) -> tuple[str, ...]:
    if isinstance(policy, NetworkPolicyAllow):
        assert_type(policy.allow, tuple[str, ...])
        return policy.allow
    if isinstance(policy, NetworkPolicyBlock):
        return policy.block
    assert_type(policy, NetworkPolicyOpen | NetworkPolicyBlocked | NetworkPolicyUnknown)
    return ()


async def pages(ar: AsyncArker, vm: AsyncVM) -> None:
    page = await ar.list_vms(limit=5, state=["idle", "running"])
    assert_type(page, ListVmsResponse)
    assert_type(page[0], Vm)
    assert_type(page.next_cursor, str | None)
    assert_type([each for each in page], list[Vm])  # noqa: C416 - iteration is what is checked
    runs = await vm.list_runs(state="failed")
    assert_type(runs, ListRunsResponse)
    assert_type(runs[0], RunSummary)
    assert_type(len(runs), int)


async def runs(vm: AsyncVM, wait: bool, words: Sequence[str]) -> None:
    completed = await vm.run("echo hi")
    assert_type(completed, CompletedRunResult)
    assert_type(completed.stdout, bytes)
    assert_type(completed.stdout_text, str)
    assert_type(completed.exit_code, int | None)
    assert_type(completed.run_id, str | None)
    assert_type(completed.state, RunState | str)
    assert_type(await vm.run(["echo", "hi"], background=False, check=True), CompletedRunResult)
    assert_type(await vm.run(words), CompletedRunResult)
    heard: list[str] = []
    given = await vm.run("cat", env={"A": "1"}, cwd="/usr", input=b"x", on_stdout=heard.append, on_stderr=sys.stderr)
    assert_type(given, CompletedRunResult)
    assert_type(await vm.run("cat", input=Path("file"), on_stdout=io.BytesIO(), on_cancel="kill"), CompletedRunResult)
    assert_type(await vm.run("cat", cwd="/usr", background=True), BackgroundRunResult)
    writable = await vm.start("cat", stdin=True)
    await writable.write("x")
    await writable.write(b"x")
    await writable.close_stdin()
    background = await vm.run("sleep 9", background=True)
    assert_type(background, BackgroundRunResult)
    assert_type(background.tunnels, tuple[Tunnel, ...])
    either = await vm.run("x", background=not wait)
    assert_type(either, RunResult)
    if either.type == "completed":
        assert_type(either, CompletedRunResult)
    else:
        assert_type(either, BackgroundRunResult)
    await vm.run("x", acquire=["cpu", "disk"], release="memory", network={"inbound": {"ports": {"80": {}}}})
    await vm.run("x", network=NetworkRequest(), timeout=5, deadline=10.5, idempotency_key="k")
    run = await vm.get_run(background.run_id)
    assert_type(run, Run)
    assert_type(run.exit_code, int | None)
    assert_type(run.stdout, bytes)
    assert_type(await vm.cancel_run("r"), CancelRunResponse)


async def held(ar: AsyncArker, vm: AsyncVM) -> None:
    run = await vm.start(["make"], timeout=60, network={"inbound": {"ports": {"80": {}}}})
    assert_type(run, AsyncRun)
    assert_type(vm.attach_run("r"), AsyncRun)
    assert_type(run.state, RunState | str | None)
    assert_type(run.tunnels, tuple[Tunnel, ...])
    async for chunk in run.output(max_delay=5):
        assert_type(chunk, OutputChunk)
        assert_type(chunk.data, bytes)
        assert_type(chunk.stream, Literal["stdout", "stderr"])
    assert_type([line.text async for line in run.lines()], list[str])
    assert_type(await run.wait(check=True, deadline=5), CompletedRunResult)
    assert_type(await run.result(), CompletedRunResult)
    assert_type(await run.cancel(), CancelRunResponse)
    async with vm.open_session(cwd="/srv", env={"A": "b"}) as session:
        assert_type(session, AsyncSession)
        assert_type(await session.run("x", check=True), CompletedRunResult)
        assert_type(await session.start("x"), AsyncRun)
        assert_type(session.cwd, str | None)
    async with vm.tunnel(8080, auth_mode="authenticated") as tunnel:
        assert_type(tunnel, AsyncTunnel)
        assert_type(tunnel.url, str)
        response = await tunnel.request("GET", "/", headers={"A": "b"})
        assert_type(response, TunnelResponse)
        assert_type(response.headers["a"], str)
    assert_type([each async for each in ar.iter_vms(state="idle")], list[AsyncVM])
    assert_type([each async for each in ar.iter_runs(lite=True)], list[OrgRunListRow])
    assert_type([each async for each in vm.iter_runs(page_size=9)], list[RunSummary])
    assert_type([each async for each in vm.iter_sessions()], list[Session])


async def files(vm: AsyncVM) -> None:
    assert_type(await vm.sync("/f"), bytes)
    assert_type(await vm.sync(PurePosixPath("/f"), deadline=5), bytes)
    for data in (b"x", bytearray(b"x"), memoryview(b"x")):
        # What is written has no result: a checker refuses to use it.
        await vm.sync("/f", data)


async def fleets(ar: AsyncArker, vm: AsyncVM, lines: AsyncIterator[str]) -> None:
    async def count(vm: AsyncVM, line: str) -> int:
        return len((await vm.run(line)).stdout)

    def tell(progress: FleetProgress) -> None:
        assert_type(progress.total, int | None)

    async with ar.fork_many("ubuntu", 200, at_least=150, max_concurrency=50, progress=tell) as fleet:
        assert_type(fleet, AsyncFleet)
        assert_type(fleet.vms, tuple[AsyncVM, ...])
        assert_type([each for each in fleet], list[AsyncVM])  # noqa: C416 - iteration is what is checked
        assert_type(len(fleet), int)
        assert_type(fleet.failures, tuple[ArkerError, ...])
        async for outcome in fleet.map(count, ["echo", "ls"], ordered=True, retries=0, item_deadline=5):
            assert_type(outcome, FleetOutcome[AsyncVM, str, int])
            assert_type(outcome.vm, AsyncVM)
            assert_type(outcome.item, str)
            assert_type(outcome.value, int | None)
            assert_type(outcome.error, Exception | None)
            assert_type(outcome.unwrap(), int)
        assert_type([each.unwrap() async for each in fleet.map(count, lines)], list[int])
        async with fleet.map(count, lines) as outcomes:
            assert_type(outcomes, AsyncItems[FleetOutcome[AsyncVM, str, int]])
            anything: AsyncItems[object] = outcomes
            await anything.aclose()
            assert_type((await anext(outcomes)).unwrap(), int)
        async with aclosing(fleet.map(count, lines)) as outcomes, aclosing(ar.iter_vms()) as found:
            assert_type(outcomes, AsyncItems[FleetOutcome[AsyncVM, str, int]])
            assert_type(await anext(found, None), AsyncVM | None)
        for ran in await fleet.run(["echo", "hi"], check=True):
            assert_type(ran.unwrap(), CompletedRunResult)
        for moved in await fleet.upload(b"x", "/f", mode=0o644):
            assert_type(moved.unwrap(), TransferResult)
    async with ar.fork_many(vm, 2, name_prefix="x", network=False, replace=False, deadline=5):
        pass


async def errors(vm: AsyncVM) -> str:
    try:
        await vm.run("x", check=True)
    except RunFailedError as error:
        assert_type(error.stdout, bytes)
        assert_type(error.stderr_text, str)
        assert_type(error.result, CompletedRunResult)
        assert_type(error.exit_code, int | None)
    except BadReplyError as error:
        assert_type(error.path, str)
    except ApiError as error:
        assert_type(error.status, int)
        assert_type(error.retry_after, float | None)
        return error.code
    except InvalidArgumentError as error:
        assert_type(error.argument, str)
        assert_type(error.value, object)
    except ArkerError as error:
        assert_type(error.attempts, int)
        assert_type(error.idempotency_key, str | None)
        return error.outcome
    return ""


async def directories(vm: AsyncVM) -> None:
    with TransferBar(max_lines=3) as bar:
        assert_type(bar, TransferBar)
        up = await vm.upload_dir(Path("here"), "there", ignore=("*.pyc",), ignore_file=".gitignore", progress=bar)
        down = await vm.download_dir(PurePosixPath("there"), "here", symlinks="all", delete=True, progress=print)
    assert_type(up, DirectoryReport)
    assert_type(down.entries[0].action, DirectoryAction)
    assert_type(down.failures[0].error, ArkerError | None)
    down.raise_for_failures()
    down.failures[0].raise_for_error()
    try:
        await vm.upload_dir("here", "there")
    except DirectoryConflictError as error:
        assert_type(error.plan, DirectoryReport)


async def transfers(vm: AsyncVM, paths: list[Path], file: BinaryIO, pieces: AsyncIterator[bytes]) -> None:
    for source in (b"x", bytearray(b"x"), memoryview(b"x"), "/f", Path("/f"), file, io.BytesIO(), pieces):
        assert_type(await vm.upload(source, "/f", progress=print), TransferResult)
    await vm.upload("f", PurePosixPath("/f"), strategy="parts", verify="full", mode=0o755, concurrency=4)
    for target in ("f", Path("f"), file, io.BytesIO()):
        assert_type(await vm.download("/f", target), TransferResult)
    async with vm.open_read("/f") as stream:
        assert_type(stream, AsyncReadStream)
        assert_type(await stream.read(5), bytes)
        async for chunk in stream:
            assert_type(chunk, bytes)
    outcomes = await vm.upload_many((path, f"/in/{path.name}") for path in paths)
    assert_type(outcomes, list[FileOutcome])
    assert_type(outcomes[0].error, ArkerError | None)
    await vm.download_many([(PurePosixPath("/f"), path) for path in paths])


async def forks_are_awaited_or_entered(ar: AsyncArker) -> None:
    pending = ar.fork("ubuntu")
    assert_type(pending, Pending[AsyncVM])
    assert_type(await pending, AsyncVM)
    async with ar.fork("ubuntu", network=False) as vm, vm.fork() as other, vm.snapshot("name") as kept:
        assert_type(vm, AsyncVM)
        assert_type((other, kept), tuple[AsyncVM, AsyncVM])
    first, second = await asyncio.gather(ar.fork("ubuntu"), ar.get_vm("id"))
    assert_type((first, second), tuple[AsyncVM, AsyncVM])
    task = asyncio.create_task(ar.find_vm("name"))
    assert_type(await task, AsyncVM)
    async with anyio.create_task_group() as group:
        group.start_soon(ar.fork, "ubuntu")
