"""Runs of a VM, and those of an organisation."""

from __future__ import annotations

from typing import Final

from tests.generations.schemas.notation import (
    BOOLEAN,
    MAYBE_BOOLEAN,
    MAYBE_COUNT,
    MAYBE_TEXT,
    NUMBER,
    TEXT,
    UINT32,
    Schemas,
    closed,
    either,
    integer,
    one_of,
    or_null,
    page,
    ref,
    some,
)

_INTEGER: Final = integer()
_MAYBE_INTEGER: Final = or_null(_INTEGER)
_OUTPUT: Final = {
    "stdout*": TEXT,
    "stdout_encoding*": ref("OutputEncoding"),
    "stderr*": TEXT,
    "stderr_encoding*": ref("OutputEncoding"),
}
_CONTEXT: Final = {
    "vm_id": MAYBE_TEXT,
    "vm_name": MAYBE_TEXT,
    "source_org_id": MAYBE_TEXT,
    "region": MAYBE_TEXT,
    "provider": or_null(ref("Provider")),
}
_SUMMARY: Final = {
    "run_id*": TEXT,
    "session_id": MAYBE_TEXT,
    "command": MAYBE_TEXT,
    "state*": ref("RunState"),
    "started_at*": TEXT,
    "completed_at": MAYBE_TEXT,
    "exit_code*": _MAYBE_INTEGER,
    "fail_reason": MAYBE_TEXT,
    **_CONTEXT,
}

RUNS: Final[Schemas] = {
    "RunState": one_of("pending", "running", "completed", "failed", "cancelled"),
    "OutputEncoding": one_of("utf-8", "base64"),
    "RunRequest": closed(
        {
            "session_id": MAYBE_TEXT,
            "session_idx": or_null(integer(0, UINT32)),
            "command": TEXT,
            "timeout": MAYBE_COUNT,
            "time_to_background": or_null(integer(0, 300)),
            "background": MAYBE_BOOLEAN,
            "queueing_timeout": MAYBE_COUNT,
            "end_symbol": MAYBE_TEXT,
            "signal": one_of("SIGINT", "SIGTERM", "SIGKILL", "SIGHUP", None),
            "policies": or_null(ref("PolicyUpdate")),
        }
    ),
    "RunResponse": either(ref("CompletedRunResponse"), ref("BackgroundRunResponse")),
    "CompletedRunResponse": closed(
        {
            "session_id": MAYBE_TEXT,
            "run_id": MAYBE_TEXT,
            "state": TEXT,
            **_OUTPUT,
            "exit_code*": _MAYBE_INTEGER,
        }
    ),
    "BackgroundRunResponse": closed({"session_id": MAYBE_TEXT, "run_id*": TEXT, "state": TEXT}),
    "Run": closed({**_SUMMARY, **_OUTPUT, "retry_count": integer(0)}),
    "RunSummary": closed(_SUMMARY),
    "ListRunsResponse": page("runs", "RunSummary"),
    "CancelRunResponse": closed({"cancelled*": BOOLEAN}),
    "OrgRunListRow": closed(
        {
            "source": TEXT,
            "t_ms*": _INTEGER,
            "request_id*": TEXT,
            "run_id*": TEXT,
            "vm_id*": TEXT,
            "session_id*": TEXT,
            "region*": TEXT,
            "provider*": ref("Provider"),
            "status*": _INTEGER,
            "total_ms*": NUMBER,
            "queue_ms*": NUMBER,
            "executor_duration_ms*": _INTEGER,
            "executor_kind*": TEXT,
            "executor_cpu_ms*": _INTEGER,
            "executor_mem_mb*": _INTEGER,
            "vm_vcpus*": _INTEGER,
            "vm_memory_mib*": _INTEGER,
            "path*": TEXT,
            "method*": TEXT,
            "command*": TEXT,
            "source_vm_id*": TEXT,
            "exit_code*": _MAYBE_INTEGER,
            "endpoint*": TEXT,
            "api_key_prefix*": TEXT,
            "body_bytes_in*": _INTEGER,
            "body_bytes_out*": _INTEGER,
            "body_in*": TEXT,
            "body_out*": TEXT,
            "state": ref("RunState"),
        }
    ),
    "ListOrgRunsResponse": closed(
        {
            "since*": _INTEGER,
            "until*": _INTEGER,
            "limit*": _INTEGER,
            "offset*": _INTEGER,
            "lite*": BOOLEAN,
            "rows*": some(ref("OrgRunListRow")),
        }
    ),
}
