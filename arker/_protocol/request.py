"""Requests and responses as plain values.

They are never changed once made. They are not frozen, though: some are made for every request, and making a frozen one
takes twice as long.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

from attrs import define, field, frozen

if TYPE_CHECKING:
    from aiohttp import StreamReader

    from arker._protocol.reader import Reader

T = TypeVar("T")

Method: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]
Generation: TypeAlias = Literal["1", "0.5"]
"""A generation of the API."""
QueryValue: TypeAlias = str | int | float | bool | list[str] | tuple[str, ...] | None

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"


class Replay(enum.Enum):
    """The requests that may be repeated after a lost connection that perhaps delivered them (contract, section 3)."""

    SAFE = "safe"
    """Always safe to repeat: GET, DELETE, `/sync`, and requests with a key that the server must honour."""
    UNSENT = "unsent"
    """Repeated only if nothing had been sent."""


@define(eq=False)
class Ending:
    """The last bytes of a body, which are still being made while the others are sent.

    Attributes:
        size: Their number.
        make: Returns them; awaited in each attempt.
        failure: Why they could not be made, if so: the connection that asks for them would not pass it on.
    """

    size: int
    make: Callable[[], Awaitable[bytes]] = field(repr=False)
    failure: Exception | None = None


@define
class Request:
    """A request to one of the three base URLs.

    Attributes:
        method: HTTP method.
        base_url: The base URL that it goes to.
        path: Path below it, encoded.
        query: Query string, encoded, without the question mark.
        body: JSON text, if it has a body.
        idempotency_key: The key that it carries, if any.
        awaits_work: Whether the server answers only when work of unknown length is done, so that silence is no
            sign of a dead connection.
        anonymous: Whether it is sent without the API key.
        private: Whether its body holds a secret, so that it is never written down.
        ending: The rest of the body, if that is not ready yet.
    """

    method: Method
    base_url: str
    path: str
    query: str = ""
    body: bytes | None = field(default=None, repr=False)
    idempotency_key: str | None = None
    awaits_work: bool = False
    anonymous: bool = False
    private: bool = False
    ending: Ending | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return (0 if self.body is None else len(self.body)) + (0 if self.ending is None else self.ending.size)


@define
class Response:
    """A complete response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


Decode: TypeAlias = Callable[[dict[str, Any], "Reader"], T]
"""Makes a result of a reply's JSON object."""


@frozen
class Lack:
    """What a generation of the API lacks of an operation.

    Attributes:
        generation: The generation.
        what: The operation or its arguments, for the error.
        instead: How the same is done in that generation.
        members: The members of the request that the generation does not know; empty if it lacks the whole operation.
    """

    generation: Generation
    what: str
    instead: str
    members: tuple[str, ...] = ()


@define
class Call(Generic[T]):
    """An operation: its request, how its reply is read, and when it may be repeated.

    Attributes:
        operation: Its name, for errors and logs.
        request: The request.
        decode: Makes the result of the reply's JSON object; raises ``Misfit`` or `arker.errors.ArkerError`.
        evidence: Members of which a reply with the requested data has at least one; then ``error``, ``code`` and
            ``message`` are fields like others. Empty for an acknowledgement without anything else.
        replay: Whether the request may be repeated after a lost connection.
        gone: The result when a repeated DELETE finds nothing, if that means success.
        makes_vm: Whether it makes a VM, so that an id in an error is that of a VM that may be there.
        needs_proof: Whether `gone` is the result only when the service itself says that nothing exists.
        acknowledged: Whether any successful reply is enough, such as one without a body.
        changes_something: Whether it has an effect on the server; a GET never has one, whatever the value here.
        salvage: Makes a result of a body that should be JSON but is not, if possible.
        vm_id: The VM that it is about, for errors.
        run_id: The run that it is about, for errors.
        probe: Called now and then while a request that waits for work has no answer, with whether bytes of the answer
            came since the last time; its exception ends the wait.
        earlier: The operation as generation 0.5 has it, if that differs; the call itself is then that of generation 1.
        lack: What one of the generations lacks of it; the call is then in the form of the other one.
        read_any: Makes the result of a response with any status.
        patience: Seconds within which it is repeated any number of times while the server has no capacity.
        remade: Makes the request for the seconds of `patience` that are left.
        secrets: Secrets of the caller's in its request, which are removed from whatever the server says.
    """

    operation: str
    request: Request
    decode: Decode[T] = field(repr=False)
    replay: Replay = Replay.SAFE
    gone: T | None = None
    evidence: tuple[str, ...] = field(default=(), kw_only=True)
    acknowledged: bool = field(default=False, kw_only=True)
    needs_proof: bool = field(default=False, kw_only=True)
    makes_vm: bool = field(default=False, kw_only=True)
    salvage: Callable[[bytes], T | None] | None = field(default=None, repr=False, kw_only=True)
    changes_something: bool = field(default=True, kw_only=True)
    vm_id: str | None = field(default=None, kw_only=True)
    run_id: str | None = field(default=None, kw_only=True)
    probe: Callable[[bool], Awaitable[None]] | None = field(default=None, repr=False, kw_only=True)
    earlier: Call[T] | None = field(default=None, repr=False, kw_only=True)
    lack: Lack | None = field(default=None, repr=False, kw_only=True)
    read_any: Callable[[Response, Reader], T] | None = field(default=None, repr=False, kw_only=True)
    patience: float | None = field(default=None, kw_only=True)
    remade: Callable[[int], Request] | None = field(default=None, repr=False, kw_only=True)
    secrets: tuple[str, ...] = field(default=(), repr=False, kw_only=True)


@define(eq=False)
class Flow:
    """The bytes transferred in an exchange, for observers of its progress.

    Attributes:
        sent: Bytes of the request's body that the connection has taken, where they are counted.
        content: The reply's body, once it has begun.
        endings: How often the waiting task was asked to end its wait; counted before Python 3.11 only.
    """

    sent: int = 0
    content: StreamReader | None = None
    endings: int = 0

    def passed(self) -> int:
        """Return the bytes in both directions, plus one when the reply has begun."""
        return self.sent + (0 if self.content is None else 1 + self.content.total_bytes)


class ExchangeFailedError(Exception):
    """An error for an exchange without a response.

    Attributes:
        delivered: Whether the request may have reached the server.
        timed_out: Whether a bound of the client ended the wait.
    """

    def __init__(self, message: str, *, delivered: bool, timed_out: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.delivered = delivered
        self.timed_out = timed_out


def without_query(url: str) -> str:
    """Return a URL without user, password, query and fragment; nothing of an invalid URL."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == -1:
            return ""
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def encode_query(parameters: Mapping[str, QueryValue]) -> str:
    """Encode a query string.

    Absent parameters are left out, lists joined with commas, booleans written as ``true`` and ``false``.
    """
    return "&".join(
        f"{name}={quote(_query_text(value), safe='')}" for name, value in parameters.items() if value is not None
    )


def _query_text(value: QueryValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join([str.__str__(part) for part in value])
    # The plain text: str() of a member of an enumeration gives its name.
    return str.__str__(value) if isinstance(value, str) else str(value)
