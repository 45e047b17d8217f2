"""What faults do, as it is seen on the wire and in the journal."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import attrs
import pytest

from arker.emulator import Emulator, EmulatorOptions, Fault
from arker.emulator._state import StateDir
from arker.emulator.control.channel import Controlled
from arker.emulator.control.entries import Execution, RequestEntry
from arker.emulator.control.rules import GARBAGE, CloseRule, DelayRule, Moment, StallRule
from arker.emulator.server import service as service_module
from arker.emulator.server.service import Service, base_url
from tests.emulator.sandbox.support import until
from tests.emulator.server.support import Api
from tests.emulator.server.wire import Wire, connected
from tests.support.forked import ForkedEmulator
from tests.support.waiting import PATIENCE, longer_and_longer

pytestmark = pytest.mark.anyio

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


class Log:
    """What the server has noted since the test began."""

    def __init__(self, emulator: Controlled) -> None:
        self._journal = emulator.journal
        self._requests = max([entry.seq for entry in self._journal.requests()], default=0)
        self._executions = max([entry.seq for entry in self._journal.executions()], default=0)

    def requests(self, operation: str = "run") -> list[RequestEntry]:
        return [entry for entry in self._journal.requests(after=self._requests) if entry.operation == operation]

    def only(self, operation: str = "run") -> RequestEntry:
        (entry,) = self.requests(operation)
        return entry

    def executions(self) -> tuple[Execution, ...]:
        return self._journal.executions(after=self._executions)

    async def come_to(self, number: int) -> None:
        """Wait until there have been so many commands, and requests for them."""
        await until(lambda: len(self.executions()) == len(self.requests()) == number)


async def has_fired(fault: Fault) -> None:
    """Wait until a fault has fired."""
    await until(lambda: fault.refresh().fired == 1)


@pytest.fixture
def log(emulator: Emulator, vm: str) -> Iterator[Log]:
    """Request the VM first, so that its creation is not in the log."""
    assert emulator.faults.list() == ()
    yield Log(emulator)
    emulator.faults.clear()


async def send_run(wire: Wire, vm: str, command: str = "echo hi", **fields: Any) -> None:
    await wire.send("POST", f"/v1/vms/{vm}/runs", {"command": command, **fields})


async def works(wire: Wire, vm: str) -> None:
    """Check that the connection still works."""
    await send_run(wire, vm)
    reply = await wire.reply()
    assert (reply.status, reply.json["stdout"]) == (200, "hi\n")


def target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


async def put_url(api: Api, vm: str, size: int) -> tuple[str, dict[str, Any]]:
    """Return where to put a file, and the entry that then commits it."""
    (entry,) = await api.write(vm, {"path": "file", "size": size, "presigned": True})
    commit = {"path": "file", "size": size, "upload_id": entry["upload_id"]}
    return str(entry["presigned_url"]), commit


async def get_url(api: Api, vm: str, size: int) -> str:
    await api.run(vm, f"head -c {size} /dev/zero | tr '\\0' x > file")
    return str((await api.read(vm, "file"))["presigned_url"])


# --- errors ----------------------------------------------------------------------------------------------------------


async def test_an_error_instead_of_the_reply(emulator: Emulator, vm: str, log: Log) -> None:
    with emulator.faults.error(operation="run") as fault:
        async with connected(emulator) as wire:
            await send_run(wire, vm)
            reply = await wire.reply()
            assert reply.status == 503
            error = reply.json["error"]
            assert (error["code"], error["message"]) == ("unavailable", "a fault was set for this request")
            assert reply.headers["content-type"].startswith("application/json")
            assert "retry-after" not in reply.headers
            assert log.executions() == ()
            entry = log.only()
            assert (entry.status, entry.processed, entry.vm_id, entry.run_id) == (503, False, vm, None)
            assert (entry.fault_id, entry.fault_ids) == (fault.fault_id, (fault.fault_id,))
            assert entry.request_id == reply.headers["x-request-id"]
            await works(wire, vm)
    assert (fault.seen, fault.fired) == (2, 1)
    assert len(log.executions()) == 1


@pytest.mark.parametrize(
    ("fields", "status", "code", "retry_after"),
    [
        ({"status": 429, "retry_after": 3}, 429, "rate_limited", "3"),
        ({"status": 503, "retry_after": 0.25}, 503, "unavailable", "0.25"),
        ({"status": 502, "retry_after": DATE}, 502, "unavailable", DATE),
        ({"status": 500, "code": "strange"}, 500, "strange", None),
        ({"status": 200, "code": "internal"}, 200, "internal", None),
        ({"status": 404}, 404, "not_found", None),
    ],
)
async def test_what_an_error_says(
    emulator: Emulator,
    vm: str,
    log: Log,
    fields: dict[str, Any],
    status: int,
    code: str,
    retry_after: str | None,
) -> None:
    emulator.faults.error(operation="run", message="slow", **fields)
    async with connected(emulator) as wire:
        await send_run(wire, vm)
        reply = await wire.reply()
        error = reply.json["error"]
        assert (reply.status, reply.headers.get("retry-after")) == (status, retry_after)
        assert (error["code"], error["message"]) == (code, "slow")
        await works(wire, vm)
    assert log.requests()[0].status == status


async def test_an_error_after_all_was_done(emulator: Emulator, vm: str, log: Log) -> None:
    emulator.faults.error(operation="run", processed=True)
    async with connected(emulator) as wire:
        await send_run(wire, vm)
        assert (await wire.reply()).status == 503
        entry, (execution,) = log.only(), log.executions()
        assert (entry.status, entry.processed, entry.run_id) == (503, True, execution.run_id)
        await works(wire, vm)


async def test_also_without_a_key_and_of_paths_that_there_are_not(emulator: Emulator, vm: str, log: Log) -> None:
    with emulator.faults.error(path="/v1/nothing", status=418), emulator.faults.error(method="GET", status=502):
        async with connected(emulator) as wire:
            await wire.send_raw("POST", "/api/v1/nothing")
            assert (await wire.reply()).status == 418
            await wire.send_raw("GET", "/somewhere")
            assert (await wire.reply()).status == 502
    assert vm not in repr(log.requests(""))


# --- delays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processed", [False, True])
async def test_a_delay_before_or_after(emulator: Emulator, vm: str, log: Log, processed: bool) -> None:
    emulator.faults.delay(operation="run", seconds=0.4, processed=processed)
    async with connected(emulator) as wire:
        start = time.monotonic()
        await works(wire, vm)
        assert time.monotonic() - start >= 0.39
    entry, (execution,) = log.only(), log.executions()
    assert (entry.status, entry.processed) == (200, True)
    assert entry.total_ms >= 390
    if processed:
        assert execution.t_ms <= entry.t_ms + entry.total_ms - 390
    else:
        assert execution.t_ms >= entry.t_ms + 390


async def test_delays_add_up_and_go_with_an_error(emulator: Emulator, vm: str, log: Log) -> None:
    faults = [
        emulator.faults.delay(operation="run", seconds=0.2),
        emulator.faults.error(operation="run"),
        emulator.faults.delay(operation="run", seconds=0.2, processed=True),
    ]
    async with connected(emulator) as wire:
        start = time.monotonic()
        await send_run(wire, vm)
        assert (await wire.reply()).status == 503
        assert time.monotonic() - start >= 0.39
    entry = log.only()
    assert entry.fault_id == faults[1].fault_id
    assert entry.fault_ids == tuple(fault.fault_id for fault in faults)
    assert log.executions() == ()


async def test_a_request_is_carried_out_though_its_client_has_gone(emulator: Emulator, vm: str, log: Log) -> None:
    number, longer = 0, longer_and_longer(0.3)
    while True:
        number, seconds = number + 1, next(longer)
        fault = emulator.faults.delay(operation="run", seconds=seconds)
        begin = time.monotonic()
        async with connected(emulator) as wire:
            await send_run(wire, vm)
            await has_fired(fault)
        gone_in_time = time.monotonic() - begin < seconds
        await log.come_to(number)
        if gone_in_time:
            break
    assert (log.requests()[-1].status, log.requests()[-1].processed) == (0, True)


async def test_what_is_delayed_is_not_carried_out_after_a_reset(emulator: Emulator, log: Log) -> None:
    longer = longer_and_longer(0.5)
    while True:
        seconds = next(longer)
        delay = emulator.faults.delay(operation="fork", seconds=seconds)
        begin = time.monotonic()
        async with connected(emulator) as stays:
            await stays.send("POST", "/v1/fork", {"source_vm_name": "ubuntu"})
            await has_fired(delay)
            again = emulator.faults.delay(operation="fork", seconds=seconds)
            async with connected(emulator) as goes:
                await goes.send("POST", "/v1/fork", {"source_vm_name": "ubuntu"})
                await has_fired(again)
            emulator.reset()
            reset_in_time = time.monotonic() - begin < seconds
            reply = await stays.reply()
        if reset_in_time:
            break
    assert (reply.status, reply.json["error"]["code"]) == (503, "unavailable")
    async with connected(emulator) as wire:
        emulator.faults.delay(operation="list_vms", seconds=seconds)  # ends after that of the client that has gone
        await wire.send("GET", "/v1/vms")
        assert (await wire.reply()).json["vms"] == []
    assert emulator.journal.forks() == ()


# --- garbage ---------------------------------------------------------------------------------------------------------


async def test_garbage(emulator: Emulator, vm: str, log: Log) -> None:
    emulator.faults.garbage(operation="run")
    emulator.faults.garbage(operation="run", body="{'a'", status=504, processed=False)
    async with connected(emulator) as wire:
        await send_run(wire, vm)
        reply = await wire.reply()
        assert (reply.status, reply.body.decode()) == (200, GARBAGE)
        assert reply.headers["content-type"].startswith("text/html")
        assert len(log.executions()) == 1
        await send_run(wire, vm)
        reply = await wire.reply()
        assert (reply.status, reply.body) == (504, b"{'a'")
        assert len(log.executions()) == 1
        await works(wire, vm)
    assert [(entry.status, entry.processed) for entry in log.requests()] == [(200, True), (504, False), (200, True)]


async def test_garbage_keeps_an_error_s_status(emulator: Emulator, vm: str, log: Log) -> None:
    emulator.faults.garbage(operation="run")
    async with connected(emulator) as wire:
        await wire.send("POST", f"/v1/vms/{vm}/runs", {"command": 5})
        reply = await wire.reply()
        assert (reply.status, reply.body.decode()) == (400, GARBAGE)
    assert log.executions() == ()


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_garbage_instead_of_what_passes_piece_by_piece(emulator: Emulator, vm: str, log: Log, size: int) -> None:
    emulator.faults.garbage(operation="run", body="x")
    async with connected(emulator) as wire:
        await send_run(wire, vm, f"head -c {size} /dev/zero")
        assert (await wire.reply()).body == b"x"
        await works(wire, vm)
    assert len(log.executions()) == 2


# --- the end of a connection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("moment", ["before", "during", "after"])
async def test_the_end_without_a_reply(emulator: Emulator, vm: str, log: Log, moment: Moment, reset: bool) -> None:
    fault = emulator.faults.close(operation="run", moment=moment, reset=reset, skip=1)
    async with connected(emulator) as wire:
        await works(wire, vm)
        await send_run(wire, vm, "sleep 0.2; echo done > file")
        assert await wire.end() == (b"", "reset" if reset else "fin")
    _, entry = log.requests()
    assert (entry.status, entry.fault_id, entry.vm_id) == (0, fault.fault_id, vm)
    assert entry.processed is (moment != "before")
    if moment == "before":
        assert len(log.executions()) == 1
        assert entry.run_id is None
        return
    await until(lambda: len(log.executions()) == 2)
    assert log.requests()[1].run_id == log.executions()[1].run_id


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_work_goes_on_after_the_end(emulator: Emulator, api: Api, vm: str, log: Log, size: int) -> None:
    emulator.faults.close(operation="run", moment="during", seconds=0.1)
    async with connected(emulator) as wire:
        start = time.monotonic()
        await send_run(wire, vm, f"sleep 0.5; head -c {size} /dev/zero | tr '\\0' x")
        assert await wire.end() == (b"", "fin")
        assert time.monotonic() - start >= 0.09
    run_id = log.only().run_id
    assert run_id is not None
    run = await api.ended(vm, run_id)
    assert (run["state"], len(run["stdout"])) == ("completed", size)


async def test_the_end_comes_when_the_work_is_done_if_that_is_sooner(emulator: Emulator, vm: str, log: Log) -> None:
    emulator.faults.close(operation="run", moment="during", seconds=60)
    async with connected(emulator) as wire:
        await send_run(wire, vm)
        assert await wire.end() == (b"", "fin")
    assert log.only().run_id == log.executions()[0].run_id


@pytest.mark.parametrize("reset", [False, True])
async def test_the_end_amid_an_upload(emulator: Emulator, api: Api, vm: str, log: Log, reset: bool) -> None:
    url, commit = await put_url(api, vm, 1000)
    emulator.faults.close(operation="presigned_put", reset=reset)
    async with connected(emulator) as wire:
        await wire.send_raw("PUT", target(url), b"x" * 400, size=1000)
        assert await wire.end() == (b"", "reset" if reset else "fin")
    entry = log.only("presigned_put")
    assert (entry.status, entry.processed, entry.vm_id, entry.path) == (0, False, vm, f"/presigned/{vm}")
    assert "error" in (await api.write(vm, commit))[0]
    assert (await api.raw("PUT", url, data=b"y" * 1000)).status == 200
    assert "error" not in (await api.write(vm, commit))[0]


# --- what is cut short -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.999])
@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_reply_that_is_cut_short(emulator: Emulator, vm: str, log: Log, fraction: float, size: int) -> None:
    emulator.faults.truncate(operation="run", fraction=fraction)
    async with connected(emulator) as wire:
        await send_run(wire, vm, f"head -c {size} /dev/zero | tr '\\0' x")
        head = await wire.head()
        whole = int(head.headers["content-length"])
        assert head.status == 200
        assert whole > size
        assert head.headers["content-type"] == "application/json"
        body, end = await wire.end()
    assert (len(body), end) == (int(whole * fraction), "fin")
    assert body == b"" or body.startswith(b"{")
    entry = log.only()
    assert (entry.status, entry.processed, entry.request_id) == (200, True, head.headers["x-request-id"])
    assert len(log.executions()) == 1


async def test_a_download_that_is_cut_short(emulator: Emulator, api: Api, vm: str, log: Log) -> None:
    url = await get_url(api, vm, 5_000_000)
    emulator.faults.truncate(operation="presigned_get", fraction=0.3)
    async with connected(emulator) as wire:
        await wire.send_raw("GET", target(url))
        assert (await wire.head()).headers["content-length"] == "5000000"
        body, end = await wire.end()
        assert (body, end) == (b"x" * 1_500_000, "fin")
    assert (log.only("presigned_get").status, log.only("presigned_get").processed) == (200, True)


async def test_an_upload_that_is_cut_short(emulator: Emulator, api: Api, vm: str, log: Log) -> None:
    url, commit = await put_url(api, vm, 1000)
    emulator.faults.truncate(operation="presigned_put", fraction=0.5)
    async with connected(emulator) as wire:
        # Half of it is enough for the end to come.
        await wire.send_raw("PUT", target(url), b"x" * 500, size=1000)
        assert await wire.end() == (b"", "fin")
    assert log.only("presigned_put").status == 0
    assert "error" in (await api.write(vm, commit))[0]


async def test_an_error_is_cut_short_like_any_reply(emulator: Emulator, vm: str, log: Log) -> None:
    emulator.faults.truncate(operation="run")
    async with connected(emulator) as wire:
        await wire.send("POST", f"/v1/vms/{vm}/runs", {"command": 5})
        head = await wire.head()
        body, end = await wire.end()
    assert (head.status, len(body), end) == (400, int(head.headers["content-length"]) // 2, "fin")
    assert log.only().status == 400


# --- silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processed", [False, True])
async def test_silence(emulator: Emulator, vm: str, log: Log, processed: bool) -> None:
    fault = emulator.faults.stall(operation="run", processed=processed)
    async with connected(emulator) as wire:
        await send_run(wire, vm)
        await until(lambda: len(log.requests()) == 1)
        entry = log.only()
        assert (entry.status, entry.processed, entry.fault_id) == (0, processed, fault.fault_id)
        assert len(log.executions()) == processed
        assert await wire.silent(0.3)


async def test_silence_amid_an_upload_ends_with_the_client(emulator: Emulator, api: Api, vm: str, log: Log) -> None:
    url, _ = await put_url(api, vm, 50_000_000)
    emulator.faults.stall(operation="presigned_put")
    async with connected(emulator) as wire:
        await wire.send_raw("PUT", target(url), b"x" * 1_000_000, size=50_000_000)
        await until(lambda: len(log.requests("presigned_put")) == 1)
        assert await wire.silent(0.1)


@attrs.frozen
class Here:
    """A server in the test's own process, as a connection to it sees it."""

    url: str
    api_key: str


