"""Terminals of sessions (contract of generation 1, section 9)."""

from __future__ import annotations

from attrs import field, frozen

from arker.models._reply import Reply


@frozen(kw_only=True)
class PtyTicketResponse(Reply):
    """A ticket, with which a WebSocket to a session's terminal can be opened without the API key.

    Attributes:
        ticket: The ticket, for the query of the WebSocket's URL. A secret.
        expires_in: Seconds for which it is good, for any number of connections.
    """

    ticket: str = field(repr=False)
    expires_in: int


__all__ = ["PtyTicketResponse"]
