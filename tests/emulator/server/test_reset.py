"""A reset: nothing of what was is left, whatever is under way, and the server goes on as if it were new."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from arker.emulator import Emulator, EmulatorOptions
from arker.emulator.options import Isolation
from arker.errors import EmulatorError
from tests.emulator.sandbox.support import until
from tests.emulator.server.conftest import new_place
from tests.emulator.server.support import ISOLATION, OTHER_KEY, OTHER_ORG, Api, Reply, chunk
from tests.support.forked import ForkedEmulator
from tests.support.leftovers import below
from tests.support.length import times
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


class Server:
    """A server of these tests' own, what it keeps on disk and its processes."""

    def __init__(self, emulator: Emulator, place: Path, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        (self.state,) = place.iterdir()
        self.api = Api(session, emulator.url, emulator.api_key)
        self.other = Api(session, emulator.url, OTHER_KEY)
        assert emulator.pid is not None
        self.pid = emulator.pid
        self.before = below(self.pid)

    async def reset(self, key: str | None = None) -> Reply:
        headers = {"Authorization": f"Bearer {key or self.api.key}"}
        return await self.api.raw("POST", self.api.url + "/emulator/reset", headers=headers)

    def left(self) -> list[str]:
        """Return the files and directories of VMs, filesystems and uploads."""
        found = (path for name in ("vms", "volumes", "spool") for path in (self.state / name).iterdir())
        # The sandbox that tried the isolation may just be removed. It was never a VM's.
        return [str(path) for path in found if not path.name.startswith(".spare-")]

    async def require_nothing(self) -> None:
        assert self.left() == []
        assert below(self.pid) <= self.before  # the one that tried the isolation may just have ended
        for api in (self.api, self.other)[: 1 + len(self.emulator.options.organisations)]:
            assert await api.list_all("/v1/vms", "vms") == []
            assert await api.list_all("/v1/filesystems", "filesystems") == []


@pytest.fixture(scope="module", params=[ISOLATION, "none"])
def started(request: pytest.FixtureRequest) -> Iterator[tuple[Emulator, Path]]:
    """Run a server. Returns it with its state directory."""
    isolation: Isolation = request.param
    with new_place() as place:
        # What is kept ready for later VMs would be taken for what earlier ones have left.
        options = EmulatorOptions(
            isolation=isolation, state_parent=place, organisations={OTHER_ORG: OTHER_KEY}, spares=0
        )
        with ForkedEmulator(options) as emulator:
            yield emulator, place


@pytest.fixture
async def server(started: tuple[Emulator, Path]) -> AsyncIterator[Server]:
    emulator, place = started
    await emulator.areset()
    async with aiohttp.ClientSession() as session:
        yield Server(emulator, place, session)


async def filesystem(api: Api, name: str) -> str:
    reply = await api.call("POST", "/v1/filesystems", {"name": name})
    assert reply.status == 200, reply
    return str(reply.json["filesystem_id"])


async def test_everything_of_every_organisation_goes(server: Server) -> None:
    api, other = server.api, server.other
    vm = (await api.fork(name="mine", public=True))["vm_id"]
    theirs = (await other.fork(source_vm_id=vm, name="theirs"))["vm_id"]
    sync = {"filesystem_id": await filesystem(api, "data"), "path": "/mnt/data"}
    assert (await api.call("POST", f"/v1/vms/{vm}/syncs", sync)).status == 200
    body = {"command": "echo once; seq 20000"}
    first = (await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="k")).json["run_id"]
    await api.background(vm, "setsid sleep 600 & sleep 600")
    await other.background(theirs, "trap '' TERM INT HUP; sleep 600")
    tunnel = (await api.call("POST", f"/v1/vms/{vm}/tunnels", {"ports": [8000]})).json["url"]
    (half,) = await api.write(vm, chunk("half", secrets.token_bytes(600), size=1000, end=600))
    assert half["complete"] is False
    (presigned,) = await api.write(vm, {"path": "put", "size": 3, "presigned": True})
    assert (await api.raw("PUT", presigned["presigned_url"], data=b"abc")).status == 200
    # Two trees, one filesystem, two uploads and the first run's output.
    await until(lambda: len(server.left()) == 6)

    reply = await server.reset()
    assert (reply.status, reply.json) == (200, {"vms": 2, "filesystems": 1})
    assert (await api.get("/v1/runs"))["rows"] == []
    assert (await other.get("/v1/runs"))["rows"] == []
    await server.require_nothing()
    for path in ("", "/runs", "/tunnels", "/syncs"):
        assert (await api.call("GET", f"/v1/vms/{vm}{path}")).refusal == (404, "not_found")
    assert (await api.raw("PUT", presigned["presigned_url"], data=b"abc")).refusal == (404, "not_found")
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.raw("GET", tunnel)

    # Names and keys are free again.
    vm = (await api.fork(name="mine"))["vm_id"]
    await filesystem(api, "data")
    again = await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="k")
    assert again.json["run_id"] != first
    assert again.json["stdout"].startswith("once\n")


