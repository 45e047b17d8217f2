"""Ids of VMs, runs and sessions: ULIDs, and burst references (contract, section 2)."""

from __future__ import annotations

import re
import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_ID_LIKE = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}(_[A-Za-z0-9]+)?", re.IGNORECASE)
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_BURST = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9]+")


def new_ulid(epoch_ms: int) -> str:
    """Return a new ULID: 48 bits of time and 80 random bits, in Crockford's base 32."""
    value = (epoch_ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


def new_burst_id(epoch_ms: int) -> str:
    """Return a new id that a client recognises as a burst reference."""
    return f"{new_ulid(epoch_ms)}_{secrets.token_hex(2)}"


def is_ulid(text: str) -> bool:
    return _ULID.fullmatch(text) is not None


def is_burst_reference(text: str) -> bool:
    return text.lower() == "arkuntu" or _BURST.fullmatch(text) is not None


def looks_like_id(text: str) -> bool:
    """Return whether a name could be taken for an id, in upper or lower case."""
    return _ID_LIKE.fullmatch(text) is not None


__all__ = ["is_burst_reference", "is_ulid", "looks_like_id", "new_burst_id", "new_ulid"]
