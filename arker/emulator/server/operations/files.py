"""`POST /v1/vms/{id}/sync`: reading a file, the three kinds of write, and the list of a directory's files."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from arker.emulator.sandbox.base import FileReader, SandboxError
from arker.emulator.server import outputs, parsing, replies
from arker.emulator.server.backend import Backend, logger
from arker.emulator.server.errors import ServiceError, from_file, from_os, invalid, missing, unsupported
from arker.emulator.server.ids import is_ulid, new_ulid
from arker.emulator.server.journal.trace import trace_of
from arker.emulator.server.operations import manifests, uploads
from arker.emulator.server.presign import Grant
from arker.emulator.server.records import Organisation, Upload, VmRecord
from arker.models import CHUNK_SIZE, MAX_PUT_SIZE

MAX_READ: Final = 192 * 1024 * 1024
"""Bytes of a file that is read without a presigned URL, and so held in memory; what its VM says may be anything."""
MAX_ENTRIES: Final = 500

_LONGEST_ID = 128
_INLINE = 64 * 1024
_AT_ONCE = 8  # files of one request that are written at the same time

Result = dict[str, Any]


async def sync(backend: Backend, org: Organisation, request: web.Request) -> web.StreamResponse:
    body = await parsing.read_object(request)
    vm = backend.vm(org, request.match_info["vm_id"])
    operation = body.get("op")
    if operation == "read":
        fields = parsing.body_of(backend, "SyncReadOperationRequest", body)
        return await _read(request, backend, vm, fields.required_text("path"))
    if operation == "write":
        vm = backend.usable_vm(org, request.match_info["vm_id"])
        return await _write(request, backend, vm, parsing.body_of(backend, "SyncWriteOperationRequest", body))
    if operation == "manifest" and backend.generation.new:
        fields = parsing.body_of(backend, "SyncManifestOperationRequest", body)
        return replies.json_response(await manifests.manifest(backend, vm, fields.required_text("path")))
    raise invalid("op", "read, write or manifest" if backend.generation.new else "read or write")


async def _read(request: web.Request, backend: Backend, vm: VmRecord, path: str) -> web.StreamResponse:
    try:
        reader = await vm.sandbox.open_read(path)
    except SandboxError as error:
        raise from_file(error) from None
    try:
        if reader.size > CHUNK_SIZE and backend.presigned:
            grant = Grant(method="GET", vm_id=vm.vm_id, path=path, size=reader.size)
            reply = {
                "ok": True,
                "op": "read",
                "path": path,
                "size": reader.size,
                "presigned_url": backend.presigner.url(backend.origin, grant),
                "expires_in": backend.presigner.expires_in,
                "method": "GET",
            }
            return replies.json_response(backend.generation.show("SyncReadPresignedResponse", reply))
        if reader.size > MAX_READ:
            message = f"the file has {reader.size} bytes, and {MAX_READ} at most go into a reply"
            raise ServiceError("payload_too_large", message, details={"maximum_bytes": MAX_READ})
        # A small file is in the page cache nearly always, and reading it costs less than a thread.
        data = _contents(reader) if reader.size <= _INLINE else await asyncio.to_thread(_contents, reader)
    except OSError as error:
        raise from_os(error, "the file could not be read", named=True) from None
    finally:
        reader.close()
    content = await outputs.encode(data)
    encoding = backend.generation.encoding_of_files(content.encoding)
    body = {"ok": True, "op": "read", "path": path, "size": len(data), "encoding": encoding}
    shown = backend.generation.show("SyncReadInlineResponse", body)
    return await replies.large_response(request, shown, {"content": content})


def _contents(reader: FileReader) -> bytes:
    pieces: list[bytes] = []
    done = 0
    while done < reader.size and (piece := os.pread(reader.fd, reader.size - done, done)):
        pieces.append(piece)
        done += len(piece)
    return b"".join(pieces)


async def _write(request: web.Request, backend: Backend, vm: VmRecord, fields: parsing.Fields) -> web.Response:
    writes = fields.raw("writes")
    if not isinstance(writes, list) or (not writes and not backend.generation.old):
        raise invalid("writes", "a list of entries")
    entries: list[Any] = writes  # pyright: ignore[reportUnknownVariableType]
    if len(entries) > MAX_ENTRIES:
        raise ServiceError("payload_too_large", f"writes: at most {MAX_ENTRIES} entries in one request")
    content, most = sum(_content_size(entry) for entry in entries), backend.generation.most_content
    if content > most:
        details = {"maximum_bytes": most, "request_bytes": content}
        message = f"writes: at most {most} bytes of content in one request"
        raise ServiceError("payload_too_large", message, details=details)
    if backend.generation.new and any(isinstance(entry, dict) and entry.get("is_secret") is True for entry in entries):  # pyright: ignore[reportUnknownMemberType]
        trace_of(request).forget_body()
    uploads.forget_old(backend, vm)
    vm.last_active_ms = backend.clock.now_ms()
    results: list[Result] = [{} for _ in entries]
    # Entries for one path are taken in their order; different paths do not wait for each other.
    by_path: dict[object, list[int]] = {}
    for index, entry in enumerate(entries):
        path: Any = entry.get("path") if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
        by_path.setdefault(path if isinstance(path, str) else None, []).append(index)
    if len(by_path) == 1:
        for index, entry in enumerate(entries):
            results[index] = await _entry(backend, vm, index, entry)
    else:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one_path(indexes: list[int]) -> None:
            async with slots:
                for index in indexes:
                    results[index] = await _entry(backend, vm, index, entries[index])

        await asyncio.gather(*[one_path(indexes) for indexes in by_path.values()])
    backend.keeper.flush()
    body = {"ok": True, "op": "write", "results": results}
    return replies.json_response(backend.generation.show("SyncWriteResponse", body))


def _content_size(entry: Any) -> int:
    content: Any = entry.get("content") if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    if not isinstance(content, str):
        return 0
    return len(content) * 3 // 4 - content[-2:].count("=")


async def _entry(backend: Backend, vm: VmRecord, index: int, entry: Any) -> Result:
    """Write one entry. An error is the entry's own result."""
    where = f"writes[{index}]"
    known: Result = {}
    try:
        if not isinstance(entry, dict):
            raise invalid(where, "an object")
        members: dict[str, Any] = entry  # pyright: ignore[reportUnknownVariableType]
        shape, write = _kind(members, where)
        fields = parsing.Fields(members, shape, backend.generation, f"{where}.")
        path = fields.required_text("path")
        known["path"] = path
        size = fields.required_integer("size", minimum=0, maximum=MAX_PUT_SIZE)
        known["size"] = size
        fields.boolean("is_secret")
        return known | await write(backend, vm, fields, path, size)
    except ServiceError as error:
        refusal = error
    except OSError as error:
        refusal = from_os(error, "the server could not store the file", named=True)
    except Exception:
        logger.exception("an entry of a write to %s failed", vm.vm_id)
        refusal = ServiceError("internal", "the server failed while writing the file")
    outcome = {"error": backend.generation.entry_error(refusal), "complete": False, "written": False}
    return backend.generation.unknown_file | known | outcome


