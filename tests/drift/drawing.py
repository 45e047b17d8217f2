"""Plans as hypothesis draws them: several changes at once, but none that forges what no client could know better."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from hypothesis import strategies as st

from tests.drift.changes import (
    CODES,
    ENVELOPES,
    TEXTS,
    Beside,
    Change,
    Enveloped,
    Field,
    Instead,
    Lost,
    Moved,
    Refused,
    Status,
    Text,
    Without,
)
from tests.drift.held import Operation
from tests.drift.operations import OPERATIONS
from tests.drift.plans import ALWAYS, Bent, Interrupted, Plan

_VALUES: Final[list[Any]] = [
    None, 0, 1, -1.5, 2**70, True, False, "", "x", "0", "\ud800", [], [1], ["x"], {}, {"a": 1}, {"code": "x"},
]  # fmt: skip
"""Values of all types, to stand where those of another are expected."""

_NO_TEXTS: Final = [value for value in _VALUES if value.__class__ is not str]
_NO_IDS: Final = [*_NO_TEXTS, "", "\ud800", ".", "a\nb"]
_NO_NUMBERS: Final = [value for value in _VALUES if value.__class__ is not int]
_NO_LISTS: Final = [value for value in _VALUES if value.__class__ is not list and value is not None]

_NOT_NULL: Final = [value for value in _NO_TEXTS if value is not None]
# What a client could not tell from the truth is not drawn: another output, another id, the end of a list.
_FIELDS: Final[dict[str, list[Any]]] = {
    name: values
    for names, values in (
        ("vm_id run_id session_id tunnel_key sync_id mount_id filesystem_id upload_id", _NO_IDS),
        ("content presigned_url url command completed_at", _NO_TEXTS),
        # Null says that there is none.
        ("stdout stderr", _NOT_NULL),
        ("stdout_encoding stderr_encoding", [*_NO_TEXTS, "UTF-8", "utf8", "rot13"]),
        ("exit_code size port", _NO_NUMBERS),
        ("vms runs sessions tunnels syncs mounts filesystems rows regions", _NO_LISTS),
        ("pools workers api_keys", _NO_LISTS),
        ("pool_id worker_id api_key_id key", _NO_TEXTS),
        ("type commitments scopes role last_seen_at", _VALUES),
        ("complete written deleted cancelled resized method expires_in", _VALUES),
        ("created_at started_at state name network resources region", _VALUES),
        ("provider last_active_at public owner_org_id session_idx cwd", _VALUES),
        ("fail_reason results ranges received_bytes path retry_count", _VALUES),
        ("visibility protocol auth_mode live t_ms status", _VALUES),
        ("endpoint platforms org_id org_name root hash_algo entries hash mode truncated", _VALUES),
        ("request_id", [*_NO_TEXTS, ""]),
        ("encoding", _NO_TEXTS),
        ("env", [value for value in _VALUES if value.__class__ is not dict]),
        ("next_cursor", [value for value in _VALUES if value is not None and value != ""]),
    )
    for name in names.split()
}
_VM: Final = (
    "vm_id", "owner_org_id", "created_at", "name", "public", "state", "network", "sessions", "session_id", "resources",
    "region", "provider", "last_active_at",
)  # fmt: skip
_OUTPUT: Final = ("stdout", "stdout_encoding", "stderr", "stderr_encoding")
_SUMMARY: Final = (
    "run_id", "session_id", "command", "state", "started_at", "completed_at", "exit_code", "fail_reason",
)  # fmt: skip
_WRITTEN: Final = ("results", "path", "size", "complete", "written")
_PRESIGNED: Final = ("presigned_url", "expires_in", "method")
_SESSION: Final = ("session_id", "session_idx", "state", "cwd", "env")
_TUNNEL: Final = ("tunnel_key", "url", "port", "state", "vm_id", "visibility", "protocol", "auth_mode")
_SYNC: Final = ("sync_id", "vm_id", "filesystem_id", "path", "created_at", "live")
_MOUNT: Final = ("mount_id", "vm_id", "filesystem_id", "path", "state")
_FILESYSTEM: Final = ("filesystem_id", "name", "owner_org_id", "created_at")
_POOL: Final = ("pool_id", "type", "name", "region", "state", "created_at", "resources", "commitments")
_API_KEY: Final = ("api_key_id", "scopes", "role", "created_at")
_FIELDS_OF: Final[dict[str, tuple[str, ...]]] = {
    "fork": _VM,
    "get_vm": _VM,
    "list_vms": ("vms", "next_cursor", *_VM),
    "delete": ("deleted",),
    "resize": ("resized",),
    "run": (*_OUTPUT, *_OUTPUT, "run_id", "run_id", "session_id", "state", "exit_code", "fail_reason"),
    "get_run": (*_OUTPUT, *_OUTPUT, *_SUMMARY, "retry_count"),
    "list_runs": ("runs", "next_cursor", *_SUMMARY),
    "cancel_run": ("cancelled",),
    "create_session": _SESSION,
    "get_session": _SESSION,
    "list_sessions": ("sessions", "next_cursor", *_SESSION),
    "delete_session": ("deleted",),
    "create_ticket": ("ticket", "expires_in"),
    "create_tunnel": _TUNNEL,
    "get_tunnel": _TUNNEL,
    "list_tunnels": ("tunnels", "next_cursor", *_TUNNEL),
    "delete_tunnel": ("deleted",),
    "create_sync": _SYNC,
    "list_syncs": ("syncs", "next_cursor", *_SYNC),
    "delete_sync": ("deleted",),
    "create_mount": _MOUNT,
    "list_mounts": ("mounts", "next_cursor", *_MOUNT),
    "delete_mount": ("deleted",),
    "update": _VM,
    "regions": ("regions", "provider", "region", "endpoint", "platforms"),
    "whoami": ("org_id", "org_name"),
    "list_pools": ("pools", "next_cursor", *_POOL),
    "create_pool": _POOL,
    "get_pool": _POOL,
    "update_pool": _POOL,
    "delete_pool": _POOL,
    "list_workers": ("workers", "worker_id", "state", "last_seen_at"),
    "list_api-keys": ("api_keys", *_API_KEY),
    "create_api-key": ("key", *_API_KEY),
    "manifest": ("root", "hash_algo", "entries", "truncated", "path", "size", "mode", "hash"),
    "create_filesystem": _FILESYSTEM,
    "get_filesystem": _FILESYSTEM,
    "list_filesystems": ("filesystems", "next_cursor", *_FILESYSTEM),
    "delete_filesystem": ("deleted",),
    "list_org_runs": ("rows", "t_ms", "request_id", "run_id", "session_id", "status", "exit_code"),
    "read": ("size", "content", "encoding", "path", *_PRESIGNED),
    "write": (*_WRITTEN, "received_bytes", "ranges"),
    "presign": (*_WRITTEN, "upload_id", *_PRESIGNED),
    "commit": _WRITTEN,
}
"""What a reply of each operation has, so that most of what is drawn changes something."""
_NEEDED: Final = ("next_cursor", "stdout_encoding", "stderr_encoding")
"""Fields whose absence would say something else than that they are missing."""
_BESIDE: Final[list[dict[str, Any]]] = [
    {"error": None},
    {"code": "created", "message": "made"},
    {"error": {"code": "partial", "message": "not all of it"}},
    {"warnings": [{"code": "x", "message": "y"}]},
    {"misfits": {"a": 1}},
    {"run": {"run_id": "01RUNOTHER", "id": "01RUNOTHER"}},
    {"session": {"session_id": "01SOTHER", "id": "01SOTHER"}},
    {"owner": {"id": "acme"}},
    {"meta": {"vm_id": None}},
    {"data": None},
    {"data": {}},
    {"result": "ok"},
    {"vm": []},
]
_MOVES: Final = [
    ("vm_id", "id"), ("vm_id", "data.id"), ("vm_id", "data.vm_id"), ("vm_id", "vm.id"), ("vm_id", "vm.vm_id"),
    ("run_id", "id"), ("run_id", "data.run_id"), ("run_id", "run.run_id"), ("run_id", "run.id"),
    ("session_id", "id"), ("session_id", "session.session_id"), ("stdout", "output.stdout"),
    ("stdout", "result.stdout"), ("stderr", "output.stderr"), ("exit_code", "output.exit_code"),
    ("content", "data.content"), ("results", "data.results"), ("deleted", "data.deleted"), ("state", "status.state"),
    ("tunnel_key", "key"), ("filesystem_id", "id"), ("sync_id", "mount_id"),
]  # fmt: skip
_STATUSES: Final = [
    300, 302, 303, 307, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 418, 422, 425, 429, 499, 500, 501, 502, 503,
    504, 520, 524, 529,
]  # fmt: skip
_BODIES: Final[list[bytes]] = [
    b"",
    b"<html>error</html>",
    b"upstream connect error or disconnect/reset before headers",
    b'{"message": "Forbidden"}',
    b'{"error": "no"}',
    b'{"errors": [{"code": "not_found", "message": "x"}]}',
    b'{"code": 404, "message": "x"}',
    b'{"error": {"code": "not_found"}}',
    b'{"type": "about:blank", "title": "Conflict", "detail": "d"}',
]
_MORE: Final[list[dict[str, Any]]] = [
    {},
    {"retry_after_seconds": 0},
    {"details": {"retry_after_ms": 1}},
    {"details": {"resource": "vm"}},
    {"recovery": {"work": "unknown"}},
    {"recovery": {"work": "not_started"}},
    {"recovery": {"work": "continuing"}},
]
_DROPS: Final = ["AFTER_PROCESSING", "MID_BODY", "RESET"]


@cache
def _values(operation: str) -> st.SearchStrategy[Change]:
    names = st.sampled_from(_FIELDS_OF[operation])
    moves = [move for move in _MOVES if move[0] in _FIELDS_OF[operation]]
    fields: st.SearchStrategy[Change] = names.flatmap(
        lambda name: st.builds(Field, st.just(name), st.sampled_from(_FIELDS[name]))
    )
    without: st.SearchStrategy[Change] = st.builds(Without, names.filter(lambda name: name not in _NEEDED))
    moved: list[st.SearchStrategy[Change]] = [st.sampled_from(moves).map(lambda move: Moved(*move))] if moves else []
    return st.one_of(
        without,
        fields,
        *moved,
        st.builds(Beside, st.sampled_from(_BESIDE)),
        st.builds(Enveloped, st.sampled_from(ENVELOPES)),
    )


@cache  # making strategies takes longer than drawing of them
def _wholes(operation: str, *, reaches: bool) -> st.SearchStrategy[Change]:
    """Return a strategy of replies that lack what was asked for."""
    proxies = st.builds(Instead, st.sampled_from(_STATUSES), st.sampled_from(_BODIES))
    pages: st.SearchStrategy[Change] = st.just(Instead(200, b"<html>log in</html>"))
    lost: st.SearchStrategy[Change] = st.builds(Lost, st.sampled_from(_DROPS))
    if operation == "through":
        return lost  # whatever else comes is what the VM has said
    if operation not in _FIELDS_OF:
        return st.one_of(lost, proxies)  # what an object store says is no matter of the contract
    # Of what was not asked for, nothing can be said to be gone.
    codes = st.sampled_from(sorted(CODES if reaches else set(CODES) - {"not_found", "expired"}))
    statuses = st.sampled_from([None, None, None, 200, 418, 500])
    refused = st.builds(_refused, codes, statuses, st.sampled_from(_MORE), st.booleans())
    if reaches:
        return st.one_of(lost, proxies, st.just(Status(204)), refused, pages)
    denied = [name for name in ("deleted", "cancelled") if name in _FIELDS_OF[operation]]
    says: list[Change] = [Instead(200, json.dumps({name: False}).encode()) for name in denied]
    return st.one_of(lost, proxies, pages, refused, *([st.sampled_from(says)] if says else []))


def _refused(code: str, status: int | None, more: dict[str, Any], flat: bool) -> Change:
    return Refused(status or CODES[code], code, more, flat)


@st.composite
def _changes(draw: st.DrawFn, operation: str) -> tuple[Change, ...]:
    if operation not in _FIELDS_OF or draw(st.integers(0, 2)) == 0:
        return (draw(_wholes(operation, reaches=True)),)
    changes = draw(st.lists(_values(operation), min_size=1, max_size=4))
    if draw(st.integers(0, 3)) == 3:
        changes.append(Text(draw(st.sampled_from(TEXTS))))
    if draw(st.integers(0, 3)) == 3:
        changes.append(Status(draw(st.sampled_from([200, 201, 202, 203]))))
    return tuple(changes)


@st.composite
def _bents(draw: st.DrawFn, operation: Operation) -> Bent:
    name = draw(st.sampled_from(operation.requests))
    reaches = draw(st.integers(0, 4)) != 4
    changes = draw(_changes(name)) if reaches else (draw(_wholes(name, reaches=False)),)
    times = draw(st.sampled_from([1, 2, 3, 12, ALWAYS]))
    return Bent(name, changes, draw(st.sampled_from([0, 0, 0, 1, 2])), times, reaches)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any plan."""
    operation = draw(st.sampled_from(OPERATIONS))
    bends = draw(st.lists(_bents(operation), max_size=5))
    interrupted = None
    if draw(st.integers(0, 2)) == 2:
        interrupted = Interrupted(draw(st.integers(1, 12)), draw(st.sampled_from(["cancel", "close"])))
    return Plan(
        operation.name,
        tuple(bends),
        knows_keys=draw(st.sampled_from([True, True, True, False])),
        slow=draw(st.booleans()),
        older=draw(st.booleans()),
        presigned=draw(st.booleans()),
        interrupted=interrupted,
    )


__all__ = ["plans"]
