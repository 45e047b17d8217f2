"""Where the machine has no room left: full disks, used-up descriptors. What was asked is refused by its reason."""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from arker.emulator import EmulatorOptions
from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.bubblewrap.provider import BubblewrapProvider
from arker.emulator.sandbox.pressure import lack, lack_in
from arker.emulator.server.errors import from_os, lacking
from arker.emulator.server.generation import Generation
from tests.emulator.sandbox.support import until
from tests.emulator.server.support import ISOLATION, Api, chunk
from tests.support.children import child
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

ROOT = str(Path(__file__).parents[3])
PRESSURE = (503, "capacity_unavailable")
DISK_FULL = "the server's disk is full: no space is left on it, or no inodes"

# Namespaces of their own, so that an ordinary user may mount something, too.
SMALL_DISK = """\
mount -t tmpfs -o size=8m,nr_inodes=1500,mode=711 none "$1" || exit 9
exec "$0" -m arker.emulator --isolation none --state-parent "$1"
"""


@pytest.fixture
def small_disk() -> Iterator[Any]:
    """Return the first line of a server whose state directory is on a disk of 8 MiB."""
    with tempfile.TemporaryDirectory() as place:
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, sys.executable, place]
        with child(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as server:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())
            server.terminate()


@pytest.fixture
async def small(small_disk: Any) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, small_disk["url"], small_disk["api_key"])


@pytest.mark.parametrize(
    "fill",
    [
        "head -c 100M /dev/zero > fill",
        "mkdir fill; cd fill; i=0; while echo > $i; do i=$((i + 1)); done",
    ],
    ids=["bytes", "inodes"],
)
async def test_a_full_disk(small: Api, fill: str) -> None:
    full, other = [(await small.fork())["vm_id"] for _ in range(2)]
    await small.write(other, chunk("kept", b"kept"))
    granted = (await small.write(other, {"path": "put", "size": 2_000_000, "presigned": True}))[0]
    await small.run(full, f"({fill}) 2>/dev/null; cp /bin/bash filling 2>/dev/null")
    # The others go on, as far as they need no room.
    run = await small.run(other, "head -c 300000 /dev/zero | wc -c; head -c 300000 /dev/zero")
    assert (run["exit_code"], len(run["stdout"])) == (0, 400_012)
    assert (await small.read(other, "kept"))["content"] == "kept"
    refused = [
        await small.call("POST", "/v1/fork", {"source_vm_id": other}),
        await small.raw("PUT", granted["presigned_url"], data=bytes(2_000_000)),
    ]
    if "mkdir" in fill:  # these need nothing but inodes
        refused.append(await small.call("POST", "/v1/fork", {"source_vm_name": "ubuntu"}))
        refused.append(await small.call("POST", "/v1/filesystems", {"name": "f"}))
    for reply in refused:
        assert reply.refusal == PRESSURE
        assert reply.message == DISK_FULL
    for size in (10, 1_000_000):
        (result,) = await small.write(other, chunk("kept", bytes(size)))
        error = result["error"]
        assert (error["code"], error["message"].partition(":")[0]) == ("unavailable", "ENOSPC")
    assert (await small.read(other, "kept"))["content"] == "kept"
    await small.delete(full)
    (result,) = await small.write(other, chunk("kept", bytes(1_000_000)))
    assert result["written"]
    assert (await small.run((await small.fork())["vm_id"], "echo hi"))["stdout"] == "hi\n"


