"""Identifiers made by the client. Their randomness is that of `secrets`, which would load OpenSSL at import."""

from __future__ import annotations

import os
import time
from typing import Final

from arker.models import _checks as check

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_SHIFTS: Final = range(120, -1, -10)


def new_idempotency_key() -> str:
    """Return a unique idempotency key: 64 bits of time and 64 random bits, in hexadecimal digits."""
    # Keys that ascend with time make the rows of a moment neighbours in a database: here the ledger of forks.
    return f"{time.time_ns():016x}{os.urandom(8).hex()}"


def idempotency_key_or_new(given: str | None) -> str:
    """Check the caller's key, or make a new one if there is none."""
    return new_idempotency_key() if given is None else check.check_idempotency_key("idempotency_key", given)


def new_ulid() -> str:
    """Return a ULID: 48 bits of milliseconds and 80 random bits, as 26 characters of Crockford's base 32."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def new_ulids(count: int) -> list[str]:
    """Return consecutive ULIDs of one moment, as the format specifies for several at once."""
    first = new_ulid()
    # The last 30 bits count; their first one is free for that.
    prefix, low = first[:-6], int.from_bytes(os.urandom(4), "big") >> 3
    return [
        prefix + _PAIRS[number >> 20] + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]
        for number in range(low, low + count)
    ]
