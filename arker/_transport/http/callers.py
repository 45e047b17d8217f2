"""The session that a caller has made. Loaded at the first request, or with the check of the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from arker._tasks.running_loop import running_loop
from arker._transport.http.sessions import InUse
from arker.errors import ConfigurationError, InvalidArgumentError


def check_session(session: object) -> None:
    """Refuse an invalid aiohttp session before anything is sent with it."""
    if not isinstance(session, aiohttp.ClientSession):
        raise InvalidArgumentError("session", session, "expected an aiohttp.ClientSession")
    # What a session adds to every request would go to presigned URLs, too. The value is not shown.
    if session.auth is not None or any(name in session.headers for name in ("Authorization", "Proxy-Authorization")):
        raise InvalidArgumentError("session", "…", "expected a session without auth= and without authorization headers")


class CallersSession:
    """A session that the caller made: used, never closed."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> aiohttp.ClientSession:
        """Return the session; it works in one event loop only."""
        loop = running_loop()
        if self._loop is None:
            self._loop = loop
        if self._session.closed:
            raise ConfigurationError("the session that was passed as session= is closed")
        if self._loop is not loop:
            raise ConfigurationError(
                "the session that was passed as session= belongs to another event loop; "
                "without session= the client makes one for each loop"
            )
        return self._session

    def in_use(self) -> InUse:
        """Return the session, which works in one event loop only."""
        return InUse(self.get())

    def bare(self) -> aiohttp.ClientSession:
        """Return the same session: it adds no API key."""
        return self.get()

    def reading(self, content: aiohttp.StreamReader) -> Callable[[], None]:
        """Do nothing: the caller closes the session."""
        del content
        return _nothing

    async def aclose(self) -> None:
        return None

    def close_outside(self) -> None:
        return None


def _nothing() -> None:
    pass


__all__ = ["CallersSession", "check_session"]
