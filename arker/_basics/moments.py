"""Moments of a server's clock, as its replies write them (RFC 3339)."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Final

_FRACTION: Final = re.compile(r"\.[0-9]+")


def timestamp_of(moment: str | None) -> float | None:
    """Return a moment in seconds since 1970; None if there is none, or it cannot be read."""
    if moment is None:
        return None
    try:
        # Python 3.10 knows no "Z", and no other number of digits than three or six.
        read = datetime.fromisoformat(_FRACTION.sub("", moment).replace("Z", "+00:00"))
    except ValueError:
        return None
    if read.tzinfo is None:
        read = read.replace(tzinfo=timezone.utc)
    fraction = _FRACTION.search(moment)
    return read.timestamp() + (float(fraction[0]) if fraction else 0.0)


def has_fraction(moment: str) -> bool:
    """Return whether a moment is written with a fraction of its second."""
    return _FRACTION.search(moment) is not None


__all__ = ["has_fraction", "timestamp_of"]
