"""Exchanges with the object store: expired presigned URLs are renewed, its errors are typed."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from arker._protocol.calls import files as file_calls
from arker._protocol.reply import api_error
from arker._protocol.request import ExchangeFailedError
from arker._protocol.retryable import parse_retry_after
from arker._tasks import clock
from arker._transport.attempts import Attempt
from arker.errors import ApiError, BadReplyError, ForbiddenError, UnsupportedOperationError
from arker.models import SyncPresignedWriteCommit, SyncPresignedWriteRequest, SyncPresignedWriteRequestResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arker._files.bodies import Body
    from arker._files.job import Job

T = TypeVar("T")

_RENEWALS: Final = 2
"""How often in a row an expired URL is renewed without any progress (contract, section 7)."""

PRESIGNED: Final = "presigned"
"""The feature that a server lacks if it answers presigned requests with `unsupported_operation`."""

_SOON: Final = 5.0
"""Seconds before its expiry from which a URL is no longer used."""

_LACKING: Final = re.compile(rb'\s*\{"code": *"resource_pressure", *"message": *"([A-Za-z,.:;\' ]{1,200})"\}\s*')
"""The words of a server that is its own object store when it has no space left; they contain no signature."""

_LONGEST_WORD: Final = 20
_CODES: Final = {403: "forbidden", 404: "not_found", 413: "payload_too_large", 503: "unavailable"}


def store_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Return the error for an object store's reply. The body is not quoted, since it may repeat the signature."""
    reason = re.search(rb"<Code>(\w{1,60})</Code>", body[:4096])
    detail = f": {reason[1].decode('ascii', 'replace')}" if reason else ""
    code, message = _CODES.get(status, "internal"), f"the object store answered HTTP {status}{detail}"
    lacking = _LACKING.fullmatch(body[:4096])
    if lacking is not None and max(map(len, lacking[1].split()), default=0) <= _LONGEST_WORD:
        code, message = "resource_pressure", lacking[1].decode("ascii")
    error = api_error(code, message, status=status)
    error.from_store = True
    error.retry_after = parse_retry_after(headers.get("retry-after"), clock.wall(), headers.get("date"))
    return error


def check_method(job: Job, given: str, expected: str) -> None:
    """Refuse a URL that is for another method."""
    if given.upper() != expected:
        problem = f"the presigned URL is not for {expected}"
        raise job.progress.complete(BadReplyError(problem, path="$.method"))


class Grant:
    """A presigned URL for a PUT: its expiry, and how to commit the file."""

    def __init__(self, result: SyncPresignedWriteRequestResult, began: float) -> None:
        self.url = result.presigned_url
        self.upload_id = result.upload_id
        # A URL without an expiry is used until the store refuses it.
        self._ends = math.inf if result.expires_in is None else began + result.expires_in

    @property
    def over(self) -> bool:
        """Whether its URL expires too soon to be used."""
        return clock.now() > self._ends - _SOON


class Renewals:
    """The renewals of one URL.

    Attributes:
        count: How many there were in a row, without any progress.
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, error: ForbiddenError, *, advanced: bool = False) -> None:
        """Count a renewal, because the store has refused the URL.

        Args:
            error: The refusal; raised if there were too many renewals.
            advanced: Whether there was progress since the last one.
        """
        self.count = 1 if advanced else self.count + 1
        if self.count > _RENEWALS:
            raise error


async def request_puts(job: Job, files: Sequence[tuple[str, int]]) -> list[Grant]:
    """Request PUT URLs for files, given by path and size, in one request.

    Raises:
        UnsupportedOperationError: The server has no presigned URLs. The client remembers this.
    """
    entries = [SyncPresignedWriteRequest(path=path, size=size) for path, size in files]
    began = clock.now()
    try:
        results = await job.send(file_calls.request_puts(job.place, entries))
    except UnsupportedOperationError:
        job.place.context.lacking.add((job.place.base_url, PRESIGNED))
        raise
    for result in results:
        check_method(job, result.method, "PUT")
    return [Grant(result, began) for result in results]


async def put(job: Job, path: str, body: Body, grant: Grant | None = None) -> SyncPresignedWriteCommit:
    """PUT a file, and return the data that commits it.

    Args:
        job: The call.
        path: Its path in the VM.
        body: Its content.
        grant: The presigned URL, if it was already requested.
    """
    renewals = Renewals()
    body.begin()
    try:
        while True:
            if grant is None or (grant.over and renewals.count == 0):
                (grant,) = await request_puts(job, [(path, body.size)])
            try:
                await _put_once(job, grant.url, body)
                break
            except ForbiddenError as error:
                renewals.add(error)  # only the URL has expired, not the operation
                grant = None
        digest = await body.digest()
    finally:
        await body.drop()
    return SyncPresignedWriteCommit(path=path, size=body.size, upload_id=grant.upload_id, sha256=digest)


async def _put_once(job: Job, url: str, body: Body) -> None:
    http = await job.place.context.transport.ready()

    async def once() -> None:
        response = None
        try:
            response = attempt.response = await http.put(url, body, body.size, base_url=job.place.base_url)
        except ExchangeFailedError:
            # Reading fails inside of the connection, which calls everything a failure of its own.
            if body.failure is None:
                raise
        failure, body.failure = body.failure, None
        try:
            if failure is not None:
                raise failure.with_traceback(None)  # its traceback has a frame of the connection's that leads to it
        finally:
            del failure  # and now this frame
        assert response is not None
        if not 200 <= response.status < 300:
            raise store_error(response.status, response.headers, response.body)
        if not body.sent:
            raise ExchangeFailedError("the object store answered before it had everything", delivered=True)
        body.arrived()

    # What is PUT has no effect until it is committed, so a lost attempt may always be repeated.
    attempt = Attempt("PUT", changes_something=False, may_repeat_lost=True, presigned_url=url, sent=body.size)
    await job.attempts(once, attempt)


async def renewed(fetch: Callable[[], Awaitable[T]], renew: Callable[[], Awaitable[None]]) -> T:
    """Fetch by a presigned URL, which is renewed when it has expired."""
    renewals = Renewals()
    while True:
        try:
            return await fetch()
        except ForbiddenError as error:
            renewals.add(error)
            await renew()


__all__ = [
    "PRESIGNED",
    "Grant",
    "Renewals",
    "check_method",
    "put",
    "renewed",
    "request_puts",
    "store_error",
]
