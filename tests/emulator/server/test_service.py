"""The server within the test's own process, where its clock can be moved and its journal read."""

from __future__ import annotations

import gc
import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import anyio
import pytest

from arker.emulator._state import StateDir
from arker.emulator.options import EmulatorOptions
from arker.emulator.server.service import Service, base_url
from tests.emulator.server.support import ISOLATION, Api, chunk, output

pytestmark = pytest.mark.anyio

KEY = "key-of-the-test"
DAY = 24 * 3600.0


@pytest.fixture
def state_dir(place: Path) -> Iterator[Path]:
    state = StateDir(place)
    yield state.path
    state.remove()


@pytest.fixture
async def service(state_dir: Path) -> AsyncIterator[Service]:
    sock = socket.create_server(("127.0.0.1", 0))
    options = EmulatorOptions(isolation=ISOLATION, output_limit=100_000)
    service = Service(options, api_key=KEY, state_dir=state_dir, sock=sock)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # isolation is off, where it is
        await service.start()
    yield service
    await service.close()


@pytest.fixture
async def local(service: Service) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, base_url(service.origin), KEY)


async def test_a_key_lives_for_a_day_after_the_run_has_ended(service: Service, local: Api) -> None:
    vm = (await local.fork())["vm_id"]

    async def send(key: str) -> str:
        reply = await local.call("POST", f"/v1/vms/{vm}/runs", {"command": "true"}, idempotency_key=key)
        return str(reply.json["run_id"])

    run_id = await local.background(vm, "sleep 60")
    first = await local.call(
        "POST", f"/v1/vms/{vm}/runs", {"command": "sleep 60", "background": True}, idempotency_key="long"
    )
    service.clock.shift(2 * DAY)  # it waits in the queue: its time has not begun
    await local.call("DELETE", f"/v1/vms/{vm}/runs/{run_id}")
    again = await local.call(
        "POST", f"/v1/vms/{vm}/runs", {"command": "sleep 60", "background": True}, idempotency_key="long"
    )
    assert again.json["run_id"] == first.json["run_id"]
    await local.call("DELETE", f"/v1/vms/{vm}/runs/{first.json['run_id']}")

    one = await send("k")
    service.clock.shift(DAY - 60)
    assert await send("k") == one
    service.clock.shift(61)
    assert await send("k") != one


async def test_the_journal_counts_executions(service: Service, local: Api) -> None:
    vm = (await local.fork())["vm_id"]
    path = f"/v1/vms/{vm}/runs"
    replies = [await local.call("POST", path, {"command": "true"}, idempotency_key="k") for _ in range(3)]
    await local.run(vm, "false")
    journal = [(e.run_id, e.idempotency_key, e.command) for e in service.backend.journal.executions]
    assert journal[0] == (replies[2].json["run_id"], "k", "true")
    assert [entry[1:] for entry in journal] == [("k", "true"), (None, "false")]


async def test_presigned_urls_follow_the_clock(service: Service, local: Api) -> None:
    vm = (await local.fork())["vm_id"]
    await local.run(vm, "head -c 5000000 /dev/zero > big")
    url = (await local.read(vm, "big"))["presigned_url"]
    service.clock.shift(899)
    assert (await local.raw("GET", url)).status == 200
    service.clock.shift(2)
    assert (await local.raw("GET", url)).refusal == (403, "forbidden")


async def test_an_upload_that_was_begun_a_day_ago_is_forgotten(service: Service, local: Api, state_dir: Path) -> None:
    vm = (await local.fork())["vm_id"]
    entry = chunk("file", b"ab", size=4, end=2)
    await local.write(vm, entry)
    assert len(list((state_dir / "spool").iterdir())) == 1
    service.clock.shift(DAY + 1)
    (result,) = await local.write(vm, chunk("file", b"cd", size=4, start=2, upload_id=entry["upload_id"]))
    assert result["received_bytes"] == 2
    await local.delete(vm)
    assert list((state_dir / "spool").iterdir()) == []


async def test_output_beyond_the_limit_is_dropped_and_said(service: Service, local: Api) -> None:
    vm = (await local.fork())["vm_id"]
    reply = await local.run(vm, "head -c 150000 /dev/zero | tr '\\0' x")
    assert output(reply) == b"x" * 100_000
    assert (reply["state"], reply["exit_code"]) == ("completed", 0)
    assert "50000 bytes" in reply["fail_reason"]


async def test_large_outputs_of_the_past_are_kept_on_disk(service: Service, local: Api, state_dir: Path) -> None:
    vm = (await local.fork())["vm_id"]
    reply = await local.run(vm, "head -c 90000 /dev/zero | tr '\\0' x; head -c 80000 /dev/zero >&2")
    spool = state_dir / "spool"
    with anyio.fail_after(60):
        while len(list(spool.iterdir())) < 2:
            await anyio.sleep(0.01)
    run = await local.get_run(vm, reply["run_id"])
    assert (output(run), output(run, "stderr")) == (b"x" * 90_000, bytes(80_000))
    await local.delete(vm)
    gc.collect()
    assert list(spool.iterdir()) == []


async def test_runs_that_go_on_are_answered_when_the_server_ends(service: Service, local: Api) -> None:
    vm = (await local.fork())["vm_id"]
    states: list[str] = []

    async def run() -> None:
        states.append((await local.run(vm, "sleep 60"))["state"])

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        group.start_soon(run)  # waits in the queue, and must not start in a VM that has just been ended
        while len((await local.get(f"/v1/vms/{vm}/runs"))["runs"]) < 2:
            await anyio.sleep(0.01)
        while not service.backend.journal.executions:
            await anyio.sleep(0.01)
        await anyio.sleep(0.1)
        await service.close()
    assert states == ["failed", "failed"]
    assert len(service.backend.journal.executions) == 1
