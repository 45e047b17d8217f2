"""What the parts of the service have in common: answers, what was done, pages of lists, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define, field, frozen

from tests.drift.changes import Json
from tests.support.server import Reply

T = TypeVar("T")


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str = "no", **details: Any) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.details = status, code, message, details


@define(eq=False)
class Effect:
    """Something that was done.

    Attributes:
        kind: The operation.
        vm: The VM that it was about.
        name: What it was about there: an id, a key, a path.
        truthful: Whether any reply to it was not the refusal of it.
    """

    kind: str
    vm: str
    name: str
    truthful: bool = False


@frozen
class Answer:
    """A reply before it is bent, and what it reports as done."""

    body: Json | bytes
    status: int = 200
    effects: tuple[Effect, ...] = ()
    headers: Mapping[str, str] = field(factory=dict[str, str])

    def reply(self) -> Reply:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return Reply(status=self.status, body=body, headers=self.headers)


def page(name: str, rows: list[Json], query: Mapping[str, str]) -> Json:
    """Return a page of a list: two rows, unless more are asked for."""
    begin = 0
    if "cursor" in query:
        if not query["cursor"].startswith("after-"):
            raise Refusal(400, "bad_request", "no such cursor")
        begin = int(query["cursor"].removeprefix("after-"))
    end = begin + int(query.get("limit", 2))
    return {name: rows[begin:end], "next_cursor": f"after-{end}" if end < len(rows) else None}


def of(kind: Mapping[str, T], name: str, resource: str) -> T:
    """Look something up by its id."""
    if name not in kind:
        raise Refusal(404, "not_found", f"no such {resource}", resource=resource)
    return kind[name]


def closed(body: Json, names: set[str]) -> None:
    """Refuse a body with members that are not declared."""
    unknown = sorted(set(body) - names)
    if unknown:
        raise Refusal(400, "bad_request", "no", violations=[{"field": name, "message": "unknown"} for name in unknown])


__all__ = ["Answer", "Effect", "Refusal", "closed", "of", "page"]
