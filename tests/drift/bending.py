"""What may become of a reply on its way through the years, and through proxies: functions from one reply to another."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs
from attrs import frozen
from hypothesis import strategies as st

from arker._protocol.codec.hooks import is_array, is_object
from tests.drift.service import error_body
from tests.support.server import Drop, Reply


@frozen
class Bend:
    """A way to change a reply.

    Attributes:
        what: Its name.
        do: Makes another reply of one.
        refuses: Whether the result is a refusal in the contract's own words, which a client has to believe.
        forges: Whether it takes the content out of the reply, or puts another in its place.
    """

    what: str
    do: Callable[[Reply], Reply]
    refuses: bool = False
    forges: bool = False


def _body(change: Callable[[Any], Any]) -> Callable[[Reply], Reply]:
    def do(reply: Reply) -> Reply:
        return attrs.evolve(reply, body=json.dumps(change(json.loads(reply.body))).encode())

    return do


_VALUES: Final = [None, 0, 1, -1.5, "", "x", "0", True, False, [], {}, [1], {"a": 1}, ["x"], 2**70, "\ud800"]
"""Values of all types, to stand where those of another are expected."""


def _with(name: str, value: Any) -> Callable[[Any], Any]:
    def change(body: Any) -> Any:
        if not is_object(body):
            return body
        if name in body or name.startswith("new_"):
            return {**body, name: value}
        # Perhaps it is a member of what is inside, such as the rows of a list.
        return {key: _inside(inner, name, value) for key, inner in body.items()}

    return change


def _inside(inner: Any, name: str, value: Any) -> Any:
    if is_array(inner):
        return [{**row, name: value} if is_object(row) and name in row else row for row in inner]
    return {**inner, name: value} if is_object(inner) and name in inner else inner


def _without(name: str) -> Callable[[Any], Any]:
    def change(body: Any) -> Any:
        if not is_object(body):
            return body
        kept = {key: inner for key, inner in body.items() if key != name}
        return {
            key: [{k: v for k, v in row.items() if k != name} if is_object(row) else row for row in inner]
            if is_array(inner)
            else inner
            for key, inner in kept.items()
        }

    return change


FIELDS: Final = [
    "vm_id", "owner_org_id", "created_at", "name", "public", "state", "network", "sessions", "resources", "region",
    "provider", "last_active_at", "run_id", "session_id", "command", "started_at", "completed_at", "exit_code",
    "stdout", "stdout_encoding", "stderr", "stderr_encoding", "fail_reason", "cwd", "env", "session_idx", "size",
    "content", "encoding", "path", "results", "complete", "written", "ranges", "received_bytes", "vms", "runs",
    "next_cursor", "rows", "t_ms", "request_id", "deleted", "cancelled", "filesystem_id", "filesystems",
    "new_member",
]  # fmt: skip

_TEXTS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "NaN": lambda body: body[:-1] + b', "load": NaN}',
    "lone surrogate": lambda body: body[:-1] + b', "note": "\\ud800"}',
    "no UTF-8": lambda body: body[:-1] + b', "note": "\xff"}',
    "more digits than fit": lambda body: body[:-1] + b', "quota": ' + b"9" * 5000 + b"}",
    "something behind it": lambda body: body + b"\n{}\n",
    "cut": lambda body: body[: len(body) * 2 // 3],
    "empty": lambda _: b"",
    "HTML": lambda _: b"<html><body>welcome</body></html>",
    "text": lambda _: b"OK",
    "null": lambda _: b"null",
    "a number": lambda _: b"7",
}
_ENVELOPES: Final[dict[str, Callable[[Any], Any]]] = {
    "data": lambda body: {"data": body},
    "vm": lambda body: {"vm": body},
    "result": lambda body: {"result": body, "meta": {}},
    "a list": lambda body: [body],
    "data, a list": lambda body: {"data": [body]},
}
_BESIDE: Final[list[dict[str, Any]]] = [
    {"error": None},
    {"code": "created", "message": "made"},
    {"error": {"code": "partial", "message": "not all of it"}},
    {"warnings": [{"code": "x", "message": "y"}]},
    {"misfits": {"a": 1}},
]
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
_CODES: Final = [
    ("bad_request", 400), ("forbidden", 403), ("not_found", 404), ("conflict", 409), ("expired", 410),
    ("quota_exceeded", 429), ("rate_limited", 429), ("unavailable", 503), ("capacity_unavailable", 503),
    ("internal", 500), ("gateway_timeout", 504), ("operation_failed", 422), ("new_code", 418),
]  # fmt: skip


def _error(code: str, status: int, more: dict[str, Any], *, flat: bool) -> Bend:
    nested = error_body(code, "said", **more)
    body = json.dumps(nested["error"] if flat else nested).encode()
    headers = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
    refuses = 400 <= status < 500 or status == 503
    return Bend(f"{status} {code}", lambda _: Reply(status=status, body=body, headers=headers), refuses)


def _field(name: str, value: Any) -> Bend:
    return Bend(f"{name}={value!r}", _body(_with(name, value)), forges=name in _CONTENT)


def _missing(name: str) -> Bend:
    return Bend(f"without {name}", _body(_without(name)), forges=name in _CONTENT)


_CONTENT: Final = ("stdout", "content")


def _enveloped(name: str) -> Bend:
    return Bend(f"in {name}", _body(_ENVELOPES[name]))


def _accompanied(beside: dict[str, Any]) -> Bend:
    def change(body: Any) -> Any:
        return {**body, **beside}

    return Bend(f"with {beside}", _body(change))


def _worded(name: str) -> Bend:
    return Bend(name, lambda reply: attrs.evolve(reply, body=_TEXTS[name](reply.body)))


def _with_status(status: int) -> Bend:
    return Bend(f"status {status}", lambda reply: attrs.evolve(reply, status=status))


def _of_a_proxy(status: int, body: bytes) -> Bend:
    return Bend(f"{status} {body!r}", lambda _: Reply(status=status, body=body, headers={"Location": "/x"}))


def _refused(pair: tuple[str, int], more: dict[str, Any], flat: bool) -> Bend:
    return _error(pair[0], pair[1], more, flat=flat)


def _dropped(drop: Drop) -> Bend:
    return Bend(drop.name, lambda reply: Reply(drop=drop, body=reply.body))


def bends() -> st.SearchStrategy[Bend]:
    """All ways to change a reply, one at a time."""
    fields = st.sampled_from(FIELDS)
    hints: list[dict[str, Any]] = [{}, {"retry_after_seconds": 0}, {"details": {"retry_after_ms": 1}}]
    return st.one_of(
        st.builds(_field, fields, st.sampled_from(_VALUES)),
        st.builds(_missing, fields),
        st.builds(_enveloped, st.sampled_from(sorted(_ENVELOPES))),
        st.builds(_accompanied, st.sampled_from(_BESIDE)),
        st.builds(_worded, st.sampled_from(sorted(_TEXTS))),
        st.builds(_with_status, st.sampled_from([200, 201, 202, 203])),
        st.just(Bend("204", lambda _: Reply(status=204))),
        st.builds(_of_a_proxy, st.sampled_from(_STATUSES), st.sampled_from(_BODIES)),
        st.builds(_refused, st.sampled_from(_CODES), st.sampled_from(hints), st.booleans()),
        st.builds(_dropped, st.sampled_from([Drop.MID_BODY, Drop.AFTER_PROCESSING, Drop.RESET])),
    )
