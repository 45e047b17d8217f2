"""Calls on runs: post, read, list and cancel them (contract, section 5)."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, fields, frozen

from arker import models
from arker._protocol import routes
from arker._protocol.address import Address
from arker._protocol.calls.shared import acknowledging, get, into
from arker._protocol.codec import codec
from arker._protocol.codec.hooks import Misfit
from arker._protocol.forms import lack_of
from arker._protocol.queries import PageQuery, Query, checked, choice, integer, limit, text
from arker._protocol.reader import Reader, is_usable_id
from arker._protocol.request import Call, Lack, Request
from arker.models import _checks as check

if TYPE_CHECKING:
    from arker.models import (
        CancelRunResponse,
        ListOrgRunsResponse,
        ListRunsResponse,
        Run,
        RunRequest,
        RunResult,
    )


@frozen(kw_only=True)
class RunsQuery(PageQuery):
    """The query of a VM's runs."""

    state: str | Sequence[str] | None = choice()
    started_after: str | None = text()
    started_before: str | None = text()
    completed_after: str | None = text()


@frozen(kw_only=True)
class OrgRunsQuery(Query):
    """The query of the organisation's runs."""

    since: int | None = integer()
    until: int | None = integer()
    vm: str | None = text()
    vm_ids: Sequence[str] | None = choice(wire="vms")
    region: str | None = text()
    provider: str | None = text()
    source: str | None = text()
    search: str | None = text()
    limit: int | None = limit()
    offset: int | None = integer()
    lite: bool | None = checked(check.check_boolean)
    runtime: str | None = text()
    endpoint: str | None = text()
    actions: str | Sequence[str] | None = choice()
    status: int | str | Sequence[int | str] | None = checked(check.query_statuses)
    status_min: int | None = integer()
    status_max: int | None = integer()
    sort: str | None = text()
    dir: str | None = checked(lambda name, value: check.check_one_of(name, value, ("asc", "desc")))


_RESIZE: Final = "vm.resize() changes the VM's size"
_WARM: Final = "the service starts and suspends VMs by itself"
_EARLIER_OF_RUN: Final = {
    "vcpu_count": _RESIZE,
    "memory_mib": _RESIZE,
    "disk_mib": _RESIZE,
    "network": "a port is reached at the VM's hostname, see AsyncVM.hostname",
    "acquire": _WARM,
    "release": _WARM,
}
_TODAYS_OF_RUN: Final = {
    "time_to_background": "start it with vm.start(), and wait as long as you like",
    "queueing_timeout": "repeat the run after a ResourcePressureError or UnavailableError",
}

_differing: Final = attrgetter(*_EARLIER_OF_RUN, *_TODAYS_OF_RUN)
"""Returns what one of the generations lacks of a request; nearly all requests have nothing of it."""
_NONE_GIVEN: Final = (None,) * (len(_EARLIER_OF_RUN) + len(_TODAYS_OF_RUN))


def run(
    at: Address, request: RunRequest, key: str, probe: Callable[[bool], Awaitable[None]] | None = None
) -> Call[RunResult]:
    """Run a command. A foreground run, too, may be answered by a `BackgroundRunResult`."""
    lack = None if _differing(request) == _NONE_GIVEN else lack_of("vm.run", request, _EARLIER_OF_RUN, _TODAYS_OF_RUN)
    call = Call(
        "vm.run",
        _posted(at, request, key),
        _run_result,
        evidence=_RUN,
        probe=probe,
        vm_id=at.vm_id,
        lack=lack,
    )
    has_fraction = isinstance(request.timeout, float)
    if (lack is None and not has_fraction) or (lack is not None and lack.generation == "1"):
        return call
    if has_fraction:
        # Generation 1 takes whole seconds.
        request = evolve(request, timeout=float(math.ceil(request.timeout or 0.0)))
    today = evolve(call, request=_posted(at, request, key), earlier=call if lack is None else None)
    if request.queueing_timeout is None:
        return today
    rest = request

    def remade(left: int) -> Request:
        return _posted(at, evolve(rest, queueing_timeout=left), key)

    return evolve(today, patience=float(request.queueing_timeout), remade=remade)


