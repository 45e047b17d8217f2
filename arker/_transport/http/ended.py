"""The end of sessions whose event loop was closed before them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

_STEPS: Final = 16
"""More than closing takes where there is nothing to wait for."""


def finish_without_loop(guard: AsyncGenerator[None, None]) -> None:
    """Close a session by its guard when its loop was closed without `shutdown_asyncgens`, as loops made by hand are.

    Nothing of a closed loop is waited for. A session that is not closed is reported by aiohttp on standard error.
    """
    closing = guard.aclose()
    try:
        for _ in range(_STEPS):
            closing.send(None)
    except (StopIteration, RuntimeError):  # the latter of what the closed loop was to do for it
        pass
    finally:
        closing.close()


__all__ = ["finish_without_loop"]
