"""Runs, sessions and tunnels as objects, and lists item by item, on the embedded backend."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import aiohttp
import pytest

from arker import (
    AsyncArker,
    AsyncVM,
    BadCursorError,
    NetworkError,
    NotFoundError,
    OutputLine,
    RunFailedError,
    VMGoneError,
)
from arker.emulator import Emulator
from tests.support.forked import fork_backends
from tests.support.waiting import longer_and_longer

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs/runs.md"

EVERYTHING = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096); sys.stderr.buffer.write(b'e' * 100000)"

SERVER = b"""
import http.server

class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("X-Saw-Authorization", str("Authorization" in self.headers))
        self.end_headers()
        self.wfile.write(self.path.encode() + b" " + body)

server = http.server.HTTPServer(("127.0.0.1", 8080), Echo)
print("ready", flush=True)
server.serve_forever()
"""


async def test_lines_as_they_come(vm: AsyncVM) -> None:
    # It waits until it is told to go on, so what it has written by then is seen while it is going.
    run = await vm.start("echo one; echo why >&2; while [ ! -e /tmp/go ]; do sleep 0.02; done; printf end; exit 3")
    seen: list[OutputLine] = []
    async for line in run.lines():
        seen.append(line)
        if len(seen) == 2:
            assert not run.ended
            await vm.sync("/tmp/go", b"")
    assert sorted(seen[:2], key=lambda line: line.stream) == [OutputLine("stderr", "why"), OutputLine("stdout", "one")]
    assert seen[2:] == [OutputLine("stdout", "end", terminated=False)]
    assert (run.state, run.exit_code) == ("completed", 3)


async def test_output_under_lost_connections(emulator: Emulator, vm: AsyncVM) -> None:
    command = f'python3 -c "{EVERYTHING}"; sleep 0.4; python3 -c "{EVERYTHING}"'
    run = await vm.start(command)
    found = {"stdout": b"", "stderr": b""}
    chunks = run.output()
    with (
        emulator.faults.truncate(operation="get_run", share=0.2, seed=5),
        emulator.faults.close(operation=["get_run", "list_runs"], moment="after", reset=True, share=0.2, seed=6),
    ):
        whole = False
        while not whole:
            try:
                async for chunk in chunks:
                    found[chunk.stream] += chunk.data
                whole = True
            except NetworkError:
                pass  # the fourth attempt was lost, too; the iterator goes on where it was
    assert found == {"stdout": bytes(range(256)) * 8192, "stderr": b"e" * 200000}
    assert (run.state, run.exit_code, run.command) == ("completed", 0, command)


async def test_waiting_and_the_result(vm: AsyncVM) -> None:
    run = await vm.start("sleep 0.2; echo out; exit 7")
    result = await run.wait(deadline=60)
    assert (result.stdout, result.exit_code, result.state) == (b"out\n", 7, "completed")
    with pytest.raises(RunFailedError):
        await vm.attach_run(run.run_id).result(check=True)
    longer = longer_and_longer(0.2)
    while True:
        seconds = next(longer)
        failed = await (await vm.start("echo kept; sleep 600", timeout=seconds)).wait()
        if failed.stdout:
            break
    assert (failed.state, failed.stdout, failed.exit_code) == ("failed", b"kept\n", None)


async def test_cancelling_and_signals(vm: AsyncVM) -> None:
    run = await vm.start("echo early; sleep 300")
    async for line in run.lines():
        assert line.text == "early"
        assert (await run.cancel()).cancelled
    assert (run.state, run.exit_code) == ("cancelled", None)
    async with vm.open_session() as session:
        trap = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.02; done"
        run = await session.start(trap)
        texts: list[str] = []
        async for line in run.lines():
            texts.append(line.text)
            if line.text == "ready":
                await run.signal("INT")
    assert (texts, run.exit_code) == (["ready", "caught"], 5)


async def test_a_vm_that_is_deleted_meanwhile(vm: AsyncVM) -> None:
    reading, waiting = [await vm.start("echo here; sleep 300") for _ in range(2)]
    task = asyncio.create_task(waiting.wait())
    lines = reading.lines()
    assert (await lines.__anext__()).text == "here"
    await vm.delete()
    with pytest.raises(VMGoneError) as caught:
        await lines.__anext__()
    assert (caught.value.vm_id, caught.value.run_id) == (vm.id, reading.run_id)
    with pytest.raises(VMGoneError):
        await task


async def test_what_is_closed_after_its_vm_was_deleted(vm: AsyncVM) -> None:
    session = await vm.open_session().open()
    tunnel = await vm.tunnel(8080).open()
    terminal = await vm.terminal().open()
    run = await vm.start("cat", stdin=True)
    await vm.delete()
    for _ in range(2):
        assert (await session.close()).deleted
        assert (await tunnel.close()).deleted
        await terminal.close()
        await run.close_stdin()
    assert tunnel.state == "closed"


async def test_output_beyond_the_server_s_limit(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_backends(monkeypatch)
    async with AsyncArker.local(output_limit=1000) as ar, await ar.fork("ubuntu") as vm:
        run = await vm.start("head -c 5000 /dev/zero | tr '\\0' x")
        with caplog.at_level(logging.WARNING, "arker"):
            chunks = [chunk.data async for chunk in run.output()]
    assert b"".join(chunks) == b"x" * 1000
    assert "4000 bytes of output" in (run.fail_reason or "")
    assert "4000 bytes of output" in caplog.text


async def test_a_session(vm: AsyncVM) -> None:
    async with vm.open_session(cwd="/tmp", env={"COLOUR": "deep blue"}) as session:
        assert session.cwd == "/tmp"
        await session.run("cd /; export SHAPE=round")
        result = await session.run("pwd; echo $COLOUR $SHAPE", check=True)
        assert result.stdout_text.splitlines() == ["/", "deep blue round"]
        assert (await session.refresh()).cwd == "/"
        assert session.id in [each.session_id async for each in vm.iter_sessions()]
        left = await session.start("sleep 300")
    assert session.id not in [each.session_id async for each in vm.iter_sessions()]
    assert (await left.wait()).state == "cancelled"


@pytest.mark.needs("tunnels")
async def test_a_tunnel(vm: AsyncVM) -> None:
    await vm.sync("serve.py", SERVER)
    server = await vm.start("exec python3 serve.py")
    async for line in server.lines():
        assert line.text == "ready"
        break
    async with vm.tunnel(8080, auth_mode="authenticated", deadline=60) as tunnel:
        response = await tunnel.request("POST", "/path?x=1", body=b"body")
        assert (response.status, response.text) == (200, "/path?x=1 body")
        assert response.headers["X-Saw-Authorization"] == "False"  # it is the tunnel's business, not the program's
        async with aiohttp.ClientSession() as session, session.post(tunnel.url, data=b"body") as refused:
            assert refused.status == 401
        assert [each.tunnel_key async for each in vm.iter_tunnels()] == [tunnel.data and tunnel.data.tunnel_key]
    assert [each async for each in vm.iter_tunnels()] == []
    async with vm.tunnel(9999) as nothing:
        assert (await nothing.request("GET", "/")).status == 502


async def test_lists(emulator: Emulator, ar: AsyncArker, vm: AsyncVM) -> None:
    vms = [vm.id] + [(await ar.fork("ubuntu")).id for _ in range(4)]
    assert [each.id async for each in ar.iter_vms(page_size=2)] == vms[::-1]
    runs = [(await vm.run(f"echo {number}")).run_id for number in range(5)]
    assert [each.run_id async for each in vm.iter_runs(page_size=2, state="completed")] == runs[::-1]
    filesystems = [(await ar.create_filesystem(name=f"n-{number}")).filesystem_id for number in range(3)]
    assert [each.filesystem_id async for each in ar.iter_filesystems(page_size=1)] == filesystems[::-1]
    syncs = [(await vm.create_sync(filesystem_id=each, path=f"/{each}")).sync_id for each in filesystems]
    assert [each.sync_id async for each in vm.iter_syncs(page_size=2)] == syncs[::-1]
    rows = [row async for row in ar.iter_runs(page_size=4, endpoint="fork")]
    assert [row.vm_id for row in rows] == vms[::-1]
    everything = [row.request_id async for row in ar.iter_runs(page_size=7)]
    assert len(set(everything)) == len(everything) >= 20


async def test_a_list_that_is_taken_up_again(emulator: Emulator, ar: AsyncArker) -> None:
    vms = [(await ar.fork("ubuntu")).id for _ in range(5)]
    listed = ar.iter_vms(page_size=2)
    with emulator.faults.error(operation="list_vms", status=400, code="bad_request", skip=2):
        seen = [(await listed.__anext__()).id for _ in range(4)]
        with pytest.raises(BadCursorError) as caught:
            await listed.__anext__()
    assert seen == vms[:0:-1]
    rest = [vm.id async for vm in ar.iter_vms(page_size=2, cursor=caught.value.resume_cursor)]
    assert seen + rest[caught.value.items_of_page :] == vms[::-1]


async def test_handles_of_a_list_can_be_worked_with(ar: AsyncArker, vm: AsyncVM) -> None:
    async for each in ar.iter_vms():
        assert (await each.run("echo here")).stdout == b"here\n"
        await each.delete()
    with pytest.raises(NotFoundError):
        await vm.refresh()
