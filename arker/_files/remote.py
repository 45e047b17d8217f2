"""A file of a VM that is read: its URL, its version, and reads of its ranges."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from arker._files.ranges import MIB
from arker._files.stored import Renewals, check_method, store_error
from arker._protocol.calls import files as file_calls
from arker._protocol.request import ExchangeFailedError
from arker._transport.attempts import Attempt
from arker.errors import BadReplyError, FileChangedError, ForbiddenError
from arker.models import SyncReadInlineResponse, SyncReadPresignedResponse

if TYPE_CHECKING:
    from arker._files.job import Job
    from arker._transport.http.opened import Opened

_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")

WORTH_A_RETRY: Final = 64 * 1024
"""Bytes that an attempt has to transfer before the budget of failures is reset."""

Take = Callable[[bytes], Awaitable[None]]


class RemoteFile:
    """A file of the VM, in the version that was opened.

    Attributes:
        path: Its path.
        url: The URL of its bytes, unless they came inline.
        size: Its size in bytes.
        content: All of its bytes, if they came inline.
        ranged: Whether the server supports ranges; None while that is not known.
    """

    def __init__(self, job: Job, path: str) -> None:
        self._job = job
        self.path = path
        self.url = ""
        self._version: str | None = None
        self._strong = False
        self._renewing = asyncio.Lock()
        self.size = 0
        self.content: bytes | None = None
        self.ranged: bool | None = None

    async def open(self) -> None:
        """Ask the server for the file's location."""
        reply = await self._ask()
        if isinstance(reply, SyncReadInlineResponse):
            self.content, self.size = reply.content, len(reply.content)
        else:
            self.size = reply.size
            self.url = reply.presigned_url

    async def _ask(self) -> SyncReadInlineResponse | SyncReadPresignedResponse:
        job = self._job
        reply = await job.send(file_calls.read_file(job.place, self.path))
        if isinstance(reply, SyncReadPresignedResponse):
            check_method(job, reply.method, "GET")
        return reply

    async def renew(self, dead: str) -> None:
        """Get a new URL of the same file, unless another range already has."""
        async with self._renewing:
            if self.url != dead:
                return
            reply = await self._ask()
            if isinstance(reply, SyncReadInlineResponse) or reply.size != self.size:
                raise self.changed()
            self.url = reply.presigned_url

    def changed(self) -> FileChangedError:
        """Return the error for a file that has changed since it was opened."""
        error = FileChangedError(f"{self.path} has changed in the VM while it was being read")
        return self._job.progress.complete(error)

    async def fetch(self, start: int, end: int, take: Take, *, opened: Callable[[], None] | None = None) -> None:
        """Hand on the bytes ``[start, end)`` in order. After a failure it resumes at the first missing byte.

        Args:
            start: The first byte.
            end: One past the last byte. A server without ranges sends the whole file; then all of it is handed on.
            take: Called with the bytes as they come.
            opened: Called when the first reply has begun; `ranged` is known from then on.
        """
        at, renewals = start, Renewals()
        while at < end:
            url, before = self.url, at
            attempt = Attempt("GET", changes_something=False, may_repeat_lost=True, presigned_url=url)

            async def once(url: str = url, attempt: Attempt = attempt) -> None:
                nonlocal at, end
                reply = await self.get(url, attempt, at, end)
                began = at
                try:
                    if not self.ranged and start == 0:
                        end = self.size
                    if opened is not None:
                        opened()
                    await self.skip(reply, at)
                    while at < end:
                        piece = await reply.read()
                        if not piece:
                            raise ExchangeFailedError("the reply ends before the file does", delivered=True)
                        # If the whole file was sent instead of a range, the rest belongs to other spans.
                        whole = reply.status != 206 and end < self.size
                        if at + len(piece) > end and not whole:
                            raise self._too_much()
                        piece = piece[: end - at]
                        await take(piece)
                        at += len(piece)
                    # Nothing may be left; when that has been seen, the connection can be used again.
                    if (reply.status == 206 or end == self.size) and await reply.read():
                        raise self._too_much()
                finally:
                    attempt.advanced = at - began >= WORTH_A_RETRY
                    reply.close()

            try:
                await self._job.attempts(once, attempt)
            except ForbiddenError as error:
                renewals.add(error, advanced=at != before)
                await self.renew(url)

    async def get(self, url: str, attempt: Attempt, start: int, end: int) -> Opened:
        """Return a reply with the bytes from ``start`` on, or with the whole file if the server has no ranges.

        Raises:
            FileChangedError: The file has changed since it was opened.
        """
        http = await self._job.place.context.transport.ready()
        headers: dict[str, str] = {}
        if start or end < self.size:
            headers["Range"] = f"bytes={start}-{end - 1}"
        if self._version is not None and self._strong:
            headers["If-Match"] = self._version
        reply = await http.open(url, base_url=self._job.place.base_url, headers=headers)
        try:
            attempt.response = reply.head
            if reply.status in (412, 416):
                raise self.changed()
            if not 200 <= reply.status < 300:
                refused = await reply.whole(0)
                raise store_error(refused.status, refused.headers, refused.body)
            self._compare(reply)
            self.ranged = reply.status == 206 if headers.get("Range") else self.ranged
            if reply.status == 206:
                self._check_range(reply, start)
            elif reply.length is not None and reply.length != self.size:
                raise self.changed()
        except BaseException:
            reply.close()
            raise
        return reply

    def _compare(self, reply: Opened) -> None:
        """Compare the reply's version with the one that was read before."""
        tag = reply.headers.get("ETag")
        version = tag or reply.headers.get("Last-Modified")
        if self._version is None:
            self._version, self._strong = version, tag is not None and not tag.startswith("W/")
        elif version != self._version:
            raise self.changed()

    def _check_range(self, reply: Opened, start: int) -> None:
        match = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != start:
            problem = "the object store sent another range than was asked for"
            raise self._job.progress.complete(BadReplyError(problem, status=reply.status))
        if match[3] not in ("*", str(self.size)):
            raise self.changed()

    def _too_much(self) -> ExchangeFailedError:
        problem = f"the presigned URL gave more than was asked for of the {self.size} bytes of the file"
        return ExchangeFailedError(problem, delivered=True)

    async def skip(self, reply: Opened, count: int) -> None:
        """Skip the bytes that are already present, where the server has no ranges."""
        if reply.status == 206:
            return
        while count > 0:
            piece = await reply.read(min(count, MIB))
            if not piece:
                raise ExchangeFailedError("the reply ends before the file does", delivered=True)
            count -= len(piece)


