"""Objects behind presigned URLs, read piece by piece. Loaded at the first request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
from yarl import URL

from arker._protocol.request import ExchangeFailedError, Response
from arker._tasks.running_loop import running_loop_if_any
from arker._transport.http.failures import explain
from arker._transport.http.replies import read_excerpt, read_object

READ_BUFFER: Final = 256 * 1024
"""Bytes that a connection may be ahead of its reader; it stops at twice as many."""

EXCHANGE_ERRORS: Final = (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, RuntimeError)
"""The exceptions of an exchange."""


class Opened:
    """The reply to a GET of a presigned URL, whose headers have arrived. It must be closed.

    Different tasks of its event loop may read it one after the other; it does not depend on the task that opened it.
    Another loop may close it.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, url: URL, session: aiohttp.ClientSession, done: Callable[[], None]
    ) -> None:
        """Wrap a reply.

        Args:
            response: The response, up to its body.
            url: The URL that it came from.
            session: The session that it belongs to.
            done: Called when no more of the body is read.
        """
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._response = response
        self._url = url
        self._session = session

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names in any case."""
        return self._response.headers

    @property
    def length(self) -> int | None:
        """The size of the body in bytes, if announced."""
        return self._response.content_length

    @property
    def head(self) -> Response:
        """Status and headers, without a body."""
        return Response(self._response.status, self._response.headers, b"")

    async def read(self, count: int | None = None) -> bytes:
        """Return some bytes as they come, ``count`` at most, none at the end; raises `ExchangeFailedError`."""
        content = self._response.content
        if asyncio.get_running_loop() is not self._loop:
            # What comes, and what is paused and resumed, is told in the loop of the connection only.
            raise ExchangeFailedError("the connection belongs to another event loop", delivered=True)
        try:
            return await (content.readany() if count is None else content.read(count))
        except EXCHANGE_ERRORS as error:
            raise explain(error, self._url, self._session) from None

    async def whole(self, size: int, tell: Callable[[int], None] | None = None) -> Response:
        """Return the whole body with a single copy in memory, or the beginning of an error's.

        Raises `ExchangeFailedError`.

        Args:
            size: Bytes that are expected; no more are read.
            tell: Called about every MiB with the number of bytes received.
        """
        response = self._response
        try:
            succeeded = 200 <= response.status < 300
            body = await (read_object(response, size, tell) if succeeded else read_excerpt(response))
        except EXCHANGE_ERRORS as error:
            raise explain(error, self._url, self._session) from None
        return Response(response.status, response.headers, body)

    def close(self) -> None:
        """Return the connection to the pool if everything was read; close it otherwise."""
        if self._loop.is_running() and running_loop_if_any() is not self._loop:
            try:
                self._loop.call_soon_threadsafe(self._close)
            except RuntimeError:  # the loop has ended meanwhile, and its connections with it
                pass
        else:
            self._close()

    def _close(self) -> None:
        self._done()
        response = self._response
        connection = response.connection
        if response.content.is_eof():
            response.release()
        else:
            response.close()
        if connection is not None and self._loop.is_closed():
            # aiohttp does nothing then, and warns later that it is not closed. The transport may need the loop.
            with contextlib.suppress(RuntimeError):
                connection.release()


__all__ = ["EXCHANGE_ERRORS", "READ_BUFFER", "Opened"]
