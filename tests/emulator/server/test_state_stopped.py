"""Runs of durable VMs that were to end when the server was killed: the next one does not run them again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import aiohttp
import anyio
import pytest

from arker.emulator._state import StateDir
from arker.emulator.server.records import VmRecord
from arker.emulator.server.service import Service, base_url
from tests.emulator.server.kept import DATABASE, options, running
from tests.emulator.server.support import Api, output
from tests.support.forked import ForkedEmulator

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["INT", "TERM", "QUIT", "ABRT"])
async def test_a_run_that_was_sent_a_signal(state: Path, name: str) -> None:
    async with running(state, kill=True) as api:
        vm = (await api.fork(durable=True))["vm_id"]
        going = await api.background(vm, f"trap '' {name}; echo begun >> log; echo begun; sleep 600; sleep 600")
        await api.printed(vm, going, "begun")
        reply = await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "", "signal": f"SIG{name}"})
        assert reply.status == 200
        assert (await api.get_run(vm, going))["state"] == "running"
    async with running(state) as api:
        run = await api.get_run(vm, going)
        assert (run["state"], run["retry_count"]) == ("failed", 0)
        assert run["fail_reason"].endswith(f"ended while the command was running, to which SIG{name} had been sent")
        assert output(await api.run(vm, "cat log")) == b"begun\n"


async def test_a_run_that_was_killed_by_a_signal(state: Path) -> None:
    """It has ended or is ended, whichever the server that is killed has still recorded."""
    async with running(state, kill=True) as api:
        vm = (await api.fork(durable=True))["vm_id"]
        going = await api.background(vm, "echo begun >> log; echo begun; sleep 600")
        await api.printed(vm, going, "begun")
        reply = await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "", "signal": "SIGKILL"})
        assert reply.status == 200
    async with running(state) as api:
        run = await api.get_run(vm, going)
        assert run["state"] in {"completed", "failed"}
        assert (run["exit_code"], run["retry_count"]) == (137 if run["state"] == "completed" else None, 0)
        assert output(await api.run(vm, "cat log")) == b"begun\n"


async def test_a_run_that_was_told_to_reload_is_run_again(state: Path) -> None:
    async with running(state, kill=True) as api:
        vm = (await api.fork(durable=True))["vm_id"]
        going = await api.background(vm, "trap '' HUP; echo begun >> log; echo begun; sleep 600")
        await api.printed(vm, going, "begun")
        reply = await api.call("POST", f"/v1/vms/{vm}/runs", {"command": "", "signal": "SIGHUP"})
        assert reply.status == 200
    async with running(state) as api:
        await api.printed(vm, going, "begun")
        run = await api.get_run(vm, going)
        assert (run["state"], run["retry_count"]) == ("running", 1)
        session = await api.call("POST", f"/v1/vms/{vm}/sessions", {})
        again = await api.run(vm, "cat log", session_id=session.json["session_id"])
        assert output(again) == b"begun\nbegun\n"


@pytest.mark.parametrize("kill", [False, True])
async def test_a_run_that_was_being_cancelled(state: Path, kill: bool) -> None:
    # A spare sandbox that is stopped amid its start would not end with the server.
    async with ForkedEmulator(options(state, spares=0)) as emulator, aiohttp.ClientSession() as session:
        api = Api(session, emulator.url, emulator.api_key)
        vm = (await api.fork(durable=True))["vm_id"]
        going = await api.background(vm, "echo begun >> log; echo begun; sleep 600")
        await api.printed(vm, going, "begun")
        assert emulator.pid is not None
        processes = descendants(emulator.pid)
        assert processes
        signalled(processes, signal.SIGSTOP)  # so that nothing in the VM can be killed by its agent
        cancelling = asyncio.ensure_future(api.call("DELETE", f"/v1/vms/{vm}/runs/{going}"))
        with anyio.fail_after(60):
            while not is_to_end(state, going):
                await asyncio.sleep(0.02)
        if kill:
            os.kill(emulator.pid, signal.SIGKILL)
        else:
            signalled(processes, signal.SIGCONT)
        await asyncio.gather(cancelling, return_exceptions=True)
    async with running(state) as api:
        run = await api.get_run(vm, going)
        assert (run["state"], run["retry_count"]) == ("cancelled", 0)
        assert output(await api.run(vm, "cat log")) == b"begun\n"


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def signalled(processes: list[int], number: signal.Signals) -> None:
    for each in processes:
        with suppress(ProcessLookupError):
            os.kill(each, number)


def is_to_end(state: Path, run_id: str) -> bool:
    """Return whether the server has recorded that a run is to end."""
    with closing(sqlite3.connect(f"file:{state / DATABASE}?mode=ro", uri=True, timeout=30)) as connection:
        query = "SELECT json_extract(doc, '$.stop_reason') FROM records WHERE kind = 'run' AND id = ?"
        return bool(connection.execute(query, (run_id,)).fetchone() == ("cancelled",))


async def test_a_run_whose_turn_comes_while_its_vm_is_being_deleted(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of it would be one of a VM that there is not, and the next server would refuse the directory."""
    directory = StateDir(state.parent)
    sock = socket.create_server(("127.0.0.1", 0))
    service = Service(options(state), api_key="a-key", state_dir=directory.path, sock=sock)
    await service.start()
    try:
        async with aiohttp.ClientSession() as client:
            api = Api(client, base_url(service.origin), "a-key")
            vm = (await api.fork())["vm_id"]
            record = service.backend.find_anywhere(vm)
            assert record is not None
            session, forget = record.session, service.backend.keeper.forget_vm
            await session.lock.acquire()  # as a run that is going on has it
            session.pending += 1

            def forget_at_its_end(deleted: VmRecord) -> None:
                forget(deleted)
                session.lock.release()

            monkeypatch.setattr(service.backend.keeper, "forget_vm", forget_at_its_end)
            await api.background(vm, "sleep 600")
            await api.delete(vm)
    finally:
        await service.close()
        directory.remove()
    async with running(state) as api:
        assert await api.list_all("/v1/vms", "vms", source_org_id="org_local") == []
