"""The content codings of requests' bodies.

aiohttp could decode them, but takes a gzip body without its end for whole.
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Final

from aiohttp import web

from arker.emulator.server.errors import ServiceError

_PLAIN: Final = ("", "identity")


def coding_of(request: web.Request) -> str:
    """Return the coding of a request's body.

    Raises:
        ServiceError: The server does not decode it.
    """
    coding = _said(request)
    if coding not in (*_PLAIN, "gzip", "deflate"):
        raise ServiceError("bad_request", "Content-Encoding: expected gzip, deflate or identity")
    return coding


def is_coded(request: web.Request) -> bool:
    """Return whether a request's body is said to be coded in any way."""
    return _said(request) not in _PLAIN


def _said(request: web.Request) -> str:
    return ", ".join(request.headers.getall("Content-Encoding", ())).strip().lower()


def decode(raw: bytes, coding: str, most: int) -> bytes:
    """Decode a body that is not empty. It takes long for a large one.

    Args:
        raw: The body as it was sent.
        coding: ``gzip`` or ``deflate``.
        most: Bytes that it may have.

    Raises:
        ServiceError: It does not have this coding, or is cut off.
        HTTPRequestEntityTooLarge: It has more bytes; they are not decoded.
    """
    try:
        body = _gunzipped(raw, most + 1) if coding == "gzip" else _inflated(raw, most + 1)
    except (OSError, EOFError, zlib.error):
        message = f"the body is not {coding}, as Content-Encoding says, or lacks its end"
        raise ServiceError("bad_request", message) from None
    if len(body) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(body))
    return body


def _gunzipped(raw: bytes, most: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        return file.read(most)


def _inflated(raw: bytes, most: int) -> bytes:
    # Some programs leave the header of zlib out.
    decoder = zlib.decompressobj(zlib.MAX_WBITS if raw[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS)
    body = decoder.decompress(raw, most)
    if len(body) < most and (not decoder.eof or decoder.unused_data):
        raise EOFError
    return body


__all__ = ["coding_of", "decode", "is_coded"]
