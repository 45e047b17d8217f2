"""The server's clock. Every timestamp and expiry uses it, so that tests can move it."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import lru_cache


class Clock:
    """Wall-clock time with an offset that tests can shift. Timeouts of commands do not use it: they are real time."""

    def __init__(self) -> None:
        self._offset_ms = 0

    def now_ms(self) -> int:
        """Return the milliseconds since the epoch."""
        return time.time_ns() // 1_000_000 + self._offset_ms

    def shift(self, seconds: float) -> None:
        """Move the clock forward. It never goes back, since expiries are kept in the order of time."""
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        self._offset_ms += round(seconds * 1000)

    @property
    def shifted(self) -> float:
        """Seconds that the clock is ahead of the machine's."""
        return self._offset_ms / 1000

    def reset(self) -> None:
        """Undo every shift. Use it only for a server that no longer holds anything with the old time."""
        self._offset_ms = 0


@lru_cache(maxsize=4096)  # lists ask for the same instants again and again
def rfc3339(epoch_ms: int) -> str:
    """Format an instant as the contract requires: RFC 3339, UTC, milliseconds."""
    moment = datetime.fromtimestamp(epoch_ms // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}Z"


__all__ = ["Clock", "rfc3339"]