@pytest.mark.filterwarnings("ignore::arker.emulator.sandbox.plain.UnprotectedWarning")
async def test_silence_does_not_hold_up_the_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "_REQUEST_PATIENCE", 600.0)  # it would wait as long as that
    options = EmulatorOptions(isolation="none")
    state = StateDir(place)
    service = Service(options, api_key="a-key", state_dir=state.path, sock=socket.create_server(("127.0.0.1", 0)))
    await service.start()
    here = Here(base_url(service.origin), "a-key")
    rules = (
        StallRule(operation="list_vms"),
        DelayRule(operation="list_filesystems", seconds=600),
        CloseRule(operation="presigned_put"),
    )
    faults = [service.backend.faults.add(rule) for rule in rules]
    async with connected(here) as one, connected(here) as two, connected(here) as three:
        await one.send("GET", "/v1/vms")
        await two.send("GET", "/v1/filesystems")
        await three.send_raw("PUT", "/presigned/some", b"x", size=1000)  # the rest never comes
        await until(lambda: all(fault.fired == 1 for fault in faults))
        with anyio.fail_after(PATIENCE):
            await service.close()
        assert (await one.end())[0] == b""
    state.remove()


# --- presigned URLs --------------------------------------------------------------------------------------------------


async def test_expired_urls(emulator: Emulator, api: Api, vm: str, log: Log) -> None:
    url, _ = await put_url(api, vm, 3)
    with emulator.faults.expire(times=None) as fault:
        for method in ("PUT", "GET"):
            reply = await api.raw(method, url, data=b"abc" if method == "PUT" else None)
            assert (reply.refusal, reply.message) == ((403, "forbidden"), "this presigned URL has expired")
        assert (await api.call("GET", "/v1/vms")).status == 200
    assert (fault.seen, fault.fired) == (2, 2)
    assert (await api.raw("PUT", url, data=b"abc")).status == 200
    assert [entry.processed for entry in log.requests("presigned_put")] == [False, True]