def limit_with(pid: int, room: int) -> int:
    """Return the limit under which a process can open this many more descriptors."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = (number for number in itertools.count() if number not in used)
    return next(itertools.islice(free, room, None))


async def test_without_descriptors_vms_stay_alive_and_deletions_leave_nothing(place: Path) -> None:
    connector = aiohttp.TCPConnector(limit=1)  # the server could not accept another one
    options = EmulatorOptions(isolation=ISOLATION, state_parent=place, spares=0)
    async with ForkedEmulator(options) as emulator, aiohttp.ClientSession(connector=connector) as session:
        api, pid = Api(session, emulator.url, emulator.api_key), emulator.pid
        assert pid is not None
        kept, deleted = [(await api.fork())["vm_id"] for _ in range(2)]
        for vm in (kept, deleted):
            await api.write(vm, chunk("file", b"content"))
        assert await api.background(kept, "sleep 600")
        session_id = (await api.call("POST", f"/v1/vms/{kept}/sessions", {})).json["session_id"]
        before = len(os.listdir(f"/proc/{pid}/fd"))
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)

        async def refused(room: int, method: str, path: str, body: Any) -> None:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit_with(pid, room), hard))
            reply = await api.call(method, path, body)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            told = reply.json["results"][0]["error"] if "results" in reply.json else reply.json.get("error", reply.json)
            text = told["fail_reason"] if "fail_reason" in told else f"{told['code']}: {told['message']}"
            assert "the server has reached its limit of open files" in text

        at = f"/v1/vms/{kept}"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit_with(pid, 0), hard))
        fresh = (await api.fork())["vm_id"]  # it has no files before something needs them
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        await refused(0, "POST", f"/v1/vms/{fresh}/runs", {"command": "echo hi"})
        await api.delete(fresh)
        await refused(0, "POST", "/v1/fork", {"source_vm_id": kept})
        await refused(0, "POST", f"{at}/sync", {"op": "read", "path": "file"})
        await refused(0, "POST", f"{at}/sync", {"op": "write", "writes": [chunk("file", b"other")]})
        for room in (0, 1, 3, 5, 7):
            await refused(room, "POST", f"{at}/runs", {"command": "echo hi", "session_id": session_id})
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit_with(pid, 0), hard))
        await api.delete(deleted)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        (directory,) = place.iterdir()
        assert [path.name for path in (directory / "vms").iterdir()] == [kept]
        assert (await api.read(kept, "file"))["content"] == "content"
        assert (await api.run(kept, "echo hi", session_id=session_id))["stdout"] == "hi\n"
        assert [run["state"] for run in await api.list_all(f"{at}/runs", "runs")][-1] == "running"
        await until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before)


async def test_a_request_may_wait_for_resources(place: Path) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    options = EmulatorOptions(isolation=ISOLATION, state_parent=place)
    async with ForkedEmulator(options) as emulator, aiohttp.ClientSession(connector=connector) as session:
        api, pid = Api(session, emulator.url, emulator.api_key), emulator.pid
        assert pid is not None
        vm = (await api.fork())["vm_id"]
        await api.run(vm, "true")
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)

        async def later() -> None:
            await anyio.sleep(1)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))

        for path, body in (("/v1/fork", {"source_vm_id": vm}), (f"/v1/vms/{vm}/runs", {"command": "echo hi"})):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit_with(pid, 0), hard))
            async with anyio.create_task_group() as group:
                group.start_soon(later)
                reply = await api.call("POST", path, {**body, "queueing_timeout": 60})
                assert reply.status == 200, reply
                assert reply.json.get("stdout", "hi\n") == "hi\n"
        assert len(emulator.journal.executions()) == 2


async def test_a_body_with_a_content_encoding_is_refused_before_it_is_read(api: Api, vm: str) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    (granted,) = await api.write(vm, {"path": "f", "size": len(bomb), "presigned": True})
    reply = await api.raw("PUT", granted["presigned_url"], data=bomb, headers={"Content-Encoding": "gzip"})
    assert reply.refusal == (400, "bad_request")
    assert "Content-Encoding" in reply.message
    reply = await api.raw("PUT", granted["presigned_url"], data=bomb, headers={"Content-Encoding": "identity"})
    assert reply.status == 200


async def test_a_sparse_file_does_not_fill_the_server(place: Path) -> None:
    options = EmulatorOptions(isolation=ISOLATION, presigned=False, state_parent=place)
    async with ForkedEmulator(options) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        vm = (await api.fork())["vm_id"]
        await api.run(vm, "truncate -s 1T sparse")
        reply = await api.sync(vm, {"op": "read", "path": "sparse"})
        assert reply.refusal == (413, "payload_too_large")
        assert "1099511627776 bytes" in reply.message


# --- in detail ---


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN])
def test_what_is_lacking_has_a_name(number: int) -> None:
    error = OSError(number, os.strerror(number), "/some/where")
    reason = lack(error)
    assert reason is not None
    assert lack_in(f"cp: cannot create '/some/where': {os.strerror(number)}") == reason
    refusal = from_os(error, "it failed")
    assert (refusal.code, refusal.message) == ("capacity_unavailable", reason)


@pytest.mark.parametrize(
    ("operation", "code"), [("fork", "capacity_unavailable"), ("createSession", "unavailable"), (None, "unavailable")]
)
def test_what_generation_1_says_of_it_depends_on_the_operation(operation: str | None, code: str) -> None:
    said = Generation(name="1", window=1.0).error_body(
        lacking("no disk is left"), operation_id=operation, method="POST", request_id="r", now_ms=0
    )["error"]
    assert (said["code"], "details" in said) == (code, code == "capacity_unavailable")


def test_what_is_not_lacking() -> None:
    for error in (OSError(errno.EACCES, "no"), ValueError("x"), RuntimeError("x")):
        assert lack(error) is None
    assert lack(RuntimeError("can't start new thread")) is not None
    assert lack(MemoryError()) is not None
    assert lack_in("cp: Permission denied") is None
    assert "namespaces" in str(lack_in("bwrap: Creating new namespace failed: No space left on device"))


async def test_bubblewrap_is_not_blamed_for_a_full_disk(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: BubblewrapProvider) -> None:
        raise SandboxError("resource_pressure", DISK_FULL)

    monkeypatch.setattr(BubblewrapProvider, "try_out", full)
    with pytest.raises(SandboxError, match="disk is full"):
        await BubblewrapProvider.open(place)


async def test_a_full_disk_is_the_reason_why_a_server_does_not_start() -> None:
    program = SMALL_DISK.replace("nr_inodes=1500", "nr_inodes=5")
    with tempfile.TemporaryDirectory() as place:
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", program, sys.executable, place]
        done = await anyio.run_process(command, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr.decode()
