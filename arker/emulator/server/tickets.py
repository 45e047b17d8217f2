"""Tickets for terminals: who may attach to which session and until when, signed with HMAC (contract 1, section 9)."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from arker.emulator.control.clock import Clock
from arker.emulator.server.errors import ServiceError
from arker.emulator.server.presign import Seal

LIFETIME: Final = 60
"""Seconds for which a ticket is good, for any number of attachments."""


@frozen(kw_only=True)
class Ticket:
    """The permission to attach to the terminal of one session."""

    org_id: str
    vm_id: str
    session_id: str


class Tickets:
    """The issuer and verifier of tickets."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._seal = Seal(secret, b"terminal")
        self._clock = clock

    def issue(self, ticket: Ticket) -> str:
        """Return a ticket as text, which is a secret."""
        expires = self._clock.now_ms() + LIFETIME * 1000
        token, signature = self._seal.sign([ticket.org_id, ticket.vm_id, ticket.session_id, expires])
        return f"{token}.{signature}"

    def check(self, text: str) -> Ticket:
        """Return what a ticket is for; 401 when it is not one of this server's, or has expired."""
        token, _, signature = text.partition(".")
        fields = self._seal.verify(token, signature)
        if fields is None:
            raise ServiceError("unauthorized", "ticket: it is not a ticket of this server")
        if self._clock.now_ms() >= fields[3]:
            raise ServiceError("unauthorized", "ticket: it has expired")
        return Ticket(org_id=fields[0], vm_id=fields[1], session_id=fields[2])


__all__ = ["LIFETIME", "Ticket", "Tickets"]
