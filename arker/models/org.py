"""The organisation's run list: the platform's record of its requests (contract, sections 4 and 5)."""

from __future__ import annotations

from attrs import field, frozen

from arker.models._page import Page
from arker.models._reply import Reply, declared


@frozen(kw_only=True)
class OrgRunListRow(Reply):
    """One request of the organisation. Its time and id are always present; a ``lite`` list omits many fields.

    Attributes:
        t_ms: Time of the request, in milliseconds since the epoch.
        request_id: The request's id.
        source: Source of the record.
        run_id: The run that the request started; None if it started none.
        vm_id: The VM that the request was for.
        session_id: The session.
        region: The region.
        provider: The provider.
        state: The run's state; None if the request started none, or the server does not report it.
        status: HTTP status of the reply.
        total_ms: Total duration in milliseconds; ``queue_ms`` is the time in a queue, and so on.
        vm_vcpus: CPUs of the VM.
        vm_memory_mib: Memory of the VM, in MiB.
        executor_mem_mb: Memory of the executor, in megabytes (``_mb``).
        path: Path of the request.
        method: HTTP method of the request.
        command: The run's command.
        exit_code: The command's exit code; None if there is none yet.
        api_key_prefix: The first characters of the API key that was used.
        body_bytes_in: Size of the request's body.
        body_bytes_out: Size of the reply's body.
        body_in: The request's body or its beginning. It may contain users' data, so it is not in the repr.
        body_out: The reply's body or its beginning.
    """

    t_ms: int | None = declared()
    request_id: str | None = declared()
    source: str | None = None
    run_id: str | None = None
    vm_id: str | None = None
    session_id: str | None = None
    region: str | None = None
    provider: str | None = None
    state: str | None = None
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
    """A page of the organisation's run list.

    Attributes:
        since: Start of the period, in seconds since the epoch.
        until: End of the period, in seconds since the epoch.
        limit: The requested maximum number of rows.
        offset: Number of skipped rows.
        lite: Whether rows are short.
        rows: The rows, newest first unless another order was requested.
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