def _kind(
    entry: dict[str, Any], where: str
) -> tuple[str, Callable[[Backend, VmRecord, parsing.Fields, str, int], Awaitable[Result]]]:
    presigned = entry.get("presigned")
    if presigned is not None and not isinstance(presigned, bool):
        raise invalid(f"{where}.presigned", "true or false")
    if presigned:
        return "SyncPresignedWriteRequest", _presign
    if entry.get("content") is None:
        return "SyncPresignedWriteCommit", _commit
    return "SyncChunkWrite", _chunk


def _digest_field(fields: parsing.Fields) -> str | None:
    digest = fields.text("sha256")
    if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise invalid(fields.name("sha256"), "64 lower-case hex digits")
    return digest


def _mismatch(expected: str, actual: str) -> ServiceError:
    return ServiceError("bad_request", f"sha256: the content's digest is {actual}, not {expected}")


def _same_file(upload: Upload, kind: str, fields: parsing.Fields, path: str, size: int) -> Upload:
    if upload.kind != kind or upload.path != path or upload.size != size:
        raise ServiceError("bad_request", f"{fields.name('upload_id')}: this upload was opened for another file")
    return upload


async def _presign(backend: Backend, vm: VmRecord, fields: parsing.Fields, path: str, size: int) -> Result:
    if not backend.presigned:
        raise unsupported("this server has no presigned URLs: send the file in chunks")
    now = backend.clock.now_ms()
    upload_id = new_ulid(now)
    vm.uploads[upload_id] = Upload(
        upload_id=upload_id, kind="put", path=path, size=size, spool=backend.spool_dir / upload_id, created_ms=now
    )
    backend.keeper.save_upload(vm, vm.uploads[upload_id])
    grant = Grant(method="PUT", vm_id=vm.vm_id, path=path, size=size, upload_id=upload_id)
    return {
        "presigned_url": backend.presigner.url(backend.origin, grant),
        "upload_id": upload_id,
        "expires_in": backend.presigner.expires_in,
        "method": "PUT",
        "complete": False,
        "written": False,
    }


