"""What differs between the generations of the API: members of bodies, codes and form of errors, and single rules.

The schemas of generation 1 are data (``generation_1.json``), by the names that the service's own description uses. A
shape of generation 0.5 has the same name, unless `FORMER_NAMES` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

import orjson
from attrs import field, frozen

from arker.emulator.control.clock import rfc3339
from arker.emulator.options import GenerationName
from arker.emulator.server.errors import EMPTY, STATUSES, ServiceError, invalid, missing

Json = dict[str, Any]

FORMER_NAMES: Final[Mapping[str, str]] = {
    "BackgroundRunResponse": "BackgroundRunResult",
    "CompletedRunResponse": "CompletedRunResult",
    "SyncReadOperationRequest": "SyncReadRequest",
    "SyncWriteOperationRequest": "SyncWriteRequest",
}
"""Shapes of generation 1 that generation 0.5 calls otherwise."""

_SIZES: Final = "vcpu_count memory_mib disk_mib"
FORMER: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(members.split())
    for name, members in {
        "ForkRequest": f"source_vm_id source_vm_name source_org_id name public network disk {_SIZES} max_memory_mib "
        "durable tunnel",
        "ResizeRequest": _SIZES,
        "RunRequest": f"command session_id session_idx background timeout end_symbol {_SIZES} network acquire release "
        "signal",
        "CreateSessionRequest": "env cwd",
        "TunnelRequest": "ports auth_mode",
        "SyncCreateRequest": "filesystem_id path",
        "FilesystemCreateRequest": "name",
        "SyncReadRequest": "op path",
        "SyncWriteRequest": "op writes",
        "SyncChunkWrite": "path size upload_id content start end sha256",
        "SyncPresignedWriteRequest": "path size presigned",
        "SyncPresignedWriteCommit": "path size upload_id sha256",
        "NetworkRequest": "inbound",
        "InboundRequest": "ports",
        "InboundPortRequest": "visibility protocol",
        "NetworkPolicy": "type allow block",
        "Vm": "vm_id owner_org_id created_at name public root_source_vm_id root_source_vm_name state region provider "
        f"started_at {_SIZES} network max_vcpus max_memory_mib min_memory_mib worker_id sessions tunnels",
        "Run": "run_id session_id command state started_at completed_at exit_code fail_reason stdout stdout_encoding "
        "stderr stderr_encoding tunnels retry_count vm_id vm_name source_org_id region provider",
        "CompletedRunResult": "run_id state stdout stdout_encoding stderr stderr_encoding exit_code fail_reason "
        "dispatch",
        "BackgroundRunResult": "run_id state tunnels",
        "SyncReadInlineResponse": "path size content encoding",
        "SyncReadPresignedResponse": "path size presigned_url expires_in method",
        "SyncWriteResponse": "results",
        "OrgRunListRow": "source t_ms request_id run_id vm_id session_id region status total_ms queue_ms "
        "lambda_call_ms lambda_duration_ms executor_duration_ms executor_kind executor_cpu_ms executor_mem_mb "
        "lambda_cpu_ms lambda_mem_mb vm_vcpus vm_memory_mib path method command source_vm_id exit_code endpoint "
        "api_key_prefix body_bytes_in body_bytes_out body_in body_out",
    }.items()
}
"""Members of shapes of generation 0.5."""

_FORMER_CODES: Final[Mapping[str, str]] = {
    "insufficient_resources": "bad_request",
    "payment_required": "forbidden",
    "action_required": "forbidden",
    "method_not_allowed": "not_found",
    "already_exists": "conflict",
    "idempotency_conflict": "conflict",
    "invalid_state": "conflict",
    "resource_busy": "conflict",
    "expired": "not_found",
    "operation_failed": "unsupported_operation",
    "unrecoverable": "unsupported_operation",
    "capacity_unavailable": "resource_pressure",
    "gateway_timeout": "unavailable",
}
"""What generation 0.5 says instead of codes that it does not have."""
FORMER_STATUSES: Final[Mapping[str, int]] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "payload_too_large": 413,
    "unsupported_operation": 422,
    "internal": 500,
    "not_implemented": 501,
    "unavailable": 503,
    "resource_pressure": 503,
}
_CODES_OF_FILES: Final = frozenset(
    [
        "bad_request",
        "not_found",
        "conflict",
        "payload_too_large",
        "unsupported_operation",
        "unavailable",
        "internal",
        "expired",
    ]
)
"""The codes that an entry of a write can have in generation 1."""
_RESOURCES_OF_FILES: Final = ("file", "upload", "resource")
_STATES_OF_RUNS: Final = ("running", "completed", "failed", "cancelled")
_SIGNALS: Final = frozenset(("SIGINT", "SIGTERM", "SIGKILL", "SIGHUP"))
_CONTENT_BYTES: Final = 20 * 1024 * 1024
_FORMER_CONTENT_BYTES: Final = 8 * 1024 * 1024
_RUN_BYTES: Final = 4 * 1024 * 1024
_FORK_BYTES: Final = 1024 * 1024
_ROWS: Final = 200
_MAY_LACK_CAPACITY: Final = frozenset(("fork", "patchVm", "createRun", "sync"))
"""The operations of generation 1 that fail for a lack of capacity; the others are just unavailable then."""
_OLD_SIZE: Final = 2**31 - 1


# Read now: later there may be no descriptor left to open a file.
SCHEMAS: Final[Mapping[str, Json]] = orjson.loads(
    files("arker.emulator.server").joinpath("generation_1.json").read_bytes()
)
"""The schemas of generation 1 by their names."""


def declared(shape: str) -> frozenset[str]:
    """Return the members of a shape of generation 1; none if it has no such shape."""
    schema = SCHEMAS.get(shape, {})
    return frozenset(name for part in (schema, *schema.get("anyOf", ())) for name in part.get("properties", ()))


def former(shape: str) -> frozenset[str]:
    """Return the members of a shape of generation 0.5, by the name that generation 1 has for it."""
    return FORMER.get(FORMER_NAMES.get(shape, shape), frozenset())


@frozen(kw_only=True)
class Generation:
    """What a server speaks.

    Attributes:
        name: As in the options.
        window: Seconds that a run in the foreground is waited for, if it is ever answered before its end.
    """

    name: GenerationName
    window: float
    _known: dict[str, frozenset[str]] = field(factory=dict[str, frozenset[str]], init=False, repr=False)
    _shown: dict[str, frozenset[str]] = field(factory=dict[str, frozenset[str]], init=False, repr=False)

    @property
    def old(self) -> bool:
        """Whether it speaks 0.5."""
        return self.name != "1"

    @property
    def new(self) -> bool:
        """Whether it speaks 1."""
        return self.name != "0.5"

    # --- requests ---

    def take(self, shape: str, members: Mapping[str, Any], where: str = "") -> Mapping[str, Any]:
        """Return the members of a request's object that this generation knows.

        Raises:
            ServiceError: There are others; generation 0.5 ignores them.
        """
        known = self._known.get(shape)
        if known is None:
            nothing: frozenset[str] = frozenset()
            known = (former(shape) if self.old else nothing) | (declared(shape) if self.new else nothing)
            self._known[shape] = known
        if members.keys() <= known:
            return members
        if not self.new:
            return {name: value for name, value in members.items() if name in known}
        # In generation 0.5 null stands for an absent member.
        unknown = sorted(name for name in members.keys() - known if members[name] is not None or not self.old)
        if not unknown:
            return {name: value for name, value in members.items() if name in known}
        refusal = invalid(f"{where}{unknown[0][:100]}", f"no such member; {shape} has {', '.join(sorted(known))}")
        if len(unknown) > 1:
            refusal.details = {
                "violations": [
                    {"field": f"{where}{name[:100]}" or EMPTY, "message": "no such member"} for name in unknown
                ]
            }
        raise refusal

    def check_query(self, query: Iterable[str], known: Iterable[str]) -> None:
        """Refuse parameters of a list that this generation does not know; generation 0.5 ignores them."""
        unknown = sorted(set(query) - set(known))
        if unknown and self.new:
            raise invalid(unknown[0][:100], f"no such parameter; the list has {', '.join(sorted(known))}")

    def spelled(self, query: Mapping[str, str], old: str, new: str) -> str:
        """Return which of two names a query parameter has in a request."""
        return old if not self.new or (self.old and new not in query) else new

    @property
    def most_vcpus(self) -> int:
        return 255 if self.new else _OLD_SIZE

    @property
    def longest_key(self) -> int:
        """Characters that an ``Idempotency-Key`` may have."""
        return 255 if self.old else 64

    @property
    def longest_run(self) -> int | None:
        """Bytes that the body of a run may have; None: as many as that of any other request."""
        return None if self.old else _RUN_BYTES

    @property
    def longest_fork(self) -> int | None:
        """Bytes that the body of a fork may have; None: as many as that of any other request."""
        return None if self.old else _FORK_BYTES

    @property
    def most_content(self) -> int:
        """Bytes of content that the entries of a write may have together."""
        return _CONTENT_BYTES if self.new else _FORMER_CONTENT_BYTES

    @property
    def most_rows(self) -> int | None:
        """How many requests a full list of the organisation's has at most; None: as many as any other list."""
        return None if self.old else _ROWS

    @property
    def caps_limits(self) -> bool:
        """Whether a list takes a limit beyond its maximum for the maximum, rather than refusing it."""
        return self.old

    @property
    def whole_seconds(self) -> bool:
        """Whether the timeout of a run is an integer."""
        return not self.old

    @property
    def signals(self) -> frozenset[str] | None:
        """The signals that can be sent, by their names; None for all, with or without ``SIG``."""
        return None if self.old else _SIGNALS

    @property
    def flat_disk(self) -> bool:
        """Whether asking for a disk is no error where the source has none."""
        return self.old

    @property
    def waits_for_keys(self) -> bool:
        """Whether a fork whose key is still worked on waits, rather than being refused."""
        return self.old

    # --- runs ---

    def nothing_to_signal(self, message: str) -> ServiceError:
        """Return the error for a signal to a session in which no command is running."""
        return missing("run", message) if self.new else ServiceError("conflict", message)

    @property
    def whole_runs(self) -> bool:
        """Whether a run is over only when everything that it started is."""
        return not self.old

    @property
    def accepted(self) -> int:
        """The status of a reply to a run that goes on."""
        return 202 if self.new else 200

    def foreground(self, wanted: float | None) -> float | None:
        """Return how many seconds to wait for a run; None without a bound."""
        if not self.new:
            return None
        return self.window if wanted is None else min(wanted, self.window)

    def working(self, state: str) -> str:
        """Return the state of a run or a session."""
        return "running" if state == "pending" and not self.new else state

    def exit_code(self, code: int | None, state: str) -> int | None:
        """Return the status in a reply to a run in the foreground: -1, or null for a cancelled run in generation 1."""
        return -1 if code is None and not (self.new and state == "cancelled") else code

    def ended(self, state: str) -> str:
        """Return the state in a reply to a run in the foreground: in generation 1 the status tells that it failed."""
        return state if self.old or state == "cancelled" else "completed"

    @property
    def states_of_runs(self) -> tuple[str, ...]:
        return ("pending", *_STATES_OF_RUNS) if self.new else _STATES_OF_RUNS

    @property
    def states_of_sessions(self) -> tuple[str, ...]:
        return ("idle", "pending", "running") if self.new else ("idle", "running")

    # --- replies ---

    def show(self, shape: str, body: Json) -> Json:
        """Return a reply with the members that this generation has."""
        if self.old and self.new:
            return body
        shown = self._shown.get(shape)
        if shown is None:
            shown = self._shown[shape] = declared(shape) if self.new else former(shape)
        return {name: value for name, value in body.items() if name in shown} if shown else body

    @property
    def unknown_file(self) -> Json:
        """What the result of an entry says of a file that the entry does not name."""
        return {"path": "", "size": 0} if self.new else {}

    def encoding_of_files(self, encoding: str) -> str:
        """Return the name of the encoding of a file that is read."""
        return "utf8" if encoding == "utf-8" and self.new else encoding

    # --- errors ---

    def status(self, error: ServiceError) -> int:
        """Return the HTTP status of an error."""
        if error.verbatim or error.given_status is not None or self.new:
            return error.status
        return FORMER_STATUSES.get(self._former_code(error), error.status)

    def headers(self, error: ServiceError) -> Mapping[str, str]:
        """Return the header fields of an error."""
        headers = dict(error.headers)
        if error.code == "unauthorized" and self.new:
            headers["WWW-Authenticate"] = "Bearer"
        if error.code == "method_not_allowed" and not error.verbatim and self.new:
            headers["Allow"] = ", ".join(error.details["allowed_methods"])
        return headers

    def error_body(
        self, error: ServiceError, *, operation_id: str | None, method: str, request_id: str, now_ms: int
    ) -> Json:
        """Return the body of an error."""
        if not self.new:
            return {"code": self._former_code(error), "message": error.message}
        code, details = error.code, error.details
        undeclared = code == "capacity_unavailable" and operation_id not in _MAY_LACK_CAPACITY
        if undeclared and not self.old and not error.verbatim:
            code, details = "unavailable", {}
        matched = {"kind": "matched", "operation_id": operation_id}
        body: Json = {
            "code": code,
            "message": error.message,
            "timestamp": rfc3339(now_ms),
            "request_id": request_id,
            "request": matched if operation_id else {"kind": "unmatched", "method": _declared_method(method)},
        }
        if details:
            body["details"] = details
        if error.retry_after is not None:
            body["retry_after_seconds"] = error.retry_after
        return {"error": body | error.more}

    def entry_error(self, error: ServiceError) -> Json:
        """Return the error of an entry of a write."""
        if not self.new:
            return {"code": self._former_code(error), "message": error.message}
        code = error.code
        if code not in _CODES_OF_FILES:
            code = "unavailable" if error.status >= 500 else "bad_request"
        body: Json = {"code": code, "message": error.message}
        if code in {"not_found", "conflict"}:
            named = error.details.get("resource")
            body["details"] = {"resource": named if named in _RESOURCES_OF_FILES else "resource"}
        elif code == error.code and error.details:
            body["details"] = error.details
        return body

    def _former_code(self, error: ServiceError) -> str:
        return error.code if error.verbatim else _FORMER_CODES.get(error.code, error.code)

    def codes(self, status: int) -> list[str]:
        """Return the codes that an error with this status can have."""
        table = STATUSES if self.new else FORMER_STATUSES
        return [code for code, its in table.items() if its == status]

    def statuses(self) -> Iterable[int]:
        """Return the statuses of errors."""
        return sorted(set((STATUSES if self.new else FORMER_STATUSES).values()))


def _declared_method(method: str) -> str:
    """Return a method that the document knows: it declares no others for what matches no operation."""
    return method if method in SCHEMAS["HttpMethod"]["enum"] else "GET"


__all__ = ["FORMER", "FORMER_NAMES", "FORMER_STATUSES", "SCHEMAS", "Generation", "Json", "declared", "former"]