class Reading:
    """A file that is read at its reader's pace. A lost connection is resumed at the same byte."""

    def __init__(self, job: Job, remote: RemoteFile) -> None:
        self._job = job
        self._remote = remote
        self._reply: Opened | None = None
        self._at = 0
        self._tell = job.file(remote.path, remote.size).piece() if remote.content is None else None

    async def next(self) -> bytes:
        """Return some bytes; none at the end."""
        if self._remote.content is not None:
            content, self._remote.content = self._remote.content, b""
            return content
        if self._at == self._remote.size:
            self.close()
            return b""
        piece = await self._from_open() or await self._from_anew()
        self._at += len(piece)
        if self._tell is not None:
            self._tell(self._at)
        return piece

    async def _from_open(self) -> bytes:
        """Return some bytes of the open reply; none if it cannot deliver any."""
        if self._reply is None:
            return b""
        try:
            piece = await self._reply.read()
        except ExchangeFailedError:
            piece = b""
        if not piece:
            self.close()
        return self._bounded(piece)

    async def _from_anew(self) -> bytes:
        renewals = Renewals()
        while True:
            url = self._remote.url
            attempt = Attempt("GET", changes_something=False, may_repeat_lost=True, presigned_url=url)

            async def once(url: str = url, attempt: Attempt = attempt) -> bytes:
                self.close()
                reply = await self._remote.get(url, attempt, self._at, self._remote.size)
                try:
                    await self._remote.skip(reply, self._at)
                    piece = await reply.read()
                    if not piece:
                        raise ExchangeFailedError("the reply ends before the file does", delivered=True)
                except BaseException:
                    reply.close()
                    raise
                self._reply = reply
                return self._bounded(piece)

            try:
                return await self._job.attempts(once, attempt)
            except ForbiddenError as error:
                renewals.add(error)
                await self._remote.renew(url)

    def _bounded(self, piece: bytes) -> bytes:
        if self._at + len(piece) > self._remote.size:
            self.close()
            raise self._remote.changed()
        return piece

    def close(self) -> None:
        """Close the connection."""
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.close()


__all__ = ["Reading", "RemoteFile", "Take"]
