"""Runs."""

from __future__ import annotations

from typing import Any, Final

import anyio

from tests.generations.walks.registry import NOWHERE, walk
from tests.generations.wire import Wire
from tests.support.waiting import PATIENCE

_OF_BEFORE: Final[tuple[dict[str, Any], ...]] = (
    {"command": "true", "timeout": 0.5},
    {"command": "true", "vcpu_count": 2},
    {"command": "true", "memory_mib": 512},
    {"command": "true", "network": {}},
    {"command": "true", "acquire": "cpu"},
    {"command": "true", "release": "cpu"},
    {"signal": "INT"},
    {"signal": "SIGUSR1"},
)
"""What only generation 0.5 takes."""


@walk
async def create_run(wire: Wire, vm: str) -> None:
    runs = f"{vm}/runs"
    done = await wire.get("POST", runs, {"command": "echo out; echo err >&2; exit 3"}, key="one key")
    assert (done["stdout"], done["stderr"], done["exit_code"], done["state"]) == ("out\n", "err\n", 3, "completed")
    again = await wire.get("POST", runs, {"command": "echo out; echo err >&2; exit 3"}, key="one key")
    assert again["run_id"] == done["run_id"]
    await wire.refused("idempotency_conflict", "POST", runs, {"command": "echo other"}, key="one key")
    raw = await wire.get("POST", runs, {"command": "printf '\\377'", "timeout": 30, "end_symbol": "none"})
    assert (raw["stdout"], raw["stdout_encoding"]) == ("/w==", "base64")
    for fields in ({"time_to_background": 0}, {"background": True}, {"time_to_background": 0, "session_idx": 4}):
        begun = await wire.get("POST", runs, {"command": "sleep 0.1; echo late", **fields}, status=202)
        assert begun["state"] in {"running", "pending"}
        assert (await wire.ended(vm, begun["run_id"]))["stdout"] == "late\n"
    assert 4 in {each["session_idx"] for each in (await wire.get("GET", f"{vm}/sessions"))["sessions"]}
    nulls = dict.fromkeys(("session_id", "session_idx", "timeout", "time_to_background", "signal", "policies"))
    assert (await wire.get("POST", runs, {"command": "echo", **nulls, "queueing_timeout": 0}))["stdout"] == "\n"
    refused: tuple[dict[str, Any], ...] = (
        {"command": 5},
        {"command": "true", "timeout": -1},
        {"command": "true", "time_to_background": 301},
        {"command": "true", "time_to_background": 0, "background": True},
        {"command": "true", "env": {}},
        *(_OF_BEFORE if wire.closed else ()),
    )
    for wrong in refused:
        await wire.refused("bad_request", "POST", runs, wrong)
    if wire.closed:
        await wire.refused("bad_request", "POST", runs, {"command": "true"}, key="k" * 65)
    await wire.refused("not_found", "POST", runs, {"signal": "SIGINT"})
    assert await wire.refused("not_found", "POST", f"{NOWHERE}/runs", {"command": "true"}) == {"resource": "vm"}
    wrong_session = {"command": "true", "session_id": "none"}
    assert await wire.refused("not_found", "POST", runs, wrong_session) == {"resource": "session"}
    await wire.refused("forbidden", "POST", "/v1/vms/ubuntu/runs", {"command": "true"})
    if wire.closed:
        details = await wire.refused("payload_too_large", "POST", runs, {"command": "x" * (5 * 2**20)})
        assert details["maximum_bytes"] == 4 * 2**20
    await _signals(wire, vm)
    await _waiting(wire, vm)


