"""The running event loop, or a clear error without one."""

from __future__ import annotations

import asyncio
import sys

from arker.errors import ConfigurationError


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running asyncio event loop.

    Raises:
        ConfigurationError: No asyncio loop is running, or another library runs the caller's coroutines.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        where = " here: this is a trio program" if _in_trio() else ""
        raise ConfigurationError(
            f"no asyncio event loop is running{where}; the async client needs one (asyncio.run, or anyio.run with "
            "backend='asyncio'). Elsewhere use arker_sync, in a thread"
        ) from None


def running_loop_if_any() -> asyncio.AbstractEventLoop | None:
    """Return the running loop; None where none runs, as where a coroutine is closed after its loop has ended."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


__all__ = ["running_loop", "running_loop_if_any"]