def _posted(at: Address, request: RunRequest, key: str) -> Request:
    return Request(
        "POST",
        at.base_url,
        routes.runs(at.vm_id),
        body=_body_of(request),
        idempotency_key=key,
        awaits_work=request.background is None and request.time_to_background != 0,
    )


def _body_of(request: RunRequest) -> bytes:
    # Most runs have only a command, which is found out more quickly than what cattrs makes of all that is absent.
    others, nothing = _beside_the_command()
    return codec.dumps_plain({"command": request.command}) if others(request) == nothing else codec.dumps(request)


@cache
def _beside_the_command() -> tuple[Callable[[RunRequest], tuple[object, ...]], tuple[None, ...]]:
    names = [each.name for each in fields(models.RunRequest) if each.name != "command"]
    return attrgetter(*names), (None,) * len(names)


_RUN: Final = ("stdout", "stderr", "state")


def _run_result(payload: dict[str, Any], reader: Reader) -> RunResult:
    if isinstance(payload.get("stdout"), str) or (not reader.strict and isinstance(payload.get("stderr"), str)):
        # An absent output does not mean that there is none: the run itself is read, if that is possible.
        whole = "stdout" in payload and "stderr" in payload
        if whole or reader.strict or not is_usable_id(payload.get("run_id")):
            result = reader.structure(payload, models.CompletedRunResult)
            # Generation 1 says by a negative exit code that a run failed.
            failed = result.exit_code is not None and result.exit_code < 0 and result.state == "completed"
            return evolve(result, state="failed") if failed else result
    if is_usable_id(payload.get("run_id")):
        return reader.structure(payload, models.BackgroundRunResult)
    raise Misfit("has neither a string stdout (a completed run) nor a string run_id (a background run)", "$")


def get_run(at: Address, run_id: str) -> Call[Run]:
    def decode(payload: dict[str, Any], reader: Reader) -> Run:
        # The run's id is known, even if the reply does not contain it.
        named = payload if reader.strict or is_usable_id(payload.get("run_id")) else {**payload, "run_id": run_id}
        return reader.structure(named, models.Run)

    request = Request("GET", at.base_url, routes.run(at.vm_id, run_id))
    return Call("vm.get_run", request, decode, evidence=_RUN, vm_id=at.vm_id, run_id=run_id)


def list_runs(at: Address, query: RunsQuery, *, lack: Lack | None = None) -> Call[ListRunsResponse]:
    """List a VM's runs.

    Args:
        at: The VM.
        query: The query.
        lack: What `lack_of_pending` says of the query, unless that does not matter.
    """
    return Call(
        "vm.list_runs",
        Request("GET", at.base_url, routes.runs(at.vm_id), query.encoded()),
        into(models.ListRunsResponse),
        evidence=("runs",),
        vm_id=at.vm_id,
        lack=lack,
    )


def cancel_run(at: Address, run_id: str) -> Call[CancelRunResponse]:
    return Call(
        "vm.cancel_run",
        Request("DELETE", at.base_url, routes.run(at.vm_id, run_id)),
        acknowledging(models.CancelRunResponse, "cancelled"),
        gone=models.CancelRunResponse(cancelled=True),
        evidence=("cancelled",),
        acknowledged=True,
        vm_id=at.vm_id,
        run_id=run_id,
    )


def list_org_runs(control_base_url: str, query: OrgRunsQuery) -> Call[ListOrgRunsResponse]:
    call = get("list_runs", control_base_url, routes.ORG_RUNS, models.ListOrgRunsResponse, ("rows",), query)
    lack = lack_of("list_runs", query, _EARLIER_FILTERS, {})
    return call if lack is None else evolve(call, lack=lack)


_BY_ROW: Final = "filter the rows that you get"
_EARLIER_FILTERS: Final = {"region": _BY_ROW, "provider": _BY_ROW, "source": _BY_ROW}


__all__ = ["OrgRunsQuery", "RunsQuery", "cancel_run", "get_run", "list_org_runs", "list_runs", "run"]