async def test_only_the_server_s_own_key_may(server: Server) -> None:
    vm = (await server.api.fork())["vm_id"]
    assert (await server.reset(OTHER_KEY)).refusal == (403, "forbidden")
    assert (await server.reset("some-wrong-key")).refusal == (401, "unauthorized")
    assert [each["vm_id"] for each in await server.api.list_all("/v1/vms", "vms")] == [vm]


async def test_what_is_under_way_ends_with_a_reason(server: Server) -> None:
    api = server.api
    vm = (await api.fork())["vm_id"]
    # A fork takes its time when it has something to copy.
    await api.run(vm, "mkdir many; cd many; for i in {1..1000}; do : > $i; done")
    session = (await api.call("POST", f"/v1/vms/{vm}/sessions", {})).json["session_id"]
    (presigned,) = await api.write(vm, {"path": "slow", "size": 2_000_000, "presigned": True})
    sent = asyncio.Event()

    async def trickle() -> AsyncIterator[bytes]:
        yield bytes(1_500_000)
        sent.set()
        await asyncio.sleep(600)

    async def put() -> int | None:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with api.session.put(
                presigned["presigned_url"], data=trickle(), headers={"Content-Length": "2000000"}
            ) as response:
                return response.status
        return None

    async def listed(number: int) -> str:
        """Wait until there have been so many runs. Returns the id of the latest."""
        while len(runs := await api.list_all(f"/v1/vms/{vm}/runs", "runs")) < number:
            await asyncio.sleep(0.01)
        return str(runs[0]["run_id"])

    begin = time.monotonic()
    runs = [asyncio.ensure_future(api.run(vm, "echo begun; trap '' TERM; sleep 600"))]
    await api.printed(vm, await listed(2), "begun")
    runs.append(asyncio.ensure_future(api.run(vm, "echo never")))  # waits in the queue behind it
    await listed(3)
    runs.append(asyncio.ensure_future(api.run(vm, "sleep 600", session_id=session)))
    await listed(4)
    upload = asyncio.ensure_future(put())
    await sent.wait()
    await until(lambda: len([path for path in server.left() if "/spool/" in path]) == 1)
    await until(lambda: len(below(server.pid)) > 4)
    # They are made one after the other, so that some are under way whenever the reset comes.
    fork = {"source_vm_id": vm, "disk": True}
    forks = [asyncio.ensure_future(api.call("POST", "/v1/fork", fork)) for _ in range(10)]
    await until(lambda: len(server.left()) > 2)
    reply = await server.reset()
    await server.require_nothing()
    ended = await asyncio.gather(*runs)
    assert {run["state"] for run in ended} == {"failed"}
    assert {run["fail_reason"] for run in ended} == {"the server was reset"}
    assert [run["stdout"] for run in ended] == ["begun\n", "", ""]
    answers = await asyncio.gather(*forks)
    refused = [answer for answer in answers if answer.status != 200]
    assert reply.json == {"vms": 1 + len(answers) - len(refused), "filesystems": 0}
    assert {answer.refusal for answer in refused} == {(503, "unavailable")}
    assert "reset" in refused[0].message
    assert await upload is None
    assert time.monotonic() - begin < 300


