"""What may become of a reply through the years, and on its way through proxies: changes that can be pasted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

import attrs
from attrs import frozen

from arker._protocol.codec.hooks import is_array, is_object
from tests.support.server import Drop, Reply

Json: TypeAlias = dict[str, Any]


class Change(Protocol):
    """Makes another reply of one.

    Attributes:
        lies: Whether a client that is told so has to believe that nothing was done.
    """

    @property
    def lies(self) -> bool: ...

    def __call__(self, reply: Reply) -> Reply: ...


class _Harmless:
    __slots__ = ()

    @property
    def lies(self) -> bool:
        return False


def _changed(reply: Reply, change: Callable[[Json], Any]) -> Reply:
    """Change the JSON object that a reply holds, if it holds one."""
    try:
        body = json.loads(reply.body)
    except ValueError:
        return reply
    return attrs.evolve(reply, body=json.dumps(change(body)).encode()) if is_object(body) else reply


@frozen
class Field(_Harmless):
    """Another value for a field: of the reply, or else of what is inside of it, such as the rows of a list."""

    name: str
    value: Any

    def __call__(self, reply: Reply) -> Reply:
        return _changed(reply, self._within)

    def _within(self, body: Json) -> Json:
        if self.name in body:
            return {**body, self.name: self.value}
        return {key: self._inside(inner) for key, inner in body.items()}

    def _inside(self, inner: Any) -> Any:
        if is_array(inner):
            return [self._inside(row) if is_object(row) else row for row in inner]
        return {**inner, self.name: self.value} if is_object(inner) and self.name in inner else inner


@frozen
class Without(_Harmless):
    """No such field, neither in the reply nor in the rows of its lists."""

    name: str

    def __call__(self, reply: Reply) -> Reply:
        return _changed(reply, self._within)

    def _within(self, body: Json) -> Json:
        if self.name in body:
            return {key: inner for key, inner in body.items() if key != self.name}
        return {
            key: [self._within(row) if is_object(row) else row for row in inner] if is_array(inner) else inner
            for key, inner in body.items()
        }


@frozen
class Moved(_Harmless):
    """A field under another name, or inside of another one: ``"data.id"``."""

    name: str
    where: str

    def __call__(self, reply: Reply) -> Reply:
        return _changed(reply, self._within)

    def _within(self, body: Json) -> Json:
        if self.name not in body:
            return body
        rest = {key: inner for key, inner in body.items() if key != self.name}
        outer, _, inner = self.where.rpartition(".")
        if not outer:
            return {**rest, inner: body[self.name]}
        there = rest.get(outer)
        return {**rest, outer: {**(there if is_object(there) else {}), inner: body[self.name]}}


@frozen
class Beside(_Harmless):
    """Members that are new."""

    members: Json

    def __call__(self, reply: Reply) -> Reply:
        return _changed(reply, lambda body: {**body, **self.members})


_ENVELOPES: Final[dict[str, Callable[[Json], Any]]] = {
    "data": lambda body: {"data": body},
    "vm": lambda body: {"vm": body},
    "result": lambda body: {"result": body, "meta": {}},
    "a list": lambda body: [body],
    "data, a list": lambda body: {"data": [body]},
    "data in response": lambda body: {"response": {"data": body}},
    "unknown": lambda body: {"payload": body},
}
ENVELOPES: Final = sorted(_ENVELOPES)


@frozen
class Enveloped(_Harmless):
    """The reply inside of something."""

    name: str

    def __call__(self, reply: Reply) -> Reply:
        return _changed(reply, _ENVELOPES[self.name])


_TEXTS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "NaN": lambda body: body[:-1] + b', "load": NaN}',
    "lone surrogate": lambda body: body[:-1] + b', "note": "\\ud800"}',
    "no UTF-8": lambda body: body[:-1] + b', "note": "\xff"}',
    "more digits than fit": lambda body: body[:-1] + b', "quota": ' + b"9" * 5000 + b"}",
    "something behind it": lambda body: body + b"\n{}\n",
    "cut": lambda body: body[: len(body) * 2 // 3],
    "cut early": lambda body: body[: len(body) // 5],
    "empty": lambda _: b"",
    "HTML": lambda _: b"<html><body>welcome</body></html>",
    "text": lambda _: b"OK",
    "null": lambda _: b"null",
    "a number": lambda _: b"7",
    "an empty object": lambda _: b"{}",
    "an empty list": lambda _: b"[]",
}
TEXTS: Final = sorted(_TEXTS)


@frozen
class Text(_Harmless):
    """Another text of the body."""

    kind: str

    def __call__(self, reply: Reply) -> Reply:
        return attrs.evolve(reply, body=_TEXTS[self.kind](reply.body))


@frozen
class Status(_Harmless):
    """Another status of success."""

    status: int

    def __call__(self, reply: Reply) -> Reply:
        return attrs.evolve(reply, status=self.status, body=b"" if self.status == 204 else reply.body)


@frozen
class Instead(_Harmless):
    """What a proxy says in place of the service."""

    status: int
    body: bytes

    def __call__(self, reply: Reply) -> Reply:
        return Reply(status=self.status, body=self.body, headers={"Location": "/elsewhere"})


@frozen
class Lost(_Harmless):
    """No reply, or half of it: the name of a `Drop`."""

    how: str

    def __call__(self, reply: Reply) -> Reply:
        return Reply(drop=Drop[self.how], body=reply.body or b"{}")


_SAY_NOTHING: Final = (408, 425, 499)


@frozen
class Refused:
    """An error in the contract's own words, at the top or nested."""

    status: int
    code: str
    more: Json
    flat: bool

    @property
    def lies(self) -> bool:
        work = self.more.get("recovery", {}).get("work")
        if work is not None:
            return bool(work == "not_started")
        status = self.status if self.status >= 400 else CODES[self.code]
        return status == 503 or (400 <= status < 500 and status not in _SAY_NOTHING)

    def __call__(self, reply: Reply) -> Reply:
        nested = error_body(self.code, "said", **self.more)
        return Reply(status=self.status, body=json.dumps(nested["error"] if self.flat else nested).encode())


NOW: Final = "2026-11-20T10:00:00Z"


def error_body(code: str, message: str = "no", **more: Any) -> Json:
    """Return an error in the wording of today's service."""
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


CODES: Final[dict[str, int]] = {
    "bad_request": 400,
    "payment_required": 402,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "expired": 410,
    "operation_failed": 422,
    "quota_exceeded": 429,
    "rate_limited": 429,
    "internal": 500,
    "unavailable": 503,
    "capacity_unavailable": 503,
    "gateway_timeout": 504,
}
"""Codes of errors, and the statuses that they come with."""

__all__ = [
    "CODES",
    "ENVELOPES",
    "NOW",
    "TEXTS",
    "Beside",
    "Change",
    "Enveloped",
    "Field",
    "Instead",
    "Json",
    "Lost",
    "Moved",
    "Refused",
    "Status",
    "Text",
    "Without",
    "error_body",
]
