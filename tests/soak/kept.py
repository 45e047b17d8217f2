"""Work on a backend with a state directory that may be killed at any moment, and what has to be there afterwards."""

from __future__ import annotations

import random
import secrets
from typing import Any

import aiohttp
from attrs import define, field

from tests.emulator.server.support import Api, chunk, new_ulid, output

MOST_VMS = 3
"""VMs of one worker."""
_LARGE = 300_000
_CHUNK = 128 * 1024


@define(eq=False)
class KeptVm:
    """What has been answered of a VM.

    Attributes:
        files: The contents of its files.
        doubtful: Contents that an unanswered request may have left instead; None for no file.
        runs: The outputs of its runs that have ended.
        started: Runs in the background that have not been seen to end.
        sessions: The directory of each session.
    """

    vm_id: str
    name: str
    description: str | None = None
    files: dict[str, bytes] = field(factory=dict[str, bytes])
    doubtful: dict[str, bytes] = field(factory=dict[str, bytes])
    runs: dict[str, bytes] = field(factory=dict[str, bytes])
    started: list[str] = field(factory=list[str])
    sessions: dict[str, str] = field(factory=dict[str, str])
    described: str | None = None
    """A description in doubt."""


@define(eq=False)
class Worker:
    """One of several that work at the same time, each on VMs of its own, one request after the other.

    Attributes:
        root: The directory below which a VM's files are, as its commands name it.
        vms: Its VMs.
        forking: The body and the key of a fork that was not answered.
        deleting: A VM whose deletion was not answered.
    """

    rng: random.Random
    root: str
    vms: list[KeptVm] = field(factory=list[KeptVm])
    forking: tuple[dict[str, Any], str, KeptVm | None] | None = None
    deleting: KeptVm | None = None

    async def work(self, api: Api) -> None:
        """Work until the server is not there any more."""
        steps = [self._fork] * 3 + [self._write] * 4 + [self._run] * 3
        steps += [self._write_large, self._background, self._session, self._describe, self._delete]
        try:
            while True:
                if not self.vms:
                    await self._fork(api)
                await self.rng.choice(steps)(api)
        except aiohttp.ClientError:
            return

    def _any(self) -> KeptVm:
        return self.rng.choice(self.vms)

    async def _fork(self, api: Api) -> None:
        if len(self.vms) >= MOST_VMS:
            await self._delete(api)
            return
        parent = self.rng.choice([None, *self.vms])
        body: dict[str, Any] = {"source_vm_name": "ubuntu"} if parent is None else {"source_vm_id": parent.vm_id}
        body["name"] = f"vm-{secrets.token_hex(6)}"
        self.forking = body, secrets.token_hex(12), parent
        await self.repeat_fork(api)

    async def repeat_fork(self, api: Api) -> None:
        """Send the fork, once more if it was not answered."""
        assert self.forking is not None
        body, key, parent = self.forking
        reply = await api.call("POST", "/v1/fork", body, idempotency_key=key)
        assert reply.status == 200, reply
        vm = KeptVm(reply.json["vm_id"], body["name"])
        if parent is not None:
            vm.files, vm.doubtful = dict(parent.files), dict(parent.doubtful)
        vm.sessions = {session["session_id"]: session["cwd"] for session in reply.json["sessions"]}
        self.vms.append(vm)
        self.forking = None

    async def _put(self, api: Api, vm: KeptVm, path: str, data: bytes) -> None:
        vm.doubtful[path] = data
        if len(data) <= _CHUNK:
            (result,) = await api.write(vm.vm_id, chunk(path, data))
        else:
            upload_id, result = new_ulid(), {}
            for start in range(0, len(data), _CHUNK):
                piece = data[start : start + _CHUNK]
                fields = {"upload_id": upload_id, "size": len(data), "start": start, "end": start + len(piece)}
                (result,) = await api.write(vm.vm_id, chunk(path, piece, **fields))
        assert result["written"], result
        vm.files[path] = vm.doubtful.pop(path)

    async def _write(self, api: Api) -> None:
        await self._put(api, self._any(), f"file-{self.rng.randrange(6)}", self.rng.randbytes(self.rng.randrange(9000)))

    async def _write_large(self, api: Api) -> None:
        await self._put(api, self._any(), f"large-{self.rng.randrange(2)}", self.rng.randbytes(_LARGE))

    async def _run(self, api: Api) -> None:
        vm, path = self._any(), f"run-{self.rng.randrange(3)}"
        text = secrets.token_hex(8)
        directory = f"/home/user/d-{self.rng.randrange(3)}"
        filling = "for i in $(seq 250); do echo $i > many-$i; done;" if self.rng.random() < 0.3 else ""
        command = f"echo {text} > .new; {filling} mv .new {path}; mkdir -p {directory}; cat {path}; seq 5000"
        vm.doubtful[path] = f"{text}\n".encode()
        body = await api.run(vm.vm_id, f"cd; {command}")
        assert body["exit_code"] == 0, body
        vm.files[path] = vm.doubtful.pop(path)
        vm.runs[body["run_id"]] = output(body)

    async def _background(self, api: Api) -> None:
        vm = self._any()
        session = await api.call("POST", f"/v1/vms/{vm.vm_id}/sessions", {"cwd": "/tmp"})
        vm.sessions[session.json["session_id"]] = "/tmp"
        vm.started.append(await api.background(vm.vm_id, "sleep 600", session_id=session.json["session_id"]))

    async def _session(self, api: Api) -> None:
        vm = self._any()
        session = await api.call("POST", f"/v1/vms/{vm.vm_id}/sessions", {"cwd": "/opt", "env": {"A": "b"}})
        assert session.status == 200, session
        vm.sessions[session.json["session_id"]] = "/opt"

    async def _describe(self, api: Api) -> None:
        vm = self._any()
        vm.described = secrets.token_hex(4)
        reply = await api.call("PATCH", f"/v1/vms/{vm.vm_id}", {"description": vm.described})
        assert reply.status == 200, reply
        vm.description, vm.described = vm.described, None

    async def _delete(self, api: Api) -> None:
        vm = self.deleting = self._any()
        self.vms.remove(vm)
        await api.delete(vm.vm_id)
        self.deleting = None

    async def check(self, api: Api) -> set[str]:
        """Check that everything is there that was answered. Returns the ids of the VMs that may be there."""
        if self.forking is not None:
            parent = self.forking[2]
            await self.repeat_fork(api)
            if parent is None:  # of a parent it has what that had at the time
                assert not self.vms[-1].files
        for vm in self.vms:
            await _check_vm(api, vm, self.root)
        if self.deleting is not None:
            reply = await api.call("GET", f"/v1/vms/{self.deleting.vm_id}")
            if reply.status == 200:  # it was not begun
                await _check_vm(api, self.deleting, self.root)
                self.vms.append(self.deleting)
            else:
                assert reply.status == 404, reply
            self.deleting = None
        return {vm.vm_id for vm in self.vms}


