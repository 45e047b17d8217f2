"""What is in a VM of the service: runs, sessions, files; tunnels and syncs of the older generation."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from tests.drift.changes import NOW, Json
from tests.drift.wire import Answer, Effect, Refusal, closed, of, page
from tests.support.server import Recorded

if TYPE_CHECKING:
    from tests.drift.service import Service

_RUN: Final = {
    "command", "session_id", "session_idx", "timeout", "time_to_background", "background", "queueing_timeout",
    "end_symbol", "signal", "policies",
}  # fmt: skip
_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGKILL", "SIGHUP")
_CHUNK: Final = {"path", "size", "upload_id", "content", "start", "end", "sha256", "is_secret"}
_OUTPUTS: Final = ("stdout", "stdout_encoding", "stderr", "stderr_encoding", "retry_count")
INLINE: Final = 64
"""Bytes of a file that are given in a reply; of a larger one a URL, if the plan says so."""
OUT, ERR, CODE = "out {}\nand more ä\n", "err {}\n", 3
"""What the command ``say X`` writes, and what it ends with."""


@define(eq=False)
class Machine:
    """A VM."""

    service: Service
    vm_id: str
    created_at: str
    effect: Effect
    name: str | None = None
    _runs: dict[str, Json] = field(factory=dict[str, Json])
    _sessions: dict[str, Json] = field(factory=dict[str, Json])
    _tunnels: dict[str, Json] = field(factory=dict[str, Json])
    _syncs: dict[str, Json] = field(factory=dict[str, Json])
    _mounts: dict[str, Json] = field(factory=dict[str, Json])
    _description: str | None = None
    _uploads: dict[str, bytes | None] = field(factory=dict[str, "bytes | None"])
    _left: Counter[str] = field(factory=Counter[str])
    _numbers: itertools.count[int] = field(factory=lambda: itertools.count(1))

    def furnish(self) -> None:
        """Put something into it: three of each kind."""
        for number in range(3):
            self._make_session({})
            self._note_run(f"say {number}", "01S0", going=False)
            self._make_mount({"filesystem_id": self.service.filesystems()[number], "path": f"/mnt/{number}"})
            if self.service.plan.older:
                self._make_tunnel({"ports": [80 + number]})
                self._make_sync({"filesystem_id": self.service.filesystems()[number], "path": f"/mnt/{number}"})
        for path, data in {"small": b"small", "large": bytes(range(200)), "tree/a": b"A", "tree/d/b": b"BB"}.items():
            self.place(path).parent.mkdir(parents=True, exist_ok=True)
            self.place(path).write_bytes(data)

    def described(self) -> Json:
        """Return the VM as replies show it."""
        return {
            "vm_id": self.vm_id,
            "owner_org_id": "acme",
            "created_at": self.created_at,
            "description": self._description,
            "public": False,
            "state": "running" if any(run["state"] == "running" for run in self._runs.values()) else "idle",
            "network": {"ssh_public_keys": []},
            "sessions": [{"session_id": "01S0", "session_idx": 0, "state": "idle", "cwd": ""}],
            "resources": {"vcpu": 2, "memory_mib": 1024, "disk_mib": 4096},
            "region": "us-west-2",
            "provider": "aws",
            "last_active_at": NOW,
            **({"name": self.name} if self.name is not None else {}),
        }

    def ids(self, kind: str) -> list[str]:
        """Return the ids of what exists."""
        return list(self._kinds()[kind])

    def has(self, creation: str, name: str) -> bool:
        """Return whether the result of an operation still exists."""
        return name in self._kinds()[creation.removeprefix("create_") + "s"]

    def _kinds(self) -> dict[str, dict[str, Json]]:
        return {
            "runs": self._runs,
            "sessions": self._sessions,
            "tunnels": self._tunnels,
            "syncs": self._syncs,
            "mounts": self._mounts,
        }

    def _new_id(self, kind: str) -> str:
        return f"01{kind}{next(self._numbers):03d}X{self.vm_id[-4:]}"

    # --- answering --------------------------------------------------------------------------------------------------

    async def answer(self, request: Recorded, below: list[str], query: dict[str, str]) -> Answer:
        """Answer a request about what is in it."""
        older = ("tunnels", "syncs", "resize")
        if below and below[0] in older and not self.service.plan.older:
            raise Refusal(404, "not_found", "no such route", resource="route")
        match (request.method, below):
            case ("POST", ["runs"]):
                return await self._run(request)
            case ("POST", ["sync"]):
                return self._sync(request.json)
            case ("POST", ["resize"]):
                return Answer({"resized": True}, effects=(self.service.note("resize", self.vm_id, ""),))
            case ("PATCH", []):
                closed(request.json, {"description", "resources", "ssh_public_keys", "policies", "immutable"})
                self._description = request.json.get("description")
                return Answer(self.described(), effects=(self.service.note("update", self.vm_id, ""),))
            case ("POST", ["mounts"]):
                return self._created("create_mount", self._make_mount(request.json), "mount_id")
            case ("POST", ["sessions"]):
                return self._created("create_session", self._make_session(request.json), "session_id")
            case ("POST", ["sessions", name, "pty-ticket"]):
                of(self._sessions, name, "session")
                closed(request.json, set())
                return Answer({"ticket": "a-ticket", "expires_in": 60})
            case ("POST", ["tunnels"]):
                return self._created("create_tunnel", self._make_tunnel(request.json), "tunnel_key")
            case ("POST", ["syncs"]):
                return self._created("create_sync", self._make_sync(request.json), "sync_id")
            case ("GET", ["runs"]):
                return Answer(page("runs", self._summaries(query), query))
            case ("GET", [("sessions" | "tunnels" | "syncs" | "mounts") as kind]):
                return Answer(page(kind, list(self._kinds()[kind].values()), query))
            case ("GET", ["runs", name]):
                return Answer(self._shown(self._asked(name)))
            case ("GET", ["tunnels", name]):
                return Answer(self._opened(name))
            case ("GET", [("sessions" | "syncs") as kind, name]):
                return Answer(of(self._kinds()[kind], name, kind[:-1]))
            case ("DELETE", ["runs", name]):
                of(self._runs, name, "run").update(state="cancelled", completed_at=NOW)
                return Answer({"cancelled": True}, effects=(self.service.note("cancel_run", self.vm_id, name),))
            case ("DELETE", [("sessions" | "tunnels" | "syncs" | "mounts") as kind, name]):
                of(self._kinds()[kind], name, kind[:-1])
                del self._kinds()[kind][name]
                return Answer({"deleted": True}, effects=(self.service.note(f"delete_{kind[:-1]}", self.vm_id, name),))
            case _:
                raise Refusal(404, "not_found", "no such route", resource="route")

    def _created(self, kind: str, made: Json, name: str) -> Answer:
        return Answer(made, effects=(self.service.note(kind, self.vm_id, made[name]),))

    def _make_session(self, body: Json) -> Json:
        closed(body, {"env", "cwd", "pty", "cols", "rows", "command"})
        name = self._new_id("SES")
        env: Json = body.get("env") or {}
        made: Json = {"session_id": name, "session_idx": 1, "state": "idle", "cwd": "/root", "env": env}
        self._sessions[name] = made
        return made

    def _make_tunnel(self, body: Json) -> Json:
        name = self._new_id("TUN")
        state = "starting" if self.service.plan.slow else "open"
        url = f"{self.service.url}/v1/through/{self.vm_id}/{name}"
        made: Json = {
            "vm_id": self.vm_id, "port": body["ports"][0], "visibility": "public", "protocol": "http", "url": url,
            "state": state, "tunnel_key": name, "auth_mode": "public",
        }  # fmt: skip
        self._tunnels[name] = made
        return dict(made)

    def _opened(self, name: str) -> Json:
        of(self._tunnels, name, "tunnel")["state"] = "open"
        return self._tunnels[name]

    def through(self, key: str) -> bytes:
        """Return what answers behind a tunnel."""
        return f"port {of(self._tunnels, key, 'tunnel')['port']}".encode()

    def _make_mount(self, body: Json) -> Json:
        closed(body, {"filesystem_id", "path"})
        name = self._new_id("MNT")
        made = {"mount_id": name, "vm_id": self.vm_id, "state": "mounted", **body}
        self._mounts[name] = made
        return made

    def _make_sync(self, body: Json) -> Json:
        name = self._new_id("SYN")
        made = {"sync_id": name, "vm_id": self.vm_id, "created_at": NOW, "live": True, **body}
        self._syncs[name] = made
        return made

    # --- runs -------------------------------------------------------------------------------------------------------

    async def _run(self, request: Recorded) -> Answer:
        body, key = request.json, request.key
        closed(body, _RUN)
        known = self.service.known(f"run {self.vm_id}", key)
        if known is not None:
            return self._posted(of(self._runs, known[0]["run_id"], "run"), known[1])
        if "timeout" in body and not isinstance(body["timeout"], int):
            raise Refusal(400, "bad_request", "no", violations=[{"field": "timeout", "message": "an integer"}])
        session = body.get("session_id", "01S0")
        if session != "01S0":
            of(self._sessions, session, "session")
        if "signal" in body:
            return self._signal(body["signal"], session)
        command = body["command"]
        going = bool(body.get("background")) or self.service.plan.slow
        effect = self.service.note("run", self.vm_id, command)
        run = self._note_run(command, session, going=going)
        if not command.startswith("say "):
            await asyncio.get_running_loop().run_in_executor(None, self._execute, command, run)
        self.service.keep(f"run {self.vm_id}", key, (run, effect))
        return self._posted(run, effect)

    def _signal(self, name: str, session: str) -> Answer:
        if name not in _SIGNALS:
            raise Refusal(400, "bad_request", "no such signal")
        if not any(run["state"] == "running" and run["session_id"] == session for run in self._runs.values()):
            raise Refusal(404, "not_found", "nothing to signal", resource="run")
        done: Json = {"stdout": "", "stdout_encoding": "utf-8", "stderr": "", "stderr_encoding": "utf-8"}
        return Answer({**done, "exit_code": 0}, effects=(self.service.note("signal", self.vm_id, name),))

    def _note_run(self, command: str, session: str, *, going: bool) -> Json:
        word = command.removeprefix("say ")
        name = self._new_id("RUN")
        self._runs[name] = {
            "run_id": name, "session_id": session, "command": command, "state": "running" if going else "completed",
            "started_at": NOW, "exit_code": None if going else CODE, "retry_count": 0,
            "stdout": OUT.format(word), "stdout_encoding": "utf-8",
            "stderr": ERR.format(word), "stderr_encoding": "utf-8",
        }  # fmt: skip
        self._left[name] = 3 if going else 0
        return self._runs[name]

    def _execute(self, command: str, run: Json) -> None:
        home = self.place(".")
        home.mkdir(parents=True, exist_ok=True)
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home)}
        done = subprocess.run(["sh", "-c", command], cwd=home, env=environment, capture_output=True, check=False)
        run["code"] = done.returncode
        run["exit_code"] = None if run["state"] == "running" else done.returncode
        run["stdout"], run["stdout_encoding"] = base64.b64encode(done.stdout).decode(), "base64"
        run["stderr"], run["stderr_encoding"] = base64.b64encode(done.stderr).decode(), "base64"

    def _posted(self, run: Json, effect: Effect) -> Answer:
        if run["state"] == "running":
            going = {name: run[name] for name in ("run_id", "session_id", "state")}
            return Answer(going, status=202, effects=(effect,))
        wanted = ("run_id", "session_id", "state", "exit_code", *_OUTPUTS[:4])
        return Answer({name: run[name] for name in wanted}, effects=(effect,))

    def _summaries(self, query: dict[str, str]) -> list[Json]:
        states = query["state"].split(",") if "state" in query else None
        for name in self._runs:
            self._asked(name)
        runs = [run for run in self._runs.values() if states is None or run["state"] in states]
        return [{name: run[name] for name in run if name not in (*_OUTPUTS, "code")} for run in runs]

    def _asked(self, name: str) -> Json:
        """Let a run end once it has been asked after a few times."""
        run = of(self._runs, name, "run")
        self._left[name] -= 1
        if run["state"] == "running" and self._left[name] <= 0:
            run.update(state="completed", exit_code=run.get("code", CODE), completed_at=NOW)
        return run

    @staticmethod
    def _shown(run: Json) -> Json:
        shown = {name: run[name] for name in run if name != "code"}
        if run["state"] == "running" and run["stdout_encoding"] == "utf-8":
            shown["stdout"] = run["stdout"][: len(run["stdout"]) // 2]
            shown["stderr"] = ""
        return shown

    # --- files ------------------------------------------------------------------------------------------------------

    def place(self, path: str) -> Path:
        """Return the path on this machine of a path of the VM. Relative paths start at the home directory."""
        top = self.service.root / self.vm_id
        return top / "root" / path.lstrip("/") if path.startswith("/") else top / "home" / path

    @staticmethod
    def name_of_sync(body: Any) -> str:
        """Return the name of the operation in a request to ``/sync``."""
        if body["op"] in ("read", "manifest"):
            return str(body["op"])
        entry = body["writes"][0]
        return "presign" if entry.get("presigned") else "write" if "content" in entry else "commit"

    def _sync(self, body: Json) -> Answer:
        if body["op"] == "read":
            return self._read(body["path"])
        if body["op"] == "manifest":
            return self._manifest(body["path"])
        results: list[Json] = []
        effects: list[Effect] = []
        for entry in body["writes"]:
            if entry.get("presigned"):
                results.append(self._presign(entry))
                continue
            if "content" in entry:
                closed(entry, _CHUNK)
                data: bytes | None = base64.b64decode(entry["content"])
            else:
                data = self._uploads.get(entry["upload_id"])
            said = {"path": entry["path"], "size": entry["size"], "complete": True, "written": True}
            if data is None or hashlib.sha256(data).hexdigest() != entry.get("sha256"):
                wrong = {"code": "bad_request", "message": "nothing like it was uploaded"}
                results.append({**said, "complete": False, "written": False, "error": wrong})
                continue
            self.place(entry["path"]).parent.mkdir(parents=True, exist_ok=True)
            self.place(entry["path"]).write_bytes(data)
            effects.append(self.service.note("write", self.vm_id, entry["path"]))
            if "content" in entry:
                said |= {"received_bytes": len(data), "ranges": [{"start": entry["start"], "end": entry["end"]}]}
            results.append(said)
        return Answer({"ok": True, "op": "write", "results": results}, effects=tuple(effects))

    def _read(self, path: str) -> Answer:
        place = self.place(path)
        if not place.is_file():
            raise Refusal(404, "not_found", "no such file", resource="file")
        data = place.read_bytes()
        said: Json = {"ok": True, "op": "read", "path": path, "size": len(data)}
        if self.service.plan.presigned and len(data) > INLINE:
            name = self._new_id("OBJ")
            self._uploads[name] = data
            url = f"{self.service.url}/v1/store/{self.vm_id}/{name}"
            return Answer({**said, "presigned_url": url, "expires_in": 900, "method": "GET"})
        return Answer({**said, "content": base64.b64encode(data).decode(), "encoding": "base64"})

    def _manifest(self, path: str) -> Answer:
        root = self.place(path)
        entries: list[Json] = [
            {
                "path": str(place.relative_to(root)),
                "size": place.stat().st_size,
                "mode": place.stat().st_mode,
                "hash": hashlib.sha256(place.read_bytes()).hexdigest(),
            }
            for place in sorted(root.rglob("*"))
            if place.is_file()
        ]
        return Answer({"root": path, "hash_algo": "sha256", "entries": entries, "truncated": False})

    def _presign(self, entry: Json) -> Json:
        said: Json = {"path": entry["path"], "size": entry["size"], "complete": False, "written": False}
        if not self.service.plan.presigned:
            reason = {"reason": "feature_not_supported"}
            return {**said, "error": {"code": "unsupported_operation", "message": "no", "details": reason}}
        name = self._new_id("UPL")
        self._uploads[name] = None
        url = f"{self.service.url}/v1/store/{self.vm_id}/{name}"
        return {**said, "presigned_url": url, "upload_id": name, "expires_in": 900, "method": "PUT"}

    def store(self, request: Recorded, name: str) -> Answer:
        """Return the object store's answer. It supports ranges."""
        data = of(self._uploads, name, "file")
        if request.method == "PUT":
            self._uploads[name] = request.body
            return Answer(b"")
        assert data is not None
        asked = request.headers.get("Range")
        if asked is None:
            return Answer(data)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last) + 1, len(data))
        return Answer(data[begin:end], status=206, headers={"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"})


__all__ = ["CODE", "ERR", "OUT", "Machine"]
