"""The organisation's run list (contract, section 5): its remembered requests, filtered and sorted.

Where the contract is silent: every authenticated request is a row; ``since`` is inclusive, ``until`` exclusive,
and without them the list is all that is remembered; ``endpoint`` is an operation's name (``run``, ``fork``, as in the
OpenAPI document) and ``actions`` are some of these; ``runtime`` is what executes, ``bubblewrap`` or ``none``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from aiohttp import web

from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import invalid
from arker.emulator.server.journal.trace import SOURCE, Trace
from arker.emulator.server.records import Organisation

SORTABLE: Final[Mapping[str, str]] = {
    "t_ms": "t_ms",
    "total_ms": "total_ms",
    "queue_ms": "queue_ms",
    "executor_duration_ms": "executor_duration_ms",
    "status": "status",
    "exit_code": "exit_code",
    "body_bytes_in": "bytes_in",
    "body_bytes_out": "bytes_out",
    "vm_id": "vm_id",
    "run_id": "run_id",
    "session_id": "session_id",
    "command": "command",
    "endpoint": "operation",
    "method": "method",
    "path": "path",
}
"""The sort keys of the list, and their attributes of a `Trace`."""

SORTS: Final[Mapping[str, str]] = {
    "when": "t_ms",
    "status": "status",
    "path": "path",
    "total": "total_ms",
    "queue": "queue_ms",
    "your_code": "executor_duration_ms",
    "runtime": "executor_duration_ms",
}
"""Those of generation 1. All rows have one runtime, so its order is that of what ran."""
_LITE_MAXIMUM: Final = 20_000

_Query = Mapping[str, str]
_Test = Callable[[Trace], bool]


def _number(query: _Query, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise invalid(name, "an integer of at least 0, with at most 12 digits")
    return int(text)


def _numbers(query: _Query, name: str) -> set[int] | None:
    """Parse several numbers, joined by commas."""
    texts = parsing.query_choices(query, name)
    if texts is None:
        return None
    if not all(re.fullmatch(r"[0-9]{1,12}", text) for text in texts):
        raise invalid(name, "integers of at least 0, with at most 12 digits, joined by commas")
    return {int(text) for text in texts}


def _text(query: _Query, name: str) -> str | None:
    text = query.get(name)
    if text is not None and not text.strip():
        raise invalid(name, "a value")
    return text


def _choice(query: _Query, name: str, allowed: tuple[str, ...], default: str) -> str:
    text = query.get(name, default)
    if text not in allowed:
        raise invalid(name, f"one of {', '.join(allowed)}")
    return text


def _tests(org: Organisation, query: _Query, runtime: str) -> list[_Test]:
    """Return one test for each given filter."""
    tests: list[_Test] = []

    def equal(name: str, value: Callable[[Trace], Any], wanted: object) -> None:
        if wanted is not None:
            tests.append(lambda row: value(row) == wanted)

    vm, vm_ids = _text(query, "vm"), parsing.query_choices(query, "vms")
    if vm is not None:
        # The VM may have been deleted since, and its name with it.
        known = org.find(vm)
        reference = vm if known is None else known.vm_id
        tests.append(lambda row: reference in (row.vm_id, row.vm_name))
    if vm_ids is not None:
        tests.append(lambda row: row.vm_id in vm_ids)
    equal("region", lambda row: row.region, _text(query, "region"))
    equal("provider", lambda row: row.provider, _text(query, "provider"))
    equal("source", lambda _: SOURCE, _text(query, "source"))
    equal("runtime", lambda row: None if row.run_id is None else runtime, _text(query, "runtime"))
    equal("endpoint", lambda row: row.operation, _text(query, "endpoint"))
    actions = parsing.query_choices(query, "actions")
    if actions is not None:
        tests.append(lambda row: row.operation in actions)
    statuses = _numbers(query, "status")
    if statuses is not None:
        tests.append(lambda row: row.status in statuses)
    low, high = _number(query, "status_min"), _number(query, "status_max")
    if low is not None:
        tests.append(lambda row: row.status >= low)
    if high is not None:
        tests.append(lambda row: row.status <= high)
    search = _text(query, "search")
    if search is not None:  # the most expensive test comes last
        wanted = search.lower()
        tests.append(lambda row: row.holds(wanted))
    return tests


def _sorted(rows: list[Trace], field: str, descending: bool) -> list[Trace]:
    """Sort the rows. Rows without the field come last, in either direction."""
    value = attrgetter(field)
    have = [row for row in rows if value(row) is not None]
    have.sort(key=value, reverse=descending)
    return have + [row for row in rows if value(row) is None]


def _settle(org: Organisation, row: Trace) -> None:
    """Update the row of a background run that may have ended since."""
    if row.run_id is not None and row.executor_duration_ms is None and row.vm_id is not None:
        vm = org.vms.get(row.vm_id)
        run = None if vm is None else vm.runs.get(row.run_id)
        if run is not None:
            row.note_run(run)


async def list_org_runs(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    query = request.query
    runtime = backend.provider.name
    tests = _tests(org, query, runtime)
    since, until = _number(query, "since") or 0, _number(query, "until")
    if until is None:
        until = backend.clock.now_ms() // 1000 + 1  # the current second is not over
    lite = parsing.query_boolean(query, "lite") or False
    most = backend.generation.most_rows or parsing.PAGE_MAXIMUM
    if lite and backend.generation.new:
        most = _LITE_MAXIMUM
    limit, offset = parsing.query_limit(backend, query, most), _number(query, "offset") or 0
    fields = {**SORTABLE, **SORTS}
    field = fields[_choice(query, "sort", tuple(fields), "t_ms")]
    descending = _choice(query, "dir", ("asc", "desc"), "desc") == "desc"
    begin, end = since * 1000, until * 1000
    # Newest first, in order of arrival, even for requests of the same millisecond.
    rows = [row for row in reversed(org.requests) if begin <= row.t_ms < end]
    for row in rows:
        _settle(org, row)
    rows = [row for row in rows if all(test(row) for test in tests)]
    if not (field == "t_ms" and descending):
        rows = _sorted(rows, field, descending)
    return replies.json_response(
        {
            "since": since,
            "until": until,
            "limit": limit,
            "offset": offset,
            "lite": lite,
            "rows": [
                backend.generation.show(
                    "OrgRunListRow",
                    row.row(key_prefix=org.key_prefix, runtime=runtime, lite=lite, gaps=not backend.generation.new),
                )
                for row in rows[offset : offset + limit]
            ],
        }
    )


__all__ = ["SORTABLE", "list_org_runs"]