async def _check_vm(api: Api, vm: KeptVm, root: str) -> None:
    known = await api.get(f"/v1/vms/{vm.vm_id}")
    assert known["name"] == vm.name
    assert known.get("description") in {vm.description, vm.described}
    vm.description, vm.described = known.get("description"), None
    cwds = {session["session_id"]: session["cwd"] for session in known["sessions"]}
    assert cwds.items() >= vm.sessions.items(), (cwds, vm.sessions)
    # /usr is the host's, large, and cannot be written to.
    unfinished = f"find {root} -xdev -path /usr -prune -o -name '.upload-*' -print 2>&-"
    listing = await api.run(vm.vm_id, f"{unfinished}; cd; find . -maxdepth 1 -type f -printf '%f\\n'")
    names = output(listing).decode().split()
    assert not [name for name in names if ".upload-" in name], names
    for path in {*vm.files, *vm.doubtful}:
        allowed: set[bytes | None] = {vm.files.get(path)}
        if path in vm.doubtful:
            allowed.add(vm.doubtful[path])
        reply = await api.sync(vm.vm_id, {"op": "read", "path": path})
        data = output(reply.json, "content") if reply.status == 200 else None
        assert data is not None or reply.status == 404, reply
        assert data in allowed, (path, data and len(data), [each and len(each) for each in allowed])
        vm.files.pop(path, None)
        if data is not None:
            vm.files[path] = data
    vm.doubtful.clear()
    for run_id, printed in vm.runs.items():
        run = await api.get_run(vm.vm_id, run_id)
        assert (run["state"], run["exit_code"]) == ("completed", 0), run
        assert output(run) == printed
    for run_id in vm.started:
        run = await api.get_run(vm.vm_id, run_id)
        assert run["state"] == "failed", run
        assert run["fail_reason"].startswith("the embedded backend ended"), run
    vm.started.clear()


__all__ = ["Worker"]
