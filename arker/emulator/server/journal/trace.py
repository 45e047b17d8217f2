"""The record of an organisation's requests, in memory and bounded: the rows of its run list (contract, section 4).

Each request carries a `Trace`, in which the server's parts note what they know. Everything that takes time (decoding,
redaction, timestamps) happens when the list is read.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from aiohttp import web
from attrs import define, field

BODY_BOUND: Final = 2048
"""Bytes that are kept of a body."""
SOURCE: Final = "emulator"

# A value that was cut off has no closing quote.
_SECRETS: Final = re.compile(rb'("(?:auth_token|presigned_url|password)"\s*:\s*")(?:[^"\\]|\\.)+')
_SECRETS_OF_POLICIES: Final = re.compile(rb'("secrets"\s*:\s*\{)(?:"(?:[^"\\]|\\.)*"?|[^"}])*')


_BLANK: Final[dict[str, Any]] = {
    **dict.fromkeys(
        ("run_id", "vm_id", "session_id", "region", "provider", "executor_kind", "command", "source_vm_id"), ""
    ),
    **dict.fromkeys(("body_in", "body_out"), ""),
    **dict.fromkeys(("executor_duration_ms", "executor_cpu_ms", "executor_mem_mb", "vm_vcpus", "vm_memory_mib"), 0),
    "exit_code": None,
}
"""What a row has instead of what is not known, where it has to have every member."""


@define(eq=False, kw_only=True)
class Shaping:
    """The treatment of the bodies of a request.

    Attributes:
        rate: Bytes per second, in each direction.
        fraction: How much of the body passes before the connection ends.
        discard: The reply is not sent: a fault handles the request instead.
        hold: Awaited once before a reply is sent.
        sent: The status of a reply that was cut short while it was being sent; 0 when there was none.
    """

    rate: float | None = None
    fraction: float | None = None
    discard: bool = False
    hold: Callable[[], Awaitable[None]] | None = None
    sent: int = 0

    async def held(self) -> None:
        hold, self.hold = self.hold, None
        if hold is not None:
            await hold()


@define(eq=False, kw_only=True)
class RequestRecord:
    """A `RequestEntry` whose last fields may become known later: work can continue after its connection was cut."""

    seq: int
    request_id: str
    t_ms: int
    method: str
    path: str
    operation: str | None
    status: int
    total_ms: float
    idempotency_key: str | None
    vm_id: str | None
    run_id: str | None
    fault_id: str | None
    fault_ids: tuple[str, ...]
    processed: bool


class Requester(Protocol):
    """An organisation whose requests become rows."""

    @property
    def requests(self) -> deque[Trace]: ...


class NotedVm(Protocol):
    """The noted data of a VM."""

    @property
    def vm_id(self) -> str: ...

    @property
    def name(self) -> str | None: ...

    @property
    def provider(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def vcpu_count(self) -> int: ...

    @property
    def memory_mib(self) -> int: ...


class NotedSession(Protocol):
    """The noted data of a session."""

    @property
    def session_id(self) -> str: ...


class NotedRun(Protocol):
    """The noted data of a run."""

    @property
    def run_id(self) -> str: ...

    @property
    def session(self) -> NotedSession: ...

    @property
    def command(self) -> str: ...

    @property
    def exit_code(self) -> int | None: ...

    @property
    def accepted_at(self) -> float: ...

    @property
    def launched_at(self) -> float | None: ...

    @property
    def ended_at(self) -> float | None: ...


@define(eq=False, kw_only=True)
class Trace:
    """A request: at first while it is being served, then as a row."""

    request_id: str
    t_ms: int
    begin: float = field(factory=time.perf_counter)
    org: Requester | None = field(default=None, repr=False)
    operation: str = ""
    operation_id: str | None = None
    """What generation 1 calls the operation."""
    method: str = ""
    path: str = ""
    status: int = 0
    total_ms: float = 0.0
    vm_id: str | None = None
    vm_name: str | None = None
    provider: str | None = None
    region: str | None = None
    vm_vcpus: int | None = None
    vm_memory_mib: int | None = None
    source_vm_id: str | None = None
    run_id: str | None = None
    session_id: str | None = None
    command: str | None = None
    exit_code: int | None = None
    queue_ms: float = 0.0
    executor_duration_ms: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    body_in: bytes = field(default=b"", repr=False)
    body_out: bytes = field(default=b"", repr=False)
    processed: bool = False
    """Whether the operation was carried out, whether or not it succeeded."""
    shaping: Shaping | None = field(default=None, repr=False)
    """The faults' treatment of its bodies."""
    record: RequestRecord | None = field(default=None, repr=False)
    """Its entry in the journal of all requests, once its outcome is settled."""

    def note_vm(self, vm: NotedVm) -> None:
        self.vm_id, self.vm_name, self.provider, self.region = vm.vm_id, vm.name, vm.provider, vm.region
        self.vm_vcpus, self.vm_memory_mib = vm.vcpu_count, vm.memory_mib

    def note_body(self, raw: bytes) -> None:
        self.bytes_in, self.body_in = len(raw), raw[:BODY_BOUND]

    def forget_body(self) -> None:
        """Keep nothing of the request's body, in which there is a secret."""
        self.body_in = b""

    def note_run(self, run: NotedRun) -> None:
        """Note what is known of a run. It is called again once the run has ended."""
        self.run_id, self.session_id = run.run_id, run.session.session_id
        self.command, self.exit_code = run.command[:BODY_BOUND], run.exit_code
        if run.launched_at is not None:
            self.queue_ms = (run.launched_at - run.accepted_at) * 1000
            if run.ended_at is not None:
                self.executor_duration_ms = (run.ended_at - run.launched_at) * 1000

    def finish(self, response: web.StreamResponse) -> None:
        """Finish the trace with the reply. A request of a known organisation becomes a row of it."""
        org, self.org = self.org, None
        if org is None:
            return
        self.status = response.status
        self.total_ms = (time.perf_counter() - self.begin) * 1000
        body = response.body if isinstance(response, web.Response) else None
        if isinstance(body, (bytes, bytearray)):
            self.bytes_out, self.body_out = len(body), bytes(body[:BODY_BOUND])
        else:
            self.bytes_out = response.content_length or 0
        org.requests.append(self)

    def row(self, *, key_prefix: str, runtime: str, lite: bool, gaps: bool) -> dict[str, Any]:
        """Return the row as JSON. Members without a value are left out, or blank where there are to be no gaps."""
        row: dict[str, Any] = {
            "source": SOURCE,
            "t_ms": self.t_ms,
            "request_id": self.request_id,
            "run_id": self.run_id,
            "vm_id": self.vm_id,
            "session_id": self.session_id,
            "region": self.region,
            "status": self.status,
            "total_ms": round(self.total_ms, 3),
            "queue_ms": round(self.queue_ms, 3),
            # The server and what executes are one machine: there is no call between them.
            "lambda_call_ms": 0.0,
            "executor_duration_ms": None if self.executor_duration_ms is None else round(self.executor_duration_ms, 3),
            "executor_kind": None if self.run_id is None else runtime,
            "vm_vcpus": self.vm_vcpus,
            "vm_memory_mib": self.vm_memory_mib,
            "path": self.path,
            "method": self.method,
            "command": self.command,
            "source_vm_id": self.source_vm_id,
            "exit_code": self.exit_code,
            "endpoint": self.operation,
            "api_key_prefix": key_prefix,
            "body_bytes_in": self.bytes_in,
            "body_bytes_out": self.bytes_out,
        }
        if not lite:
            row["body_in"] = _shown(self.body_in)
            row["body_out"] = _shown(self.body_out)
        if not gaps:
            if self.executor_duration_ms is not None:
                row["executor_duration_ms"] = int(self.executor_duration_ms)
            row["provider"] = self.provider
            return {**_BLANK, **{name: value for name, value in row.items() if value is not None}}
        return {name: value for name, value in row.items() if value is not None}

    def holds(self, text: str) -> bool:
        """Return whether a lower-case text occurs in what was sent, done or answered."""
        fields = (self.request_id, self.vm_id, self.vm_name, self.session_id, self.run_id, self.path, self.command)
        return any(value is not None and text in value.lower() for value in fields) or any(
            text in _shown(body).lower() for body in (self.body_in, self.body_out)
        )


def _shown(body: bytes) -> str:
    """Return a body without its secrets. Some of them are shown in one reply only."""
    shown = _SECRETS.sub(rb"\1(not shown)", body)
    return _SECRETS_OF_POLICIES.sub(rb"\1(not shown)", shown).decode("utf-8", "replace")


# Typed keys came with aiohttp 3.14, which warns of others.
_KEY: Final[Any] = web.RequestKey("trace", Trace) if hasattr(web, "RequestKey") else "trace"


def attach(request: web.Request, trace: Trace) -> Trace:
    request[_KEY] = trace
    return trace


def trace_of(request: web.Request) -> Trace:
    """Return the trace of a request that is being served."""
    trace: Trace = request[_KEY]
    return trace


__all__ = ["SOURCE", "NotedRun", "NotedVm", "RequestRecord", "Requester", "Shaping", "Trace", "attach", "trace_of"]
