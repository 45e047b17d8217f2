"""Files in and out of a VM: inline in one chunk, or by one presigned PUT or GET (contract, section 6)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Final, TypeAlias, TypeGuard

from arker import _calls
from arker._decipher import api_error
from arker._identifiers import new_ulid
from arker._retry import parse_retry_after
from arker._transport import Attempt, Progress, Transport, deadline_scope
from arker._wire import ExchangeFailedError, Response
from arker.errors import BadReplyError, ForbiddenError, InvalidArgumentError
from arker.models import (
    CHUNK_SIZE,
    MAX_PUT_SIZE,
    SyncChunkWrite,
    SyncPresignedWriteCommit,
    SyncPresignedWriteRequest,
    SyncReadInlineResponse,
    SyncReadPresignedResponse,
)
from arker.models import _checks as check

Tell: TypeAlias = Callable[[int], None]
"""Told how many bytes are done."""

_RENEWALS: Final = 2
"""How often an expired presigned URL is asked for again (contract, section 7)."""


def check_path(path: object) -> str:
    """A path in the VM, as text."""
    if isinstance(path, PurePosixPath):
        path = str(path)
    return check.check_text("path", path, what="a non-empty path in the VM, as a string or PurePosixPath")


def is_buffer(value: object) -> TypeGuard[bytes | bytearray | memoryview[int]]:
    return isinstance(value, (bytes, bytearray, memoryview))


def check_data(data: object) -> memoryview:
    """The bytes to write, as a flat view."""
    if not is_buffer(data):
        raise InvalidArgumentError(
            "data", data, "expected bytes, a bytearray or a memoryview (encode text first: text.encode())"
        )
    try:
        view = memoryview(data)
        if not view.c_contiguous:
            raise InvalidArgumentError("data", data, "expected a contiguous memoryview")
        view = view.cast("B")
    except InvalidArgumentError:
        raise
    except ValueError as error:  # also one that has been released
        raise InvalidArgumentError("data", data, f"expected a memoryview that can be read ({error})") from None
    if len(view) > MAX_PUT_SIZE:
        raise InvalidArgumentError("data", data, f"expected at most {MAX_PUT_SIZE} bytes (5 GiB), got {len(view)}")
    return view


async def read(transport: Transport, base_url: str, vm_id: str, path: str, *, deadline: float | None) -> bytes:
    """The bytes of a file."""
    progress = Progress("vm.sync")
    with deadline_scope(deadline, progress):
        renewals = 0
        while True:
            reply = await transport.send(_calls.read_file(base_url, vm_id, path), progress=progress)
            if isinstance(reply, SyncReadInlineResponse):
                return reply.content
            try:
                tell = transport.observer.transfer(progress.operation, vm_id, path, "download", reply.size)
                return await _fetch(transport, base_url, reply, progress, tell)
            except ForbiddenError:
                # The URL has died; the file has not.
                if renewals == _RENEWALS:
                    raise
                renewals += 1


async def write(
    transport: Transport, base_url: str, vm_id: str, path: str, data: memoryview, *, deadline: float | None
) -> None:
    """Write a file whole."""
    progress = Progress("vm.sync")
    with deadline_scope(deadline, progress):
        if len(data) <= CHUNK_SIZE:
            await _write_inline(transport, base_url, vm_id, path, data, progress)
        else:
            await _write_presigned(transport, base_url, vm_id, path, data, progress)


async def _write_inline(
    transport: Transport, base_url: str, vm_id: str, path: str, data: memoryview, progress: Progress
) -> None:
    size = len(data)
    entry = SyncChunkWrite(
        path=path, size=size, upload_id=new_ulid(), content=data, start=0, end=size, sha256=_digest(data)
    )
    await transport.send(_calls.write_whole(base_url, vm_id, entry), progress=progress)


async def _write_presigned(
    transport: Transport, base_url: str, vm_id: str, path: str, data: memoryview, progress: Progress
) -> None:
    # Not at the top: importing this package is to stay quick.
    import asyncio

    # The digest is made in a thread while the bytes are on their way.
    tell = transport.observer.transfer(progress.operation, vm_id, path, "upload", len(data))
    digest = asyncio.get_running_loop().run_in_executor(None, _digest, data)
    renewals = 0
    while True:
        entry = SyncPresignedWriteRequest(path=path, size=len(data))
        target = await transport.send(_calls.request_put(base_url, vm_id, entry), progress=progress)
        _check_method(target.method, "PUT", progress)
        try:
            await _put(transport, base_url, target.presigned_url, data, progress, tell)
            break
        except ForbiddenError:
            if renewals == _RENEWALS:
                raise
            renewals += 1
    commit = SyncPresignedWriteCommit(path=path, size=len(data), upload_id=target.upload_id, sha256=await digest)
    await transport.send(_calls.commit_put(base_url, vm_id, commit), progress=progress)


async def _put(
    transport: Transport, base_url: str, presigned_url: str, data: memoryview, progress: Progress, tell: Tell | None
) -> None:
    http = await transport.ready()
    from arker._http import slices

    async def once() -> None:
        attempt.response = await http.put(presigned_url, partial(slices, data, tell), len(data), base_url=base_url)
        _check_stored(attempt.response)
        if tell is not None:
            tell(len(data))

    # What is PUT has no effect until it is committed, so a lost attempt may always be repeated.
    attempt = Attempt("PUT", changes_something=False, may_repeat_lost=True, presigned_url=presigned_url, sent=len(data))
    await transport.attempts(once, attempt, progress)


async def _fetch(
    transport: Transport, base_url: str, source: SyncReadPresignedResponse, progress: Progress, tell: Tell | None
) -> bytes:
    _check_method(source.method, "GET", progress)
    http = await transport.ready()

    async def once() -> bytes:
        response = await http.fetch(source.presigned_url, source.size, base_url=base_url, tell=tell)
        attempt.response = response
        _check_stored(response)
        if len(response.body) != source.size:
            raise ExchangeFailedError(
                f"the presigned URL gave {len(response.body)} bytes of a file of {source.size}", delivered=True
            )
        if tell is not None:
            tell(source.size)
        return response.body

    attempt = Attempt("GET", changes_something=False, may_repeat_lost=True, presigned_url=source.presigned_url)
    return await transport.attempts(once, attempt, progress)


def _check_stored(response: Response) -> None:
    """Raise for the error of an object store. Its body is not quoted, since it may repeat the signature."""
    if 200 <= response.status < 300:
        return
    reason = re.search(rb"<Code>(\w{1,60})</Code>", response.body[:4096])
    detail = f": {reason[1].decode('ascii', 'replace')}" if reason else ""
    codes = {403: "forbidden", 404: "not_found", 413: "payload_too_large", 503: "unavailable"}
    error = api_error(
        codes.get(response.status, "internal"),
        f"the object store answered HTTP {response.status}{detail}",
        status=response.status,
    )
    error.retry_after = parse_retry_after(response.headers.get("retry-after"), time.time())
    raise error


def _check_method(given: str, expected: str, progress: Progress) -> None:
    if given.upper() != expected:
        raise progress.complete(BadReplyError(f"the presigned URL is not for {expected}", path="$.method", status=200))


def _digest(data: memoryview) -> str:
    # Not at the top, as above: it loads OpenSSL.
    import hashlib

    return hashlib.sha256(data).hexdigest()


__all__ = ["check_data", "check_path", "read", "write"]