async def test_an_expired_url_is_answered_as_the_fault_does(emulator: Emulator, api: Api, place: Any) -> None:
    del emulator, api
    async with ForkedEmulator(isolation="none", state_parent=place) as emulator, connected(emulator) as wire:
        await wire.send("POST", "/v1/fork", {"source_vm_name": "ubuntu"})
        vm = (await wire.reply()).json["vm_id"]
        entry = {"path": "file", "size": 3, "presigned": True}
        await wire.send("POST", f"/v1/vms/{vm}/sync", {"op": "write", "writes": [entry]})
        path = target((await wire.reply()).json["results"][0]["presigned_url"])
        emulator.faults.expire()
        await wire.send_raw("PUT", path, b"abc")
        pretended = await wire.reply()
        emulator.clock.shift(901)
        await wire.send_raw("PUT", path, b"abc")
        real = await wire.reply()
        said = [
            (reply.status, reply.json["error"]["code"], reply.json["error"]["message"]) for reply in (pretended, real)
        ]
        assert said == [(403, "forbidden", "this presigned URL has expired")] * 2


async def test_a_slow_download_never_runs_ahead(emulator: Emulator, api: Api, vm: str, log: Log) -> None:
    size, rate = 5_000_000, 8_000_000
    url = await get_url(api, vm, size)
    emulator.faults.throttle(operation="presigned_get", bytes_per_second=rate)
    async with connected(emulator) as wire:
        start = time.monotonic()
        await wire.send_raw("GET", target(url))
        await wire.head()
        count = steps = 0
        while count < size:
            count += len(await wire.some())
            steps += 1
            # At most a twentieth of a second's worth early.
            assert count <= rate * (time.monotonic() - start + 0.05) + 1
        elapsed = time.monotonic() - start
    assert elapsed >= size / rate * 0.97
    assert elapsed < size / rate * 100
    assert steps >= 20
    assert log.only("presigned_get").status == 200


