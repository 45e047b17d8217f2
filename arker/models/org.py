"""The organisation's run list: what its requests did, as the platform recorded it (contract, sections 4 and 5)."""

from __future__ import annotations

from attrs import field, frozen

from arker.models._page import Page
from arker.models._reply import Reply, declared


@frozen(kw_only=True)
class OrgRunListRow(Reply):
    """One request of the organisation. Its time and id are always there; a ``lite`` list leaves much out.

    Attributes:
        t_ms: When it came, in milliseconds since the epoch.
        request_id: Its id.
        source: Where the record comes from.
        run_id: The run that it started, if it did.
        vm_id: The VM that it was for.
        session_id: The session.
        region: The region.
        status: HTTP status of the answer.
        total_ms: Milliseconds in all, of which in a queue (``queue_ms``), and so on.
        vm_vcpus: CPUs of the VM.
        vm_memory_mib: Memory of the VM, in MiB.
        executor_mem_mb: Memory of the executor, in megabytes (``_mb``).
        path: Path of the request.
        method: HTTP method of the request.
        command: The command that was run.
        exit_code: Its exit code, None while there is none.
        api_key_prefix: The first characters of the API key that was used.
        body_bytes_in: Size of the request's body.
        body_bytes_out: Size of the answer's body.
        body_in: The request's body, or its beginning. May hold what users sent, so it is not in the repr.
        body_out: The answer's body, or its beginning.
    """

    t_ms: int | None = declared()
    request_id: str | None = declared()
    source: str | None = None
    run_id: str | None = None
    vm_id: str | None = None
    session_id: str | None = None
    region: str | None = None
    status: int | None = None
    total_ms: float | None = None
    queue_ms: float | None = None
    lambda_call_ms: float | None = None
    lambda_duration_ms: float | None = None
    executor_duration_ms: float | None = None
    executor_kind: str | None = None
    executor_cpu_ms: float | None = None
    executor_mem_mb: float | None = None
    lambda_cpu_ms: float | None = None
    lambda_mem_mb: float | None = None
    vm_vcpus: float | None = None
    vm_memory_mib: float | None = None
    path: str | None = None
    method: str | None = None
    command: str | None = None
    source_vm_id: str | None = None
    exit_code: int | None = None
    endpoint: str | None = None
    api_key_prefix: str | None = None
    body_bytes_in: int | None = None
    body_bytes_out: int | None = None
    body_in: str | None = field(default=None, repr=False)
    body_out: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class ListOrgRunsResponse(Page[OrgRunListRow], Reply):
    """A part of the organisation's run list.

    Attributes:
        since: Begin of the time that was looked at, in seconds since the epoch.
        until: Its end.
        limit: Rows that were asked for at most.
        offset: Rows that were left out before them.
        lite: Whether rows are short.
        rows: The rows, newest first unless another order was asked for.
    """

    since: int | None = None
    until: int | None = None
    limit: int | None = None
    offset: int | None = None
    lite: bool | None = None
    rows: tuple[OrgRunListRow, ...]

    def _items(self) -> tuple[OrgRunListRow, ...]:
        return self.rows


__all__ = ["ListOrgRunsResponse", "OrgRunListRow"]
