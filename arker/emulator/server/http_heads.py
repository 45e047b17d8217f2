"""HTTP/1.1 message heads for proxies: parsed strictly, checked for one meaning only, and written anew.

A proxy forwards what it has understood, never what it has merely received: two parties that read one message in two
ways are what request smuggling lives on. So whatever is ambiguous (two lengths, a folded line, a bare CR) is refused.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

MAX_HEAD: Final = 64 * 1024

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - the grammar's word
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~\x80-\xff]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([\t -~\x80-\xff]*)")
_LENGTH = re.compile(r"[0-9]{1,18}")

_HOP_BY_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "content-length", "upgrade"),
    )
)

Fields = tuple[tuple[str, str], ...]


class HeadError(Exception):
    """A head that is malformed or has more than one meaning; the message is for people."""


@frozen(kw_only=True)
class Framing:
    """How long a body is: chunked or a number of bytes; with neither, none (requests) or up to the end (responses)."""

    chunked: bool = False
    length: int | None = None

    @property
    def fields(self) -> Fields:
        if self.chunked:
            return (("Transfer-Encoding", "chunked"),)
        return () if self.length is None else (("Content-Length", str(self.length)),)


@frozen(kw_only=True)
class Head:
    """What requests and responses have in common."""

    fields: Fields
    framing: Framing = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "framing", _framing(self))

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    def tokens(self, name: str) -> set[str]:
        """The members of a field that is a list of words, in lower case."""
        return {word.strip().lower() for value in self.all(name) for word in value.split(",")} - {""}

    def end_to_end(self, *, without: frozenset[str] = frozenset()) -> Fields:
        """The fields that are meant for the far end, and none that speak of the connection or the body's length."""
        dropped = _HOP_BY_HOP | self.tokens("connection") - {"host"} | without
        return tuple([(name, value) for name, value in self.fields if name.lower() not in dropped])


@frozen(kw_only=True)
class RequestHead(Head):
    method: str
    target: str
    minor: int
    """1 for HTTP/1.1, 0 for HTTP/1.0."""

    @property
    def upgrade(self) -> bool:
        """Whether it asks for a WebSocket; an offer of any other protocol is left out, as HTTP allows."""
        return self.minor == 1 and "upgrade" in self.tokens("connection") and self.tokens("upgrade") == {"websocket"}

    @property
    def keep_alive(self) -> bool:
        return self.minor == 1 and "close" not in self.tokens("connection")


@frozen(kw_only=True)
class ResponseHead(Head):
    status: int
    reason: str

    @property
    def interim(self) -> bool:
        return self.status < 200 and self.status != 101

    def has_body(self, method: str) -> bool:
        return method != "HEAD" and self.status >= 200 and self.status not in {204, 304}


def parse_request(raw: bytes) -> RequestHead:
    """The head of a request to a server, up to and with its empty line; raises `HeadError`."""
    head = _parse_request(raw)
    if not head.target.startswith("/") and (head.method, head.target) != ("OPTIONS", "*"):
        # CONNECT, and absolute targets, whose host could contradict the Host field.
        raise HeadError("the request's target has to be a path")
    if len(head.all("host")) != 1 and (head.minor == 1 or head.all("host")):
        raise HeadError("exactly one Host field is needed")
    return head


def parse_proxy_request(raw: bytes) -> RequestHead:
    """The head of a request to a proxy: CONNECT, or with a target that is no path; raises `HeadError`."""
    head = _parse_request(raw)
    if head.method != "CONNECT" and head.target.startswith(("/", "*")):
        raise HeadError("this is a proxy: expected CONNECT, or an http:// URL as the request's target")
    if head.method == "CONNECT" and (head.framing.chunked or head.framing.length):
        raise HeadError("CONNECT has no body")
    return head


def _parse_request(raw: bytes) -> RequestHead:
    line, fields = _split(raw)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise HeadError("the request line is malformed")
    method, target, minor = match.groups()
    head = RequestHead(method=method, target=target, minor=int(minor), fields=fields)
    if head.minor == 0 and head.framing.chunked:
        raise HeadError("HTTP/1.0 knows no Transfer-Encoding")
    return head


def parse_response(raw: bytes) -> ResponseHead:
    """A response's head, up to and with its empty line; raises `HeadError`."""
    line, fields = _split(raw)
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise HeadError("the status line is malformed")
    return ResponseHead(status=int(match[1]), reason=match[2] or "", fields=fields)


def write_head(start: str, *fields: Fields) -> bytes:
    lines = [start, *[f"{name}: {value}" for group in fields for name, value in group]]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _split(raw: bytes) -> tuple[str, Fields]:
    line, *rest = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    fields: list[tuple[str, str]] = []
    for text in rest:
        match = _HEADER.fullmatch(text)
        if match is None:
            raise HeadError("a header field is malformed")
        fields.append((match[1], match[2].rstrip(" \t")))
    return line, tuple(fields)


def _framing(head: Head) -> Framing:
    codings, lengths = head.all("transfer-encoding"), head.all("content-length")
    if codings:
        if lengths:
            raise HeadError("Transfer-Encoding and Content-Length contradict each other")
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise HeadError("the only Transfer-Encoding that is understood is chunked")
        return Framing(chunked=True)
    if not lengths:
        return Framing()
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise HeadError("Content-Length is malformed")
    return Framing(length=int(lengths[0]))


__all__ = [
    "MAX_HEAD",
    "Fields",
    "Framing",
    "Head",
    "HeadError",
    "RequestHead",
    "ResponseHead",
    "parse_proxy_request",
    "parse_request",
    "parse_response",
    "write_head",
]
