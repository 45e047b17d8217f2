"""Sessions."""

from __future__ import annotations

from tests.generations.walks.registry import NOWHERE, walk
from tests.generations.wire import Wire


@walk
async def list_sessions(wire: Wire, vm: str) -> None:
    await wire.get("POST", f"{vm}/sessions", {})
    page = await wire.get("GET", f"{vm}/sessions?limit=1&state=idle")
    rest = await wire.get("GET", f"{vm}/sessions?limit=1&state=idle,pending&cursor={page['next_cursor']}")
    assert {page["sessions"][0]["session_idx"], rest["sessions"][0]["session_idx"]} == {0, 1}
    await wire.refused("bad_request", "GET", f"{vm}/sessions?state=asleep")
    await wire.refused("not_found", "GET", f"{NOWHERE}/sessions")


@walk
async def create_session(wire: Wire, vm: str) -> None:
    made = await wire.get("POST", f"{vm}/sessions", {"env": {"A": "b"}, "cwd": "/tmp"})
    assert made["cwd"] == "/tmp"
    done = await wire.get("POST", f"{vm}/runs", {"command": "echo $A $PWD", "session_id": made["session_id"]})
    assert done["stdout"] == "b /tmp\n"
    await wire.get("POST", f"{vm}/sessions", {"env": None, "cwd": None, "pty": False})
    for wrong in ({"env": {"A": 1}}, {"cwd": 5}, {"cols": 0}, {"name": "x"}):
        await wire.refused("bad_request", "POST", f"{vm}/sessions", wrong)
    await wire.refused("not_found", "POST", f"{NOWHERE}/sessions", {})


@walk
async def get_session(wire: Wire, vm: str) -> None:
    (session,) = (await wire.get("GET", f"{vm}/sessions"))["sessions"]
    assert (await wire.get("GET", f"{vm}/sessions/{session['session_id']}"))["session_idx"] == 0
    assert await wire.refused("not_found", "GET", f"{vm}/sessions/none") == {"resource": "session"}


@walk
async def patch_session(wire: Wire, vm: str) -> None:
    (session,) = (await wire.get("GET", f"{vm}/sessions"))["sessions"]
    await wire.refused("bad_request", "PATCH", f"{vm}/sessions/{session['session_id']}", {"cwd": "/tmp"})
    await wire.refused("not_found", "PATCH", f"{vm}/sessions/none", {"timeout_secs": 5})
    made = await wire.get("POST", f"{vm}/sessions", {"pty": True, "cols": 80, "rows": 24, "command": "/bin/cat"})
    place = f"{vm}/sessions/{made['session_id']}"
    assert (await wire.get("PATCH", place, {"cols": 90, "timeout_secs": 60}))["session_id"] == made["session_id"]


@walk
async def delete_session(wire: Wire, vm: str) -> None:
    made = await wire.get("POST", f"{vm}/sessions", {})
    body = {"command": "sleep 60", "time_to_background": 0, "session_id": made["session_id"]}
    begun = await wire.get("POST", f"{vm}/runs", body, status=202)
    assert await wire.get("DELETE", f"{vm}/sessions/{made['session_id']}") == {"deleted": True}
    assert (await wire.ended(vm, begun["run_id"]))["state"] == "cancelled"
    assert await wire.refused("not_found", "DELETE", f"{vm}/sessions/{made['session_id']}") == {"resource": "session"}
    # The default session is one like any other; an index that has no session makes one.
    (default,) = (await wire.get("GET", f"{vm}/sessions"))["sessions"]
    assert await wire.get("DELETE", f"{vm}/sessions/{default['session_id']}") == {"deleted": True}
    after = await wire.get("POST", f"{vm}/runs", {"command": "true"})
    assert after["session_id"] != default["session_id"]
    assert (await wire.get("GET", f"{vm}/sessions/{after['session_id']}"))["session_idx"] == 0


@walk
async def attach_session_pty(wire: Wire, vm: str) -> None:
    (session,) = (await wire.get("GET", f"{vm}/sessions"))["sessions"]
    await wire.refused("bad_request", "GET", f"{vm}/sessions/{session['session_id']}/pty?cols=80&rows=24&persist=True")
    await wire.refused("bad_request", "GET", f"{vm}/sessions/{session['session_id']}/pty?cols=1001")
    await wire.refused("not_found", "GET", f"{NOWHERE}/sessions/none/pty")


@walk
async def mint_session_pty_ticket(wire: Wire, vm: str) -> None:
    (session,) = (await wire.get("GET", f"{vm}/sessions"))["sessions"]
    made = await wire.get("POST", f"{vm}/sessions/{session['session_id']}/pty-ticket", {})
    assert made["expires_in"] > 0
    await wire.refused("bad_request", "POST", f"{vm}/sessions/{session['session_id']}/pty-ticket", {"cols": 5})
    await wire.refused("not_found", "POST", f"{NOWHERE}/sessions/none/pty-ticket", {})