async def _signals(wire: Wire, vm: str) -> None:
    # Once the line is there, a process is there that the signal ends; the session's shell outlives it.
    body: dict[str, Any] = {"command": "sh -c 'echo up; exec sleep 60'", "time_to_background": 0}
    begun = await wire.get("POST", f"{vm}/runs", body, status=202)
    with anyio.fail_after(PATIENCE):
        while "up" not in (await wire.get("GET", f"{vm}/runs/{begun['run_id']}"))["stdout"]:
            await anyio.sleep(0.02)
    told = await wire.get("POST", f"{vm}/runs", {"signal": "SIGTERM", "session_id": begun["session_id"]})
    assert "run_id" not in told
    run = await wire.ended(vm, begun["run_id"])
    assert (run["state"], run["exit_code"]) == ("completed", 143)
    body = {"command": "echo a; sleep 60", "timeout": 1, "time_to_background": 0}
    cut = await wire.get("POST", f"{vm}/runs", body, status=202)
    run = await wire.ended(vm, cut["run_id"])
    assert (run["stdout"], run["state"], run["exit_code"]) == ("a\n", "failed", None)


async def _waiting(wire: Wire, vm: str) -> None:
    """Let runs wait for the one before them in their session."""
    first = await wire.get("POST", f"{vm}/runs", {"command": "sleep 60", "time_to_background": 0}, status=202)
    second = await wire.get("POST", f"{vm}/runs", {"command": "echo 2", "time_to_background": 0}, status=202)
    assert second["state"] == "pending"
    assert (await wire.get("GET", f"{vm}/runs/{second['run_id']}"))["state"] == "pending"
    page = await wire.get("GET", f"{vm}/runs?state=pending")
    assert [each["run_id"] for each in page["runs"]] == [second["run_id"]]
    assert await wire.get("DELETE", f"{vm}/runs/{first['run_id']}") == {"cancelled": True}
    assert (await wire.ended(vm, second["run_id"]))["stdout"] == "2\n"


@walk
async def list_runs(wire: Wire, vm: str) -> None:
    for word in ("one", "two", "three"):
        await wire.get("POST", f"{vm}/runs", {"command": f"echo {word}"})
    page = await wire.get("GET", f"{vm}/runs?limit=2")
    assert [each["command"] for each in page["runs"]] == ["echo three", "echo two"]
    rest = await wire.get("GET", f"{vm}/runs?limit=2&cursor={page['next_cursor']}")
    assert [each["command"] for each in rest["runs"]] == ["echo one"]
    query = "state=completed&started_after=2020-01-01T00:00:00Z&completed_after=2020-01-01T00:00:00Z"
    assert len((await wire.get("GET", f"{vm}/runs?{query}"))["runs"]) == 3
    assert (await wire.get("GET", f"{vm}/runs?started_before=2020-01-01T00:00:00Z"))["runs"] == []
    for wrong in ("state=asleep", "limit=x", "cursor=x", "started_after=x"):
        await wire.refused("bad_request", "GET", f"{vm}/runs?{wrong}")
    await wire.refused("not_found", "GET", f"{NOWHERE}/runs")


@walk
async def get_run(wire: Wire, vm: str) -> None:
    done = await wire.get("POST", f"{vm}/runs", {"command": "exit 7"})
    run = await wire.get("GET", f"{vm}/runs/{done['run_id']}")
    assert (run["exit_code"], run["state"], run["command"]) == (7, "completed", "exit 7")
    assert await wire.refused("not_found", "GET", f"{vm}/runs/none") == {"resource": "run"}


@walk
async def cancel_run(wire: Wire, vm: str) -> None:
    begun = await wire.get("POST", f"{vm}/runs", {"command": "sleep 60", "time_to_background": 0}, status=202)
    assert await wire.get("DELETE", f"{vm}/runs/{begun['run_id']}") == {"cancelled": True}
    run = await wire.ended(vm, begun["run_id"])
    assert (run["state"], run["exit_code"]) == ("cancelled", None)
    assert await wire.get("DELETE", f"{vm}/runs/{begun['run_id']}") == {"cancelled": False}
    assert await wire.refused("not_found", "DELETE", f"{vm}/runs/none") == {"resource": "run"}