async def test_a_slow_upload(emulator: Emulator, api: Api, vm: str, log: Log) -> None:
    size, rate = 3_000_000, 4_000_000
    url, commit = await put_url(api, vm, size)
    emulator.faults.throttle(operation="presigned_put", bytes_per_second=rate)
    start = time.monotonic()
    assert (await api.raw("PUT", url, data=b"z" * size)).status == 200
    elapsed = time.monotonic() - start
    assert elapsed >= size / rate * 0.97
    assert elapsed < size / rate * 100
    assert "error" not in (await api.write(vm, commit))[0]
    assert (await api.run(vm, "tr -d z < file | wc -c; wc -c < file"))["stdout"] == f"0\n{size}\n"
    assert log.only("presigned_put").status == 200


async def test_slow_and_cut_short(emulator: Emulator, api: Api, vm: str, log: Log) -> None:
    url = await get_url(api, vm, 5_000_000)
    emulator.faults.throttle(bytes_per_second=4_000_000)
    emulator.faults.truncate(operation="presigned_get", fraction=0.1)
    async with connected(emulator) as wire:
        start = time.monotonic()
        await wire.send_raw("GET", target(url))
        await wire.head()
        body, end = await wire.end()
        assert (len(body), end) == (500_000, "fin")
        assert time.monotonic() - start >= 0.12
    assert len(log.only("presigned_get").fault_ids) == 2