async def _commit(backend: Backend, vm: VmRecord, fields: parsing.Fields, path: str, size: int) -> Result:
    upload_id = fields.required_text("upload_id")
    expected = _digest_field(fields)
    upload = vm.uploads.get(upload_id)
    if upload is None:
        raise missing("upload", f"{fields.name('upload_id')}: there is no such upload")
    _same_file(upload, "put", fields, path, size)
    async with upload.lock:
        if upload.received is None:
            raise ServiceError("bad_request", f"{fields.name('upload_id')}: nothing was PUT to its URL yet")
        if expected is not None and expected != upload.received:
            raise _mismatch(expected, upload.received)
        if not upload.written:
            await uploads.place(backend, vm, path, size, upload.spool)
            _finish(backend, vm, upload)
    return {"complete": True, "written": True}


def _finish(backend: Backend, vm: VmRecord, upload: Upload) -> None:
    """Record that a file is in place before its spool file goes."""
    upload.written = True
    backend.keeper.save_upload(vm, upload)
    if upload.spool.exists():
        backend.keeper.flush()
        upload.discard()


async def _chunk(backend: Backend, vm: VmRecord, fields: parsing.Fields, path: str, size: int) -> Result:
    upload_id = fields.required_text("upload_id")
    if not is_ulid(upload_id) and not (backend.generation.new and len(upload_id) <= _LONGEST_ID):
        raise invalid(fields.name("upload_id"), "a ULID")
    start = fields.required_integer("start", minimum=0)
    end = fields.required_integer("end", minimum=0)
    if not start <= end <= size or (start == end and size > 0):
        raise invalid(f"{fields.name('start')}, end", "a range within the file's size")
    content = fields.raw("content")
    if not isinstance(content, str):
        raise invalid(fields.name("content"), "base64")
    expected = _digest_field(fields)
    data = outputs.decode_base64(fields.name("content"), content)
    if len(data) != end - start:
        raise invalid(fields.name("content"), f"the {end - start} bytes from start to end, not {len(data)}")
    upload = vm.uploads.get(upload_id)
    if upload is None:
        now = backend.clock.now_ms()
        upload = vm.uploads[upload_id] = Upload(
            upload_id=upload_id,
            kind="chunks",
            path=path,
            size=size,
            # Not by its id, which is the client's, nor by a number: an earlier server may have used the same one.
            spool=backend.spool_dir / new_ulid(now),
            created_ms=now,
        )
    _same_file(upload, "chunks", fields, path, size)
    async with upload.lock:
        if not upload.written:
            upload.expected = expected or upload.expected
            try:
                await _take(backend, vm, upload, data, start, end)
            except BaseException as error:
                # A later attempt at the same chunk can succeed only if the others are still held; otherwise the client
                # starts again.
                passing = isinstance(error, ServiceError) and error.status >= 500
                if not passing or not upload.spool.exists():
                    vm.uploads.pop(upload_id, None)
                    backend.keeper.forget_upload(vm, upload)
                    upload.discard()
                raise
    return {
        "received_bytes": upload.held,
        "ranges": [{"start": low, "end": high} for low, high in upload.ranges],
        "complete": upload.complete,
        "written": upload.written,
    }


async def _take(backend: Backend, vm: VmRecord, upload: Upload, data: bytes, start: int, end: int) -> None:
    """Take a chunk. The last one puts the file into place. A file of a single chunk needs no spool."""
    if vm.deleted:
        raise missing("resource", "the VM has been deleted")
    whole = end - start == upload.size
    if not whole:
        await asyncio.to_thread(uploads.write_range, upload.spool, data, start)
    upload.add(start, end)
    if not upload.complete:
        backend.keeper.save_upload(vm, upload)
        return
    if upload.expected is not None:
        if not whole:
            actual = await asyncio.to_thread(uploads.digest_of, upload.spool)
        elif len(data) <= _INLINE:
            actual = hashlib.sha256(data).hexdigest()
        else:
            actual = (await asyncio.to_thread(hashlib.sha256, data)).hexdigest()
        if actual != upload.expected:
            raise _mismatch(upload.expected, actual)
    await uploads.place(backend, vm, upload.path, upload.size, data if whole else upload.spool)
    _finish(backend, vm, upload)


__all__ = ["MAX_ENTRIES", "sync"]
