"""What the ``write`` of a caller's file object says of the bytes that it was given, and how streams are waited for."""

from __future__ import annotations

import errno
import inspect
import io
from collections.abc import Awaitable, Callable
from typing import Any, cast


def rest_of(file: object, piece: bytes, written: object) -> bytes:
    """Return what is left of a piece: a raw file may take only a part.

    Args:
        file: The file object.
        piece: The bytes that it was given.
        written: What its ``write`` has returned; anything but a number means that it has taken all.

    Raises:
        OSError: It has taken nothing.
    """
    if written is None and isinstance(file, io.RawIOBase):
        raise BlockingIOError(errno.EAGAIN, "the file object is one that does not wait")
    if not isinstance(written, int) or isinstance(written, bool):
        return b""
    if written <= 0:
        raise OSError(errno.EIO, f"the file object took none of {len(piece)} bytes: write() returned {written}")
    return piece[written:]


def drain_of(file: Any) -> Callable[[], Awaitable[object]] | None:
    """Return the function that waits until a stream, such as asyncio's, has room for more; None for other files.

    The ``write`` of such a stream returns at once, and belongs to the thread of its event loop.
    """
    drain: object = getattr(file, "drain", None)
    return cast("Callable[[], Awaitable[object]]", drain) if inspect.iscoroutinefunction(drain) else None


__all__ = ["drain_of", "rest_of"]
