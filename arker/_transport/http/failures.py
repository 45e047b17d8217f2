"""The translation of aiohttp's exceptions. Only hosts and system errors are quoted, never a path or query."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from arker._protocol.request import ExchangeFailedError
from arker._transport.http.sessions import LostError
from arker.errors import ConfigurationError

_NOTHING_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.ServerFingerprintMismatch,
)


def explain(error: Exception, url: URL, session: aiohttp.ClientSession) -> Exception:
    """Return the exception to raise instead: mostly `ExchangeFailedError`, which says whether anything was sent."""
    if isinstance(error, (ConfigurationError, ExchangeFailedError)):
        return error
    where = str(url.origin())  # without user, password, path and query
    delivered = not isinstance(error, _NOTHING_SENT)
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError(f"{where} is not a URL that can be requested")
    if isinstance(error, asyncio.TimeoutError):
        return ExchangeFailedError(f"{where}: {_bound(error)}", delivered=delivered, timed_out=True)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        if error.status == 407:
            return ConfigurationError("the proxy of the environment asks for a user and password (HTTP 407)")
        return ExchangeFailedError(f"the proxy does not get to {where}: HTTP {error.status}", delivered=False)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        # Not every version of aiohttp gives this one an `os_error`.
        hint = "SSL_CERT_FILE may name a file with an authority of your own"
        return ExchangeFailedError(f"cannot trust {where}: {error.certificate_error}; {hint}", delivered=False)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        proxy = f"{error.host}:{error.port}"
        return ExchangeFailedError(f"cannot connect to the proxy {proxy}: {_said(error)}", delivered=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        return ExchangeFailedError(f"cannot connect to {where}: {_said(error)}", delivered=False)
    if isinstance(error, aiohttp.ClientPayloadError):
        garbled = isinstance(error.__cause__, ContentEncodingError)
        problem = "the reply cannot be decompressed" if garbled else "the reply was cut short"
        return ExchangeFailedError(f"{where}: {problem}", delivered=True)
    if isinstance(error, aiohttp.ClientResponseError):
        # aiohttp's own words quote the reply. What listens there may be no HTTP server, or one that expects TLS.
        return ExchangeFailedError(f"{where}: the reply cannot be read as HTTP", delivered=True)
    if session.closed and isinstance(error, RuntimeError):
        # So aiohttp refuses to begin. Any other error on a session that was closed meanwhile is a lost connection.
        return ConfigurationError("the session is closed")
    if isinstance(error, UnicodeError):
        return ExchangeFailedError(f"cannot connect to {where}: not the name of a host", delivered=False)
    kind = "" if isinstance(error, LostError) else f" ({type(error).__name__})"
    return ExchangeFailedError(f"{where}: the connection was lost{kind}", delivered=delivered)


def _said(error: aiohttp.ClientConnectorError) -> str:
    """Return what the system says of a connection that was not made; nothing if it was closed amid the handshake."""
    return str(error.os_error) or "the connection was closed before it was ready"


def _bound(error: asyncio.TimeoutError) -> str:
    """Return which bound of `HttpTimeouts` has passed."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection within the connect bound"
    if isinstance(error, aiohttp.ServerTimeoutError):
        return "no progress within the idle bound"
    return "not done within the upload bound"


__all__ = ["explain"]
