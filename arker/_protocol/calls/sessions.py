"""Calls on sessions of a VM (contract, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from arker import models
from arker._protocol import routes
from arker._protocol.address import Address
from arker._protocol.calls.shared import create, delete, get
from arker._protocol.forms import lack_of_pending
from arker._protocol.queries import PageQuery, choice
from arker._protocol.reader import is_usable_id
from arker._protocol.request import Call, Request

if TYPE_CHECKING:
    from arker._protocol.reader import Reader
    from arker.models import (
        CreateSessionRequest,
        DeleteSessionResponse,
        ListSessionsResponse,
        Session,
    )


@frozen(kw_only=True)
class SessionsQuery(PageQuery):
    """The query of a VM's sessions."""

    state: str | Sequence[str] | None = choice()


_SESSION: Final = ("session_id",)
_KNOWN_SESSION: Final = ("session_id", "state", "cwd", "started_at")
"""Without its id, too: another session in the reply must not be taken for the one that was asked for."""


def list_sessions(at: Address, query: SessionsQuery) -> Call[ListSessionsResponse]:
    call = get(
        "vm.list_sessions",
        at.base_url,
        routes.sessions(at.vm_id),
        models.ListSessionsResponse,
        ("sessions",),
        query,
        vm_id=at.vm_id,
    )
    lack = lack_of_pending(query.state)
    return call if lack is None else evolve(call, lack=lack)


def create_session(at: Address, request: CreateSessionRequest) -> Call[Session]:
    return create(
        "vm.create_session", at.base_url, routes.sessions(at.vm_id), request, models.Session, _SESSION, vm_id=at.vm_id
    )


def get_session(at: Address, session_id: str) -> Call[Session]:
    def decode(payload: dict[str, Any], reader: Reader) -> Session:
        # The session's id is known, even if the reply does not contain it.
        named = (
            payload
            if reader.strict or is_usable_id(payload.get("session_id"))
            else {**payload, "session_id": session_id}
        )
        return reader.structure(named, models.Session)

    request = Request("GET", at.base_url, routes.session(at.vm_id, session_id))
    return Call("vm.get_session", request, decode, evidence=_KNOWN_SESSION, vm_id=at.vm_id)


def delete_session(at: Address, session_id: str) -> Call[DeleteSessionResponse]:
    gone = models.DeleteSessionResponse(deleted=True)
    return delete("vm.delete_session", at.base_url, routes.session(at.vm_id, session_id), gone, vm_id=at.vm_id)


__all__ = ["SessionsQuery", "create_session", "delete_session", "get_session", "list_sessions"]
