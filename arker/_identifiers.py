"""Identifiers that the client makes."""

from __future__ import annotations

import secrets
import time
from typing import Final

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_idempotency_key() -> str:
    """A key that no other request has."""
    return secrets.token_hex(16)


def new_ulid() -> str:
    """A ULID: 48 bits of milliseconds and 80 random bits, as 26 characters of Crockford's base 32."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
