"""A service in memory that answers as today's contract says, and counts what it has done.

Bodies of requests are closed, but for what that contract keeps for older clients. Routes of the older generation are
not there, and errors are nested.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from attrs import define, field

from tests.support.server import Recorded, Reply

Json: TypeAlias = dict[str, Any]

NOW: Final = "2026-11-20T10:00:00Z"
_FORK: Final = {
    "source_vm_id", "source_vm_name", "source_org_id", "source_org_name", "image", "name", "description", "public",
    "disk", "durable", "nestedvirt", "platforms", "layers", "resources", "policies", "ssh_public_keys",
    "queueing_timeout", "pool_id", "pool_name", "command",
}  # fmt: skip
_RUN: Final = {
    "command", "session_id", "session_idx", "timeout", "time_to_background", "background", "queueing_timeout",
    "end_symbol", "signal", "policies",
}  # fmt: skip
_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGKILL", "SIGHUP")


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str = "no", **details: Any) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.details = status, code, message, details


def error_body(code: str, message: str = "no", **more: Any) -> Json:
    return {
        "error": {
            "code": code,
            "message": message,
            "timestamp": NOW,
            "request_id": "req-1",
            "request": {"kind": "unmatched", "method": "GET"},
            **more,
        }
    }


@define(eq=False)
class Service:
    """VMs and what is in them.

    Attributes:
        vms: Those that exist.
        made: How many VMs were ever made.
        applied: How often each operation has been carried out.
        knows_keys: Whether requests with a key are known again.
        slow: Whether foreground runs take longer than a request may, and are answered as background ones.
        bend: Makes another reply of an operation's.
    """

    vms: dict[str, Json] = field(factory=dict[str, Json])
    made: int = 0
    applied: Counter[str] = field(factory=Counter[str])
    key_of: dict[str, str | None] = field(factory=dict[str, "str | None"])
    knows_keys: bool = True
    slow: bool = False
    bend: Callable[[str, Reply], Reply] = lambda _, reply: reply
    _keys: dict[tuple[str, str], Any] = field(factory=dict[tuple[str, str], Any])
    _runs: dict[str, Json] = field(factory=dict[str, Json])
    _sessions: dict[str, Json] = field(factory=dict[str, Json])
    _files: dict[str, bytes] = field(factory=dict[str, bytes])
    _filesystems: dict[str, Json] = field(factory=dict[str, Json])
    _asked: Counter[str] = field(factory=Counter[str])
    _numbers: itertools.count[int] = field(factory=lambda: itertools.count(1))

    def __call__(self, request: Recorded) -> Reply:
        operation = "none"
        try:
            operation, status, body = self._answer(request)
            reply = Reply(status=status, body=json.dumps(body).encode())
        except Refused as refused:
            details = {"details": refused.details} if refused.details else {}
            said = error_body(refused.code, refused.message, **details)
            reply = Reply(status=refused.status, body=json.dumps(said).encode())
        return self.bend(operation, reply)

    def _answer(self, request: Recorded) -> tuple[str, int, Any]:
        method, parts = request.method, request.path.partition("/v1/")[2].split("/")
        match (method, parts):
            case ("POST", ["fork"]):
                return "fork", 200, self._once(request, "fork", self._fork)
            case ("GET", ["vms"]):
                return "list_vms", 200, {"vms": list(self.vms.values()), "next_cursor": None}
            case ("GET", ["vms", vm]):
                return "get_vm", 200, self._vm(vm)
            case ("DELETE", ["vms", vm]):
                self._vm(vm)
                del self.vms[vm]
                self.applied["delete"] += 1
                return "delete", 200, {"deleted": True}
            case ("GET", ["filesystems"]):
                return "list_filesystems", 200, {"filesystems": list(self._filesystems.values())}
            case ("POST", ["filesystems"]):
                return "create_filesystem", 200, self._make_filesystem(request)
            case ("GET", ["filesystems", name]):
                return "get_filesystem", 200, self._of(self._filesystems, name, "filesystem")
            case ("DELETE", ["filesystems", name]):
                self._of(self._filesystems, name, "filesystem")
                del self._filesystems[name]
                self.applied["delete_filesystem"] += 1
                return "delete_filesystem", 200, {"deleted": True}
            case ("GET", ["runs"]):
                return "list_org_runs", 200, self._org_rows(request.query)
            case (_, ["vms", vm, *below]):
                self._vm(vm)
                return self._inside(request, method, below)
            case _:
                pass
        raise Refused(404, "not_found", "no such route", resource="route")

    def _inside(self, request: Recorded, method: str, below: list[str]) -> tuple[str, int, Any]:
        match (method, below):
            case ("POST", ["runs"]):
                result = self._once(request, "run", self._run)
                return "run", 202 if "stdout" not in result else 200, result
            case ("GET", ["runs"]):
                self._advance()
                wanted = request.query.partition("state=")[2].split("&")[0].replace("%2C", ",").split(",")
                runs = [run for run in self._runs.values() if wanted == [""] or run["state"] in wanted]
                outputs = ("stdout", "stdout_encoding", "stderr", "stderr_encoding", "retry_count")
                return (
                    "list_runs",
                    200,
                    {"runs": [{name: run[name] for name in run if name not in outputs} for run in runs]},
                )
            case ("GET", ["runs", run]):
                self._advance()
                return "get_run", 200, dict(self._of(self._runs, run, "run"))
            case ("DELETE", ["runs", run]):
                self._of(self._runs, run, "run").update(state="cancelled", completed_at=NOW)
                self.applied["cancel_run"] += 1
                return "cancel_run", 200, {"cancelled": True}
            case ("GET", ["sessions"]):
                return "list_sessions", 200, {"sessions": list(self._sessions.values())}
            case ("POST", ["sessions"]):
                return "create_session", 200, self._make_session(request)
            case ("GET", ["sessions", session]):
                return "get_session", 200, self._of(self._sessions, session, "session")
            case ("DELETE", ["sessions", session]):
                self._of(self._sessions, session, "session")
                del self._sessions[session]
                self.applied["delete_session"] += 1
                return "delete_session", 200, {"deleted": True}
            case ("POST", ["sync"]):
                return self._sync(request)
            case _:
                pass
        raise Refused(404, "not_found", "no such route", resource="route")

    # --- what is done -----------------------------------------------------------------------------------------------

    def _once(self, request: Recorded, kind: str, do: Callable[[Json, str | None], Any]) -> Any:
        key = request.key
        if self.knows_keys and key is not None and (kind, key) in self._keys:
            return self._keys[kind, key]
        done = do(request.json, key)
        if key is not None:
            self._keys[kind, key] = done
        return done

    def _fork(self, body: Json, key: str | None) -> Json:
        self._closed(body, _FORK)
        if len([name for name in ("source_vm_id", "source_vm_name", "image") if name in body]) != 1:
            raise Refused(400, "bad_request", "exactly one source")
        self.made += 1
        self.applied["fork"] += 1
        vm_id = f"01VM{self.made:022d}"
        self.key_of[vm_id] = key
        self.vms[vm_id] = {
            "vm_id": vm_id,
            "owner_org_id": "acme",
            "created_at": NOW,
            "description": None,
            "public": False,
            "state": "idle",
            "network": {"ssh_public_keys": []},
            "sessions": [{"session_id": "01S", "session_idx": 0, "state": "idle", "cwd": ""}],
            "resources": {"vcpu": 2, "memory_mib": 1024, "disk_mib": 4096},
            "region": "us-west-2",
            "provider": "aws",
            "last_active_at": NOW,
            **({"name": body["name"]} if "name" in body else {}),
        }
        return self.vms[vm_id]

    def _run(self, body: Json, _: str | None) -> Json:
        self._closed(body, _RUN)
        if "timeout" in body and not isinstance(body["timeout"], int):
            raise Refused(400, "bad_request", "no", violations=[{"field": "timeout", "message": "an integer"}])
        if "signal" in body:
            if body["signal"] not in _SIGNALS:
                raise Refused(400, "bad_request", "no such signal")
            raise Refused(404, "not_found", "nothing to signal", resource="run")
        self.applied["run"] += 1
        run_id = f"01RUN{next(self._numbers):021d}"
        going = bool(body.get("background")) or self.slow
        output = {
            "stdout": str(body.get("command", "")).removeprefix("echo "),
            "stdout_encoding": "utf-8",
            "stderr": "",
            "stderr_encoding": "utf-8",
        }
        self._runs[run_id] = {
            "run_id": run_id,
            "session_id": "01S",
            "command": body.get("command"),
            "state": "running" if going else "completed",
            "started_at": NOW,
            "exit_code": None if going else 0,
            **output,
            "retry_count": 0,
        }
        if going:
            return {"run_id": run_id, "session_id": "01S", "state": "running"}
        return {**output, "exit_code": 0, "state": "completed", "run_id": run_id, "session_id": "01S"}

    def _make_session(self, request: Recorded) -> Json:
        self._closed(request.json, {"env", "cwd", "pty", "cols", "rows", "command"})
        session: Json = {
            "session_id": f"01SESSION{next(self._numbers)}",
            "session_idx": 1,
            "state": "idle",
            "cwd": "",
            "env": request.json.get("env") or {},
        }
        self._sessions[session["session_id"]] = session
        self.applied["create_session"] += 1
        return session

    def _make_filesystem(self, request: Recorded) -> Json:
        self._closed(request.json, {"name"})
        made = {
            "filesystem_id": f"01FS{next(self._numbers)}",
            "name": request.json["name"],
            "owner_org_id": "acme",
            "created_at": NOW,
        }
        self._filesystems[made["filesystem_id"]] = made
        self.applied["create_filesystem"] += 1
        return made

    def _sync(self, request: Recorded) -> tuple[str, int, Any]:
        body = request.json
        if body["op"] == "read":
            path = body["path"]
            if path not in self._files:
                raise Refused(404, "not_found", "no such file", resource="file")
            data = self._files[path]
            content = base64.b64encode(data).decode()
            read = {"ok": True, "op": "read", "path": path, "size": len(data), "content": content, "encoding": "base64"}
            return "read", 200, read
        results: list[Json] = []
        for entry in body["writes"]:
            if entry.get("presigned"):
                said = {
                    "code": "unsupported_operation",
                    "message": "no",
                    "details": {"reason": "feature_not_supported"},
                }
                results.append(
                    {"path": entry["path"], "size": entry["size"], "complete": False, "written": False, "error": said}
                )
                continue
            self._closed(entry, {"path", "size", "upload_id", "content", "start", "end", "sha256", "is_secret"})
            data = base64.b64decode(entry["content"])
            self._files[entry["path"]] = data
            self.applied["write"] += 1
            results.append(
                {
                    "path": entry["path"],
                    "size": entry["size"],
                    "received_bytes": len(data),
                    "ranges": [{"start": entry["start"], "end": entry["end"]}],
                    "complete": True,
                    "written": True,
                }
            )
        return "write", 200, {"ok": True, "op": "write", "results": results}

    def _org_rows(self, query: str) -> Json:
        beyond = "offset=" in query and "offset=0" not in query
        row = {
            "t_ms": 1,
            "request_id": "",
            "run_id": "",
            "vm_id": "",
            "session_id": "",
            "status": 200,
            "exit_code": None,
        }
        rows = [] if beyond else [row, {**row, "t_ms": 2}]
        return {"since": 0, "until": 1, "limit": 2, "offset": 0, "lite": False, "rows": rows}

    def _advance(self) -> None:
        """Let runs end once they have been asked after twice."""
        for run_id, run in self._runs.items():
            self._asked[run_id] += 1
            if run["state"] == "running" and self._asked[run_id] > 2:
                run.update(state="completed", exit_code=0, completed_at=NOW)

    # --- what is looked up ------------------------------------------------------------------------------------------

    def _vm(self, vm: str) -> Json:
        return self._of(self.vms, vm, "vm")

    @staticmethod
    def _of(kind: dict[str, Json], name: str, resource: str) -> Json:
        if name not in kind:
            raise Refused(404, "not_found", f"no such {resource}", resource=resource)
        return kind[name]

    @staticmethod
    def _closed(body: Json, names: set[str]) -> None:
        unknown = sorted(set(body) - names)
        if unknown:
            raise Refused(
                400, "bad_request", "no", violations=[{"field": name, "message": "unknown"} for name in unknown]
            )
