"""`AsyncVM.sync`: whole files read or written in memory (contract, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arker._context import Place
from arker._files.job import Job, make_job
from arker._files.single import write_inline
from arker._files.sources import MemorySource
from arker._files.stored import check_method, renewed, store_error
from arker._files.strategies import Options
from arker._files.uploads import move
from arker._protocol.calls import files as file_calls
from arker._protocol.request import ExchangeFailedError
from arker._transport.attempts import Attempt, deadline_scope
from arker.errors import FileTooLargeError
from arker.models import CHUNK_SIZE, SyncReadInlineResponse, SyncReadPresignedResponse

if TYPE_CHECKING:
    from arker._files.job import Tell

_OPERATION = "vm.sync"


async def read(
    place: Place, path: str, most: int | None, *, deadline: float | None, operation: str = _OPERATION
) -> bytes:
    """Return the bytes of a file; raises `FileTooLargeError` when it has more than ``most``."""
    job = make_job(place, operation, "download")
    async with job.named(path):
        with deadline_scope(deadline, job.progress):
            reply = await job.send(file_calls.read_file(place, path))
            if isinstance(reply, SyncReadInlineResponse):
                _check_size(job, len(reply.content), most)
                return reply.content
            _check_size(job, reply.size, most)
            tell = place.context.observer.transfer(operation, place.vm_id, path, "download", reply.size)
            return await _Fetching(job, path, reply, most, tell).result()


def _check_size(job: Job, size: int, most: int | None) -> None:
    if most is not None and size > most:
        problem = f"the file has {size} bytes, and at most {most} may be read into memory"
        problem += ": use download(), or pass a larger max_bytes"
        raise job.progress.complete(FileTooLargeError(problem, size=size, max_bytes=most))


class _Fetching:
    """A fetch of a file by a presigned URL."""

    def __init__(
        self, job: Job, path: str, reply: SyncReadPresignedResponse, most: int | None, tell: Tell | None
    ) -> None:
        self._job = job
        self._path = path
        self._most = most
        self._reply: SyncReadInlineResponse | SyncReadPresignedResponse = reply
        self._tell = tell

    async def result(self) -> bytes:
        return await renewed(self._fetch, self._renew)

    async def _renew(self) -> None:
        # No bytes are in memory yet, so another version of the file is acceptable.
        self._reply = await self._job.send(file_calls.read_file(self._job.place, self._path))

    async def _fetch(self) -> bytes:
        reply = self._reply
        if isinstance(reply, SyncReadInlineResponse):
            return reply.content
        _check_size(self._job, reply.size, self._most)
        check_method(self._job, reply.method, "GET")
        http = await self._job.place.context.transport.ready()

        async def once() -> bytes:
            url, size = reply.presigned_url, reply.size
            response = await http.fetch(url, size, base_url=self._job.place.base_url, tell=self._tell)
            attempt.response = response
            if not 200 <= response.status < 300:
                raise store_error(response.status, response.headers, response.body)
            if len(response.body) != size:
                problem = f"the presigned URL gave {len(response.body)} bytes of a file of {size}"
                raise ExchangeFailedError(problem, delivered=True)
            if self._tell is not None:
                self._tell(size)
            return response.body

        attempt = Attempt("GET", changes_something=False, may_repeat_lost=True, presigned_url=reply.presigned_url)
        return await self._job.attempts(once, attempt)


async def write(
    place: Place, path: str, data: memoryview, *, checksum: bool = True, deadline: float | None = None
) -> None:
    """Write a whole file."""
    job = make_job(place, _OPERATION, "upload")
    source = MemorySource(data)
    async with job.named(path):
        with deadline_scope(deadline, job.progress):
            if source.size <= CHUNK_SIZE:
                await write_inline(job, source, path, checksum=checksum)
            else:
                await move(job, source, path, Options(checksum=checksum))


__all__ = ["read", "write"]
