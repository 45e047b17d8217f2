"""Uploads: the ledger of byte ranges, the spool files, and putting a file into a VM (contract, section 6)."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.server.errors import from_file
from arker.emulator.server.records import Upload

if TYPE_CHECKING:
    from arker.emulator.server.backend import Backend
    from arker.emulator.server.records import VmRecord

PIECE: Final = 1024 * 1024
LIFETIME_MS: Final = 24 * 3600 * 1000
"""Uploads that were begun longer ago are forgotten, finished or not."""

_INLINE = 64 * 1024  # a write of this size into the page cache costs less than handing it to a thread


def forget_old(backend: Backend, vm: VmRecord) -> None:
    """Drop the uploads that were begun a day ago. Entries are in the order in which they were begun."""
    now_ms = backend.clock.now_ms()
    while vm.uploads:
        upload_id, upload = next(iter(vm.uploads.items()))
        if upload.created_ms + LIFETIME_MS > now_ms or upload.lock.locked():
            return
        del vm.uploads[upload_id]
        backend.keeper.forget_upload(vm, upload)
        upload.discard()


async def discard_all(vm: VmRecord) -> None:
    """Discard the uploads of a deleted VM. Waits for work that is in progress on one."""
    for connection in tuple(vm.receiving):  # a client may take its time
        connection.close()
    for upload in list(vm.uploads.values()):
        async with upload.lock:
            upload.discard()
    vm.uploads.clear()


def write_all(fd: int, data: bytes, offset: int = 0) -> None:
    """Write every byte at the offset."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        offset += count
        view = view[count:]


def write_range(path: Path, data: bytes, offset: int) -> None:
    """Write into a spool file. It is made if it does not exist."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data, offset)
    finally:
        os.close(fd)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _copy(source: Path, fd: int, size: int) -> None:
    with source.open("rb", buffering=0) as file:
        done = 0
        while done < size:
            try:
                # Shares the blocks where the file system can.
                count = os.copy_file_range(file.fileno(), fd, size - done, done, done)
            except (AttributeError, OSError):
                piece = os.pread(file.fileno(), PIECE, done)
                write_all(fd, piece, done)
                count = len(piece)
            if count == 0:
                raise OSError(errno.EIO, "the spool file is shorter than the upload")
            done += count


async def place(backend: Backend, vm: VmRecord, path: str, size: int, content: bytes | Path) -> None:
    """Put a whole file into the VM, atomically. ``content`` is its bytes or a spool file."""
    with backend.keeper.writing(vm, path):
        await _place(vm, path, size, content)


async def _place(vm: VmRecord, path: str, size: int, content: bytes | Path) -> None:
    try:
        writer = await vm.sandbox.open_write(path, size)
    except SandboxError as error:
        raise from_file(error) from None
    try:
        if isinstance(content, Path):
            await asyncio.to_thread(_copy, content, writer.fd, size)
        elif len(content) <= _INLINE:
            write_all(writer.fd, content)
        else:
            await asyncio.to_thread(write_all, writer.fd, content)
    except BaseException:
        await writer.abort()
        raise
    try:
        await writer.commit()
    except SandboxError as error:
        raise from_file(error) from None


__all__ = [
    "PIECE",
    "Upload",
    "digest_of",
    "discard_all",
    "forget_old",
    "place",
    "write_all",
    "write_range",
]