# --- several at once -------------------------------------------------------------------------------------------------


async def test_draws_repeat_themselves(emulator: Emulator, vm: str, log: Log) -> None:
    patterns: list[list[int]] = []
    for seed in (3, 3, 4):
        with emulator.faults.error(operation="get_vm", share=0.5, seed=seed):
            async with connected(emulator) as wire:
                pattern: list[int] = []
                for _ in range(30):
                    await wire.send("GET", f"/v1/vms/{vm}")
                    pattern.append((await wire.reply()).status)
        patterns.append(pattern)
    assert patterns[0] == patterns[1] != patterns[2]
    assert {status for pattern in patterns for status in pattern} == {200, 503}
    assert [entry.status for entry in log.requests("get_vm")] == [status for pattern in patterns for status in pattern]


async def test_many_requests_each_meet_their_own_fault(emulator: Emulator, vm: str, log: Log) -> None:
    emulator.faults.close(operation="get_vm", times=10)
    emulator.faults.truncate(operation="get_vm", times=10, fraction=0)
    emulator.faults.error(operation="get_vm", times=10)
    outcomes: list[str] = []

    async def ask() -> None:
        async with connected(emulator) as wire:
            await wire.send("GET", f"/v1/vms/{vm}")
            data = await wire.some()
            head, _, body = data.partition(b"\r\n\r\n")
            outcomes.append("closed" if not head else head.split()[1].decode() + (" " if body else " cut"))
            if body:
                json.loads(body)

    async with anyio.create_task_group() as group:
        for _ in range(40):
            group.start_soon(ask)
    assert sorted(outcomes) == sorted(["closed"] * 10 + ["200 cut"] * 10 + ["503 "] * 10 + ["200 "] * 10)
    assert sorted(entry.status for entry in log.requests("get_vm")) == [0] * 10 + [200] * 20 + [503] * 10
