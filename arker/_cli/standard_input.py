"""Standard input as it comes: a terminal, a pipe or a file, without a thread that would have to be waited for."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator
from typing import Final

from arker._tasks.threads import in_thread

_PIECE: Final = 256 * 1024


def is_there() -> bool:
    """Return whether there may be something to read: not if it is closed, the null device, or another job's terminal.

    A job in the background that reads from its terminal is stopped by the system, so it has no input.
    """
    try:
        status = os.fstat(0)
    except OSError:
        return False
    if stat.S_ISCHR(status.st_mode) and os.path.exists(os.devnull):
        if os.path.samestat(status, os.stat(os.devnull)):
            return False
        if os.isatty(0) and hasattr(os, "tcgetpgrp"):
            return os.tcgetpgrp(0) == os.getpgrp()
    return True


async def pieces() -> AsyncGenerator[bytes, None]:
    """Return the bytes of standard input, each piece as soon as it is there."""
    try:
        await _readable(0)
    except (OSError, NotImplementedError):  # a file, which is always readable
        while piece := await in_thread(os.read, 0, _PIECE):
            yield piece
        return
    while True:
        try:
            piece = os.read(0, _PIECE)
        except BlockingIOError:  # another process has read it
            await _readable(0)
            continue
        if not piece:
            return
        yield piece
        await _readable(0)


async def _readable(descriptor: int) -> None:
    """Wait until a descriptor can be read from without waiting."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not over.done():
            over.set_result(None)

    loop.add_reader(descriptor, finish)
    try:
        await over
    finally:
        # The loop would go on to say so until it is read, and then wake a reader once more for nothing.
        loop.remove_reader(descriptor)


__all__ = ["is_there", "pieces"]
