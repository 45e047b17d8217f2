"""Presigned PUT and GET: raw bytes, no bearer token, streamed in both directions (contract, section 6)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncGenerator

from aiohttp import web

from arker.emulator.sandbox.base import FileReader, SandboxError
from arker.emulator.server import streams
from arker.emulator.server.backend import Backend
from arker.emulator.server.coding import is_coded
from arker.emulator.server.errors import ServiceError, from_file, from_os, missing
from arker.emulator.server.ids import new_ulid
from arker.emulator.server.operations import uploads
from arker.emulator.server.operations.uploads import PIECE
from arker.emulator.server.presign import Grant
from arker.emulator.server.records import Upload, VmRecord
from arker.models import MAX_PUT_SIZE

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def _granted(backend: Backend, request: web.Request) -> tuple[Grant, VmRecord]:
    grant = backend.presigner.check(
        request.method,
        request.match_info["vm_id"],
        request.query.get("grant", ""),
        request.query.get("signature", ""),
    )
    vm = backend.find_anywhere(grant.vm_id)
    if vm is None:
        raise missing("vm", "the VM of this presigned URL has been deleted")
    return grant, vm


async def put_file(backend: Backend, request: web.Request) -> web.StreamResponse:
    """Store a whole file in a spool file. A commit puts it into the VM. The latest complete PUT counts."""
    grant, vm = _granted(backend, request)
    with backend.changing(backend.organisations[vm.org_id]):
        return await _put(backend, request, grant, vm)


async def _put(backend: Backend, request: web.Request, grant: Grant, vm: VmRecord) -> web.StreamResponse:
    if is_coded(request):
        # A few bytes may expand to any size.
        raise ServiceError("bad_request", "the body has a Content-Encoding: send the file as it is")
    if request.content_length is None:
        raise ServiceError("bad_request", "a Content-Length is required", status=411)
    if request.content_length > MAX_PUT_SIZE:
        raise ServiceError("payload_too_large", f"one PUT takes at most {MAX_PUT_SIZE} bytes")
    if request.content_length != grant.size:
        raise ServiceError("bad_request", f"the URL is for {grant.size} bytes, not for {request.content_length}")
    upload = vm.uploads.get(grant.upload_id)
    if upload is None:
        raise missing("upload", "there is no such upload")
    part = backend.spool_dir / f"{grant.upload_id}.{new_ulid(backend.clock.now_ms())}"
    connection = request.transport
    if connection is None:
        raise ConnectionResetError("the client has gone")
    vm.receiving.add(connection)
    try:
        received, size = await _spool(request, part, grant.size)
        if size != grant.size:
            raise ServiceError("bad_request", f"the URL is for {grant.size} bytes, and {size} came")
        async with upload.lock:
            await _keep(backend, vm, upload, part, received)
    except OSError as error:
        raise from_os(error, "the server could not store the file") from None
    finally:
        vm.receiving.discard(connection)
        part.unlink(missing_ok=True)
    return web.Response(headers={"ETag": f'"{received}"'})


async def _keep(backend: Backend, vm: VmRecord, upload: Upload, part: os.PathLike[str], received: str) -> None:
    if vm.deleted or vm.uploads.get(upload.upload_id) is not upload:
        raise missing("upload", "the VM or the upload of this presigned URL has gone")
    if not upload.written:
        os.replace(part, upload.spool)
        upload.received = received
        backend.keeper.save_upload(vm, upload)
        backend.keeper.flush()


async def _spool(request: web.Request, part: os.PathLike[str], most: int) -> tuple[str, int]:
    """Write the body to a file, holding at most a few pieces in memory. Returns its SHA-256 and size.

    Raises:
        ServiceError: It has more than ``most`` bytes.
    """
    digest = hashlib.sha256()
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def store(pieces: list[bytes], offset: int) -> None:
        for piece in pieces:
            uploads.write_all(fd, piece, offset)
            digest.update(piece)
            offset += len(piece)

    try:
        pending: list[bytes] = []
        count = done = 0
        async for piece in streams.incoming(request):
            pending.append(piece)
            count += len(piece)
            if done + count > most:
                raise ServiceError("bad_request", f"the URL is for {most} bytes, and more came")
            if count >= PIECE:
                await asyncio.to_thread(store, pending, done)
                done += count
                pending, count = [], 0
        if pending:
            await asyncio.to_thread(store, pending, done)
    finally:
        os.close(fd)
    return digest.hexdigest(), done + count


async def get_file(backend: Backend, request: web.Request) -> web.StreamResponse:
    """Send a file, or the requested range of it."""
    grant, vm = _granted(backend, request)
    try:
        reader = await vm.sandbox.open_read(grant.path)
    except SandboxError as error:
        raise from_file(error) from None
    try:
        return await _send(request, reader)
    finally:
        reader.close()


async def _send(request: web.Request, reader: FileReader) -> web.StreamResponse:
    stat = os.fstat(reader.fd)
    tag = f'"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{reader.size:x}"'
    wanted = request.headers.get("If-Match")
    if wanted is not None and wanted != "*" and tag not in [part.strip() for part in wanted.split(",")]:
        raise ServiceError("bad_request", "the file has changed", status=412)
    span = None
    if request.headers.get("If-Range", tag) == tag:
        span = _range(request.headers.get("Range"), reader.size)
    start, end = span or (0, reader.size)
    response = web.StreamResponse(status=200 if span is None else 206)
    response.content_type = "application/octet-stream"
    response.content_length = end - start
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = tag
    if span is not None:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{reader.size}"
    return await streams.send(request, response, _pieces(reader, start, end))


async def _pieces(reader: FileReader, start: int, end: int) -> AsyncGenerator[bytes, None]:
    while start < end:
        # From here on only a broken connection can report an error.
        try:
            piece = await asyncio.to_thread(os.pread, reader.fd, min(PIECE, end - start), start)
        except OSError as error:
            raise ConnectionResetError("the file cannot be read") from error
        if not piece:
            raise ConnectionResetError("the file became shorter while it was being sent")
        yield piece
        start += len(piece)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Parse ``[start, end)`` of a single byte range; None for the whole file. That is also the answer to forms that a
    server may ignore (several ranges, other units).
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if start >= size or (not first and int(last) == 0):
        raise ServiceError(
            "bad_request", "the range is outside of the file", status=416, headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end


__all__ = ["get_file", "put_file"]
