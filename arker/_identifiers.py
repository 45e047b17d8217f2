"""Identifiers that the client makes. Their random bits are those of `secrets`, which would load OpenSSL at import."""

from __future__ import annotations

import os
import time
from typing import Final

from arker.models import _checks as check

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_idempotency_key() -> str:
    """A key that no other request has."""
    return os.urandom(16).hex()


def idempotency_key_or_new(given: str | None) -> str:
    """The caller's key, checked; one that is made unless there is one."""
    return new_idempotency_key() if given is None else check.check_idempotency_key("idempotency_key", given)


def new_ulid() -> str:
    """A ULID: 48 bits of milliseconds and 80 random bits, as 26 characters of Crockford's base 32."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