async def test_resets_while_many_are_at_work(server: Server) -> None:
    """Many tasks fork, run, upload and open tunnels; each has to cope with losing everything at any moment."""
    apis = (server.api, server.other)
    over = False
    worked = 0

    async def work(number: int) -> None:
        nonlocal worked
        rng = random.Random(number)
        api = apis[number % 2]
        while not over:
            reply = await api.call("POST", "/v1/fork", {"source_vm_name": "ubuntu", "disk": True})
            assert reply.status in {200, 202} or reply.refusal == (503, "unavailable"), reply
            if reply.status != 200:
                continue
            vm = f"/v1/vms/{reply.json['vm_id']}"
            steps: list[tuple[str, str, Any]] = [
                ("POST", f"{vm}/runs", {"command": "setsid sleep 600 & echo x"}),
                ("POST", f"{vm}/runs", {"command": "sleep 600", "background": True}),
                ("POST", f"{vm}/runs", {"command": "sleep 0.05; head -c 100000 /dev/zero"}),
                ("POST", f"{vm}/sync", {"op": "write", "writes": [chunk("a", bytes(5000), size=9000, end=5000)]}),
                ("POST", f"{vm}/sync", {"op": "write", "writes": [chunk("b", bytes(200_000))]}),
                ("POST", f"{vm}/tunnels", {"ports": [80]}),
                ("POST", "/v1/filesystems", {"name": secrets.token_hex(8)}),
                ("POST", "/v1/fork", {"source_vm_id": vm.rpartition("/")[2], "disk": True}),
                ("POST", f"{vm}/sessions", {"cwd": "/tmp"}),
                ("DELETE", vm, None),
            ]
            for method, path, body in rng.sample(steps, 3):
                reply = await api.call(method, path, body)
                assert reply.status == 200 or reply.status == 202 or reply.code in {"not_found", "unavailable"}, (
                    path,
                    reply,
                )
                worked += 1
                if over:
                    return

    tasks = [asyncio.ensure_future(work(number)) for number in range(times(24, suite=8))]
    rng = random.Random(1)
    removed = 0
    for _ in range(3):
        await asyncio.sleep(rng.uniform(0.05, 0.3))
        reply = await server.reset()
        assert reply.status == 200, reply
        removed += reply.json["vms"]
    over = True
    while (await asyncio.wait(tasks, timeout=0.1))[1]:  # a run may wait behind one that only a reset ends
        assert (await server.reset()).status == 200
    await asyncio.gather(*tasks)
    assert (await server.reset()).status == 200
    await server.require_nothing()
    assert removed > 0
    assert worked > 0
    assert (await server.reset()).json == {"vms": 0, "filesystems": 0}
    vm = (await server.api.fork())["vm_id"]
    assert (await server.api.run(vm, "echo well"))["stdout"] == "well\n"


THREADS = """
import threading, time
for _ in range(400):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("begun", flush=True)
time.sleep(600)
"""


async def test_programs_of_many_threads(server: Server) -> None:
    """The first thread of such a program has ended before the others have, and cannot be collected yet."""
    for _ in range(5):
        vm = (await server.api.fork())["vm_id"]
        await server.api.write(vm, chunk("threads.py", THREADS.encode()))
        await server.api.printed(vm, await server.api.background(vm, "exec python3 threads.py"), "begun")
    assert (await server.reset()).status == 200
    await server.require_nothing()


async def test_resets_at_the_same_time(server: Server) -> None:
    for _ in range(3):
        await server.api.fork()
    counts = [reply.json["vms"] for reply in await asyncio.gather(*[server.reset() for _ in range(4)])]
    assert sorted(counts) == [0, 0, 0, 3]
    await server.require_nothing()


async def test_the_methods(place: Path) -> None:
    emulator = ForkedEmulator(EmulatorOptions(isolation=ISOLATION, state_parent=place, spares=0))
    with pytest.raises(EmulatorError, match="not launched"):
        emulator.reset()
    async with emulator, aiohttp.ClientSession() as session:
        server = Server(emulator, place, session)
        await server.api.fork()
        emulator.reset()
        await server.require_nothing()
        vm = (await server.api.fork())["vm_id"]
        await server.api.background(vm, "sleep 600")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await emulator.areset()
        await server.require_nothing()
        fastest = math.inf
        give_up = time.perf_counter() + PATIENCE
        while fastest >= 0.5 and time.perf_counter() < give_up:
            begin = time.perf_counter()
            await emulator.areset()
            fastest = min(fastest, time.perf_counter() - begin)
        assert fastest < 0.5
    with pytest.raises(EmulatorError, match="closed"):
        await emulator.areset()


async def test_the_methods_say_when_the_server_has_died(place: Path) -> None:
    async with ForkedEmulator(EmulatorOptions(isolation=ISOLATION, state_parent=place, spares=0)) as emulator:
        assert emulator.pid is not None
        os.kill(emulator.pid, signal.SIGKILL)
        with pytest.raises(EmulatorError):
            await emulator.areset()
