"""Bodies of replies, with bounds on the memory they take. Loaded at the first request."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from arker._protocol.request import ExchangeFailedError
from arker.errors import BadReplyError

if TYPE_CHECKING:
    import aiohttp

MAX_REPLY: Final = 256 * 1024 * 1024
"""The most bytes of an API reply; a larger one is refused."""

EXCERPT: Final = 64 * 1024
"""Bytes that are read of an object store's reply that is not a file's content."""

STEP: Final = 1024 * 1024
"""Bytes between two reports of the number received."""


def take_reply(response: aiohttp.ClientResponse, redact: Callable[[str], str]) -> bytes:
    """Return the body of an API reply that has arrived whole; raises `BadReplyError` if it exceeds `MAX_REPLY`."""
    body = response.content.read_nowait()
    if len(body) > MAX_REPLY:
        _refuse(response, len(body), redact)
    return body


async def read_reply(response: aiohttp.ClientResponse, redact: Callable[[str], str]) -> bytes:
    """Return the body of an API reply; raises `BadReplyError` as soon as it is known to exceed `MAX_REPLY`."""
    content = response.content
    if content.is_eof():  # all of it is here already
        body = await response.read()
        if len(body) > MAX_REPLY:
            _refuse(response, len(body), redact)
        return body
    announced = response.content_length
    if announced is not None:
        if announced > MAX_REPLY:
            _refuse(response, announced, redact)
        if "Content-Encoding" not in response.headers:
            return await response.read()
    whole = io.BytesIO()
    async for piece in content.iter_any():
        if whole.tell() + len(piece) > MAX_REPLY:
            _refuse(response, whole.tell() + len(piece), redact)
        whole.write(piece)
    await response.read()  # nothing is left; this waits until the request is sent as well
    # getvalue() shares the buffer, where read() would copy it.
    return whole.getvalue()


def _refuse(response: aiohttp.ClientResponse, size: int, redact: Callable[[str], str]) -> NoReturn:
    response.close()
    request_id = response.headers.get("x-request-id")
    raise BadReplyError(
        f"the reply is larger than {MAX_REPLY} bytes (256 MiB): {size} bytes or more",
        status=response.status,
        request_id=redact(request_id) if request_id is not None else None,
    )


async def read_excerpt(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of a body, `EXCERPT` at most. The connection is closed when there is more."""
    start = bytearray()
    async for piece in response.content.iter_any():
        start += piece
        if len(start) > EXCERPT:
            response.close()
            break
    return bytes(start[:EXCERPT])


async def read_object(response: aiohttp.ClientResponse, size: int, tell: Callable[[int], None] | None = None) -> bytes:
    """Return a file's content; raises `ExchangeFailedError` as soon as it is known to be larger than ``size``."""
    announced = response.content_length
    content, told = io.BytesIO(), 0
    more = announced is not None and announced > size
    if not more:
        async for piece in response.content.iter_any():
            content.write(piece)
            done = content.tell()
            more = done > size
            if more:
                break
            if tell is not None and done - told >= STEP and done < size:
                told = done
                tell(done)
    if more:
        response.close()
        raise ExchangeFailedError(f"the presigned URL gave more than the {size} bytes of the file", delivered=True)
    return content.getvalue()


__all__ = ["EXCERPT", "MAX_REPLY", "read_excerpt", "read_object", "read_reply", "take_reply"]
