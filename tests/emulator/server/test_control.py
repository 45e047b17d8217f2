"""The control endpoints and their Python side: who may, what is refused, what the clock says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from arker.emulator import Control, Emulator, EmulatorOptions
from arker.emulator.server.control import TABLE
from arker.errors import EmulatorError, InvalidArgumentError
from tests.emulator.server.support import ISOLATION, Api, control
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio

ROOT = str(Path(__file__).parents[3])
DAY = 24 * 3600.0


@pytest.fixture(autouse=True)
def nothing_set(emulator: Emulator) -> Iterator[None]:
    yield
    emulator.faults.clear()


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: f"{entry.method} {entry.path}")
async def test_the_backend_s_own_key_is_needed(api: Api, other: Api, entry: Any) -> None:
    url = f"{api.url}/emulator/{entry.path.replace('{fault_id}', 'fault_1')}"
    assert (await api.raw(entry.method, url)).refusal == (401, "unauthorized")
    wrong = {"Authorization": "Bearer some-wrong-key"}
    assert (await api.raw(entry.method, url, headers=wrong)).refusal == (401, "unauthorized")
    theirs = {"Authorization": f"Bearer {other.key}"}
    assert (await api.raw(entry.method, url, headers=theirs)).refusal == (403, "forbidden")


async def test_they_are_in_no_document(api: Api) -> None:
    assert "/emulator/" not in (await api.call("GET", "/openapi.json")).content.decode()


async def test_unknown_ones_are_not_found(api: Api) -> None:
    for method, path in (("GET", "nothing"), ("GET", "faults/fault_0")):
        assert (await control(api, method, path)).refusal == (404, "not_found")
    for method, path in (("PUT", "faults"), ("GET", "reset")):
        assert (await control(api, method, path)).refusal == (405, "method_not_allowed")


async def test_no_fault_and_no_journal_is_concerned_with_them(emulator: Emulator, api: Api, mark: int) -> None:
    with emulator.faults.error(times=None) as fault:
        assert (await control(api, "GET", "faults")).status == 200
        assert (await control(api, "GET", "requests")).status == 200
        assert (await control(api, "GET", "nothing")).status == 404
        assert fault.refresh().seen == 0
        assert (await api.raw("GET", api.url + "/v1/vms")).status == 503
        # Not even a request that looks like one of them.
        assert (await api.raw("GET", api.url + "/v1/emulator/faults")).status == 503
    assert [entry.path for entry in emulator.journal.requests(after=mark)] == ["/v1/vms", "/v1/emulator/faults"]
    rows = (await api.get("/v1/runs"))["rows"]
    assert not any("/emulator/" in row["path"] for row in rows)


# --- faults over HTTP ------------------------------------------------------------------------------------------------


async def test_a_fault_over_http(api: Api) -> None:
    reply = await control(api, "POST", "faults", {"action": "error", "operation": "list_vms", "status": 502})
    assert reply.status == 200
    fault = reply.json
    fault_id = fault["fault_id"]
    expected = {"action": "error", "operation": ["list_vms"], "status": 502, "times": 1, "skip": 0, "processed": False}
    assert fault == {"fault_id": fault_id, "seen": 0, "fired": 0, **expected}
    assert (await api.raw("GET", api.url + "/v1/vms")).refusal == (502, "unavailable")
    fault |= {"seen": 1, "fired": 1}
    assert (await control(api, "GET", "faults")).json == {"faults": [fault]}
    assert (await control(api, "GET", f"faults/{fault_id}")).json == fault
    assert (await control(api, "DELETE", f"faults/{fault_id}")).json == fault
    assert (await control(api, "DELETE", f"faults/{fault_id}")).refusal == (404, "not_found")
    assert (await control(api, "GET", "faults")).json == {"faults": []}
    for _ in range(3):
        await control(api, "POST", "faults", {"action": "stall", "share": 0.5, "operation": "resize"})
    listed = (await control(api, "GET", "faults")).json["faults"]
    assert all(isinstance(fault["seed"], int) for fault in listed)
    assert (await control(api, "DELETE", "faults")).json == {"removed": 3}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "explode"}, "action"),
        ({"action": "error", "operation": "walk"}, "operation"),
        ({"action": "error", "status": "503"}, "status"),
        ({"action": "error", "seconds": 1}, "seconds"),
        ({"action": "error", "times": 0}, "times"),
        ({"action": "error", "share": 2}, "share"),
        ({"action": "delay"}, "seconds"),
        ({"action": "close", "moment": "never"}, "moment"),
        ({"action": "throttle", "bytes_per_second": -1}, "bytes_per_second"),
        (b"[1]", "the body"),
        (b"{", "the body"),
    ],
)
async def test_bad_input_is_named_by_its_field(api: Api, body: Any, field: str) -> None:
    reply = await control(api, "POST", "faults", body)
    assert reply.refusal == (400, "bad_request")
    assert reply.message.startswith(field)
    assert (await control(api, "GET", "faults")).json == {"faults": []}


@pytest.mark.parametrize("name", ["requests", "executions", "forks"])
@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1.5", "after=", "limit=%2B1"])
async def test_bad_places_in_a_journal(api: Api, name: str, query: str) -> None:
    reply = await control(api, "GET", f"{name}?{query}")
    assert reply.refusal == (400, "bad_request")
    assert reply.message.startswith(query.partition("=")[0])


# --- the clock -------------------------------------------------------------------------------------------------------


async def test_the_clock_moves_forward_only(place: Path) -> None:
    async with ForkedEmulator(isolation="none", state_parent=place) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        assert emulator.clock.shifted() == 0
        assert abs(emulator.clock.now() - datetime.now(timezone.utc)) < timedelta(seconds=30)
        assert emulator.clock.shift(DAY) - datetime.now(timezone.utc) > timedelta(hours=23)
        emulator.clock.shift(0.5)
        assert emulator.clock.shifted() == DAY + 0.5
        reply = (await control(api, "GET", "clock")).json
        assert set(reply) == {"now", "shift"}
        assert (await control(api, "POST", "clock", {"shift": 1})).json["shift"] == DAY + 1.5
        for shift in (-1, None, "1", True, [1], 1e300, -0.001):
            refused = await control(api, "POST", "clock", {"shift": shift})
            assert refused.refusal == (400, "bad_request")
            assert refused.message.startswith("shift")
        for seconds in (-1.0, float("nan"), float("inf"), "1", True, None):
            wrong: Any = seconds
            with pytest.raises(InvalidArgumentError, match="seconds"):
                emulator.clock.shift(wrong)
        assert emulator.clock.shifted() == DAY + 1.5
        vm = (await api.fork())["vm_id"]
        created = (await api.get(f"/v1/vms/{vm}"))["created_at"]
        assert datetime.fromisoformat(created.replace("Z", "+00:00")) > datetime.now(timezone.utc) + timedelta(hours=23)
        emulator.reset()
        assert emulator.clock.shifted() == 0


async def test_urls_and_keys_expire_by_it(place: Path) -> None:
    async with ForkedEmulator(isolation="none", state_parent=place) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        vm = (await api.fork())["vm_id"]
        (entry,) = await api.write(vm, {"path": "file", "size": 3, "presigned": True})
        body = {"command": "true"}
        first = await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="key")
        emulator.clock.shift(890)
        assert (await api.raw("PUT", entry["presigned_url"], data=b"abc")).status == 200
        emulator.clock.shift(11)
        assert (await api.raw("PUT", entry["presigned_url"], data=b"abc")).refusal == (403, "forbidden")
        again = await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="key")
        assert again.json["run_id"] == first.json["run_id"]
        emulator.clock.shift(DAY)
        again = await api.call("POST", f"/v1/vms/{vm}/runs", body, idempotency_key="key")
        assert again.json["run_id"] != first.json["run_id"]
        assert len(emulator.journal.executions()) == 2


# --- the Python side -------------------------------------------------------------------------------------------------


async def test_a_fault_s_handle(emulator: Emulator, api: Api) -> None:
    with emulator.faults.error(operation="list_vms", times=2, status=500) as fault:
        assert repr(fault) == f"<Fault {fault.fault_id} error: seen 0, fired 0>"
        for status in (500, 500, 200):
            assert (await api.call("GET", "/v1/vms")).status == status
        assert (fault.seen, fault.fired, fault.active) == (0, 0, True)
        assert fault.refresh() is fault
        assert (fault.seen, fault.fired) == (3, 2)
        assert [other.fault_id for other in emulator.faults.list()] == [fault.fault_id]
        assert emulator.faults.list()[0].rule == fault.rule
        assert (await api.call("GET", "/v1/vms")).status == 200
    assert (fault.seen, fault.fired, fault.active) == (4, 2, False)
    assert "removed" in repr(fault)
    fault.remove()
    assert fault.refresh().seen == 4
    assert emulator.faults.list() == ()


async def test_a_fault_that_somebody_else_has_removed(emulator: Emulator, api: Api) -> None:
    with emulator.faults.error(operation="list_vms", share=1) as fault, emulator.faults.stall(operation="resize"):
        assert isinstance(fault.rule.seed, int)
        await api.raw("GET", api.url + "/v1/vms")
        fault.refresh()
        assert emulator.faults.clear() == 2
        assert fault.refresh().fired == 1
        assert fault.active is False


def test_bad_arguments_are_refused_before_anything_is_sent() -> None:
    nobody = Control("http://127.0.0.1:9/api", "a-key-of-nobody")
    calls: list[tuple[str, Any]] = [
        ("status", lambda: nobody.faults.error(status=99)),
        ("operation", lambda: nobody.faults.error(operation="walk")),  # type: ignore[arg-type]  # what is tried
        ("seconds", lambda: nobody.faults.delay(seconds=-1)),
        ("body", lambda: nobody.faults.garbage(body=5)),  # type: ignore[arg-type]  # what is tried
        ("moment", lambda: nobody.faults.close(moment="never")),  # type: ignore[arg-type]  # what is tried
        ("fraction", lambda: nobody.faults.truncate(fraction=1)),
        ("processed", lambda: nobody.faults.stall(processed=1)),  # type: ignore[arg-type]  # what is tried
        ("operation", lambda: nobody.faults.expire(operation="run")),  # type: ignore[arg-type]  # what is tried
        ("bytes_per_second", lambda: nobody.faults.throttle(bytes_per_second=0)),
        ("times", lambda: nobody.faults.error(times=2, share=0.5)),
        ("seed", lambda: nobody.faults.error(seed=2)),
    ]
    for argument, call in calls:
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        assert caught.value.argument == argument
    for call in (nobody.faults.error, nobody.faults.list, nobody.journal.requests, nobody.clock.now):
        with pytest.raises(EmulatorError, match="does not answer"):
            call()


@pytest.mark.parametrize(
    ("url", "key", "argument"),
    [
        ("127.0.0.1:80", "some-key", "url"),
        ("https://127.0.0.1/api", "some-key", "url"),
        ("http://user:pass@127.0.0.1/api", "some-key", "url"),
        ("http://127.0.0.1:99999/api", "some-key", "url"),
        (None, "some-key", "url"),
        ("http://127.0.0.1:80/api", "", "api_key"),
        ("http://127.0.0.1:80/api", "a b\r\n", "api_key"),
        ("http://127.0.0.1:80/api", None, "api_key"),
    ],
)
def test_what_a_control_takes(url: Any, key: Any, argument: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Control(url, key)
    assert caught.value.argument == argument
    assert "pass" not in str(caught.value)


async def test_a_wrong_key_is_an_error_that_does_not_tell_it(emulator: Emulator) -> None:
    wrong = Control(emulator.url, "some-wrong-key")
    with pytest.raises(EmulatorError, match="valid API key") as caught:
        wrong.faults.list()
    assert caught.value.status == 401
    assert "some-wrong-key" not in f"{caught.value!r} {wrong!r} {wrong.faults!r} {wrong.journal!r} {wrong.clock!r}"


async def test_the_end_of_the_backend_is_told(place: Path) -> None:
    options = EmulatorOptions(isolation=ISOLATION, state_parent=place)
    emulator = ForkedEmulator(options)
    with pytest.raises(EmulatorError, match="launched"):
        _ = emulator.faults
    with emulator:
        fault = emulator.faults.error()
        journal = emulator.journal
    for call in (fault.remove, fault.refresh, journal.requests, emulator.clock.now):
        with pytest.raises(EmulatorError, match="closed"):
            call()
    with pytest.raises(EmulatorError, match="closed"), fault:
        pass
    with pytest.raises(KeyError), fault:
        raise KeyError


async def test_a_backend_that_was_killed(place: Path) -> None:
    with ForkedEmulator(isolation="none", state_parent=place) as emulator:
        assert emulator._process is not None  # pyright: ignore[reportPrivateUsage]
        emulator._process.kill()  # pyright: ignore[reportPrivateUsage]
        emulator._process.wait()  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(EmulatorError, match="died"):
            emulator.journal.requests()


ELSEWHERE = """
import sys
from arker.emulator import Control
control = Control(sys.argv[1], sys.stdin.read())
fault = control.faults.error(operation="list_vms", message="from elsewhere")
print(fault.fault_id, control.clock.shifted(), len(control.journal.requests()) > 0)
"""


async def test_from_another_process(emulator: Emulator, api: Api) -> None:
    await api.raw("GET", api.url + "/v1/vms")
    done = subprocess.run(  # noqa: ASYNC221 - the server is a process of its own
        [sys.executable, "-c", ELSEWHERE, emulator.url],
        input=emulator.api_key,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    (fault,) = emulator.faults.list()
    assert done.stdout.split() == [fault.fault_id, "0.0", "True"]
    assert (await api.call("GET", "/v1/vms")).message == "from elsewhere"
