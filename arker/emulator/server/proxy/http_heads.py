"""HTTP/1.1 message heads as values, and what of HTTP/1.1 is refused although h11 would read it.

A proxy must forward only what it has understood: request smuggling relies on two parties that read one message in two
ways. So every ambiguous message (two lengths, a folded line, a bare LF) is refused.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

MAX_HEAD: Final = 64 * 1024

# h11 accepts more: a bare LF ends a line, a blank continues the previous one, and control characters pass.
_LINES = re.compile(rb"(?:[!-~\x80-\xff][\t -~\x80-\xff]*\r\n)+\r\n")
_CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]{1,15}(?![0-9A-Fa-f])[\t -~\x80-\xff]*\r\n")
# h11 merges several equal lengths, and accepts more digits than the far end may.
_LENGTHS = re.compile(rb"\ncontent-length:[\t ]*([^\r]*?)[\t ]*\r", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")

_FRAMING = frozenset(("content-length", "transfer-encoding"))
_HOP_BY_HOP = _FRAMING | {
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te"),
    *("trailer", "upgrade"),
}

Fields = tuple[tuple[str, str], ...]


class MessageError(Exception):
    """A message that is malformed or has more than one meaning; the message is for people."""


class HeadTooLargeError(MessageError):
    """A head, or what follows a body, of more than `MAX_HEAD` bytes."""


@frozen(kw_only=True)
class Head:
    """The common part of requests and responses."""

    fields: Fields
    minor: int
    """1 for HTTP/1.1, 0 for HTTP/1.0."""

    def __attrs_post_init__(self) -> None:
        if len({name for name, _ in self.framing}) > 1:
            raise MessageError("Transfer-Encoding and Content-Length contradict each other")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    def tokens(self, name: str) -> set[str]:
        """Return the members of a field that is a list of words, in lower case."""
        return {word.strip().lower() for value in self.all(name) for word in value.split(",")} - {""}

    @property
    def framing(self) -> Fields:
        """The field that gives the length of the body, or none."""
        return tuple([(name, value) for name, value in self.fields if name.lower() in _FRAMING])

    def end_to_end(self, *, without: frozenset[str] = frozenset()) -> Fields:
        """Return the fields for the far end, without those about the connection or the body's length."""
        dropped = _HOP_BY_HOP | self.tokens("connection") - {"host"} | without
        return tuple([(name, value) for name, value in self.fields if name.lower() not in dropped])


@frozen(kw_only=True)
class RequestHead(Head):
    method: str
    target: str

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.minor == 0 and self.all("transfer-encoding"):
            raise MessageError("HTTP/1.0 knows no Transfer-Encoding")

    @property
    def upgrade(self) -> bool:
        """Whether the message asks for a WebSocket. An offer of any other protocol is ignored, as HTTP allows."""
        return self.minor == 1 and "upgrade" in self.tokens("connection") and self.tokens("upgrade") == {"websocket"}


@frozen(kw_only=True)
class ResponseHead(Head):
    status: int
    reason: str

    @property
    def interim(self) -> bool:
        return self.status < 200 and self.status != 101


def check_request(head: RequestHead) -> None:
    """Check that a request is one to a server. Raises `MessageError`."""
    if not head.target.startswith("/") and (head.method, head.target) != ("OPTIONS", "*"):
        # CONNECT, and absolute targets, whose host could contradict the Host field.
        raise MessageError("the request's target has to be a path")


def check_proxy_request(head: RequestHead) -> None:
    """Check that a request is one to a proxy: CONNECT, or an absolute target. Raises `MessageError`."""
    if head.method != "CONNECT" and head.target.startswith(("/", "*")):
        raise MessageError("this is a proxy: expected CONNECT, or an http:// URL as the request's target")
    if head.method == "CONNECT" and (head.all("transfer-encoding") or head.all("content-length") not in ([], ["0"])):
        raise MessageError("CONNECT has no body")


def check_lines(raw: bytes) -> None:
    """Refuse a head, or a last chunk with trailers, that can be cut into lines in two ways; raises `MessageError`."""
    if len(raw) > MAX_HEAD:
        raise HeadTooLargeError(f"there are more than {MAX_HEAD} bytes in the head, or after the body")
    if _LINES.fullmatch(raw) is None:
        raise MessageError("a line is folded, has a control character, or does not end with CR LF")


def check_lengths(raw: bytes) -> None:
    """Refuse a head with more than one length, or with one that is not a plain number; raises `MessageError`."""
    lengths = _LENGTHS.findall(raw)
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise MessageError("Content-Length is malformed")


def check_chunk_line(raw: bytes) -> None:
    """Refuse a chunk's size that can be read in two ways; raises `MessageError`."""
    if _CHUNK_LINE.fullmatch(raw) is None:
        raise MessageError("a chunk's size is malformed")


__all__ = [
    "MAX_HEAD",
    "Fields",
    "Head",
    "HeadTooLargeError",
    "MessageError",
    "RequestHead",
    "ResponseHead",
    "check_chunk_line",
    "check_lengths",
    "check_lines",
    "check_proxy_request",
    "check_request",
]
