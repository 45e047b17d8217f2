"""fsspec: the files of VMs as ``arker://VM/path``, for pandas, Dask, universal_pathlib and all others that use it."""

from __future__ import annotations

import asyncio
import errno
import tempfile
import weakref
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import anyio
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.spec import AbstractBufferedFile

from arker import AsyncArker, AsyncRemoteFile, AsyncVM, NotFoundError, TransferProgress
from arker.entries import FileStat
from arker.errors import InvalidArgumentError
from arker.integrations._shared import make_client

_SPOOL = 8 * 1024 * 1024
_SECONDS_TO_CLOSE = 10.0


class ArkerFileSystem(AsyncFileSystem):
    """The files of VMs: ``arker://VM/path``, where VM is an id or a name.

        fs = ArkerFileSystem.of(client)
        fs.pipe(f"arker://{vm.id}/srv/data.csv", b"a,b")

    Without a client it makes one from the environment: of the cloud, or of an embedded backend of its own.

    Args:
        client: The client to use; it stays the caller's. Use `of`, which keeps fsspec from confusing two clients.
        use_listings_cache: Whether listings are kept until something is changed through this filesystem. By default
            they are not, because commands in the VM change files, too.
        options: Options of fsspec, such as ``asynchronous``, ``skip_instance_cache`` and ``listings_expiry_time``.
    """

    protocol: ClassVar[str | tuple[str, ...]] = "arker"
    root_marker = ""

    def __init__(self, *, client: AsyncArker | None = None, use_listings_cache: bool = False, **options: Any) -> None:
        super().__init__(use_listings_cache=use_listings_cache, **options)
        if client is not None and not isinstance(client, AsyncArker):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("client", client, "expected an AsyncArker; it works for blocking calls as well")
        self._client = client or make_client()
        self._vms: dict[str, AsyncVM] = {}
        if client is None and not self.asynchronous:
            weakref.finalize(self, _close, self.loop, self._client)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return super()._strip_protocol(path).lstrip("/")

    @classmethod
    def of(cls, client: AsyncArker, **options: Any) -> ArkerFileSystem:
        """Return a filesystem that uses a client, which stays the caller's.

        Args:
            client: The client; it may be in use in other event loops, too.
            options: As for the class.
        """
        return cls(client=client, skip_instance_cache=True, **options)

    async def aclose(self) -> None:
        """Close the client that an asynchronous filesystem has made; others are closed with the filesystem."""
        await self._client.aclose()

    async def _place(self, path: str) -> tuple[AsyncVM, str]:
        """Return the VM of a path, and the path in it."""
        name, _, inner = self._strip_protocol(path).partition("/")
        if not name:
            raise ValueError(f"{path!r} names no VM: expected arker://VM/path")
        vm = self._vms.get(name)
        if vm is None or (vm.id != name and not await _is_still(vm, name)):
            vm = self._vms[name] = await self._find_vm(name)
        return vm, f"/{inner}"

    async def _find_vm(self, name: str) -> AsyncVM:
        try:
            return await self._client.get_vm(name)
        except NotFoundError:
            async for vm in self._client.iter_vms():
                if vm.name == name:
                    return vm
        raise FileNotFoundError(errno.ENOENT, "there is no VM with this id or name", name)

    def _changed(self, *paths: str) -> None:
        changed = {self._strip_protocol(path) for path in paths}
        above = {
            "/".join(parts[:count]) for parts in (path.split("/") for path in changed) for count in range(len(parts))
        }
        for known in list(self.dircache):
            if known in changed | above or known.startswith(tuple(f"{path}/" for path in changed)):
                self.dircache.pop(known, None)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings.

        Args:
            path: Only those of this path, of what is above it and of what is below it; by default all.
        """
        if path is None:
            self.dircache.clear()
        else:
            self._changed(path)

    async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        vm, inner = await self._place(path)
        own = await vm.files.stat(inner, follow_symlinks=False)
        if not own.is_symlink:
            return _described(path, own)
        if own.target_kind is None:
            return _described(path, own)
        return {**_described(path, await vm.files.stat(inner)), "islink": True, "destination": own.target}

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        found = self._ls_from_cache(path) if not kwargs.get("refresh") else None
        if found is None:
            found = await self._listed(path)
            self.dircache[path] = found
        return list(found) if detail else sorted(entry["name"] for entry in found)

    async def _listed(self, path: str) -> list[dict[str, Any]]:
        if not path:
            return [{"name": vm.id, "size": 0, "type": "directory"} async for vm in self._client.iter_vms()]
        vm, inner = await self._place(path)
        try:
            return [found async for found in self._scanned(vm, path, inner)]
        except NotADirectoryError:
            return [await self._info(path)]

    async def _scanned(self, vm: AsyncVM, path: str, inner: str, *, recursive: bool = False) -> Any:
        """Iterate over what is in a directory; symlinks to files have the size of the file, as they are read as it."""
        prefix = path.partition("/")[0]
        async for entry in vm.files.scandir(inner, recursive=recursive):
            name = prefix + entry.path
            yield await self._info(name) if entry.stat.target_kind == "file" else _described(name, entry.stat)

    async def _find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any
    ) -> list[str] | dict[str, dict[str, Any]]:
        path = self._strip_protocol(path)
        if maxdepth is not None or not path:
            found = await super()._find(path, maxdepth=maxdepth, withdirs=withdirs, **kwargs)
            return cast("list[str] | dict[str, dict[str, Any]]", found)
        vm, inner = await self._place(path)
        entries: dict[str, dict[str, Any]] = {}
        try:
            if withdirs and (top := await self._info(path))["type"] == "directory":
                entries[path] = top
            async for entry in self._scanned(vm, path, inner, recursive=True):
                if withdirs or entry["type"] != "directory":
                    entries[entry["name"]] = entry
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            entries = {path: await self._info(path)}
        return {name: entries[name] for name in sorted(entries)} if kwargs.get("detail") else sorted(entries)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        vm, inner = await self._place(path)
        if start is None and end is None:
            return await vm.files.read_bytes(inner, max_bytes=None)
        async with vm.files.open(inner, "rb") as file:
            first, last = (_position(each, file.size) for each in (start or 0, file.size if end is None else end))
            file.seek(first)
            return await file.read(max(0, last - first))

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        vm, inner = await self._place(path)
        await self._check_new(vm, inner, mode)
        await vm.files.write_bytes(inner, value, parents=True)
        self._changed(path)

    async def _check_new(self, vm: AsyncVM, inner: str, mode: str) -> None:
        if mode == "create" and await vm.files.exists(inner):
            raise FileExistsError(errno.EEXIST, "the file exists", inner)

    async def _put_file(
        self, lpath: str, rpath: str, mode: str = "overwrite", callback: Callback = DEFAULT_CALLBACK, **kwargs: Any
    ) -> None:
        vm, inner = await self._place(rpath)
        if await anyio.Path(lpath).is_dir():
            await self._makedirs(rpath, exist_ok=True)
            return
        await self._check_new(vm, inner, mode)
        result = await vm.upload(Path(lpath), inner, progress=lambda state: callback.absolute_update(state.done))
        callback.set_size(result.size)
        self._changed(rpath)

    async def _get_file(self, rpath: str, lpath: str, callback: Callback = DEFAULT_CALLBACK, **kwargs: Any) -> None:
        vm, inner = await self._place(rpath)
        if await self._isdir(rpath):
            await anyio.Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        await anyio.Path(lpath).parent.mkdir(parents=True, exist_ok=True)

        def tell(state: TransferProgress) -> None:
            if state.total is not None:
                callback.set_size(state.total)
            callback.absolute_update(state.done)

        await vm.download(inner, Path(lpath), progress=tell)

    async def _cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        vm, source = await self._place(path1)
        other, target = await self._place(path2)
        if await self._isdir(path1):
            await self._makedirs(path2, exist_ok=True)
        elif vm.id == other.id:
            await vm.files.mkdir(target.rpartition("/")[0] or "/", parents=True, exist_ok=True)
            await vm.files.copy(source, target)
        else:
            with tempfile.TemporaryFile() as spool:
                await vm.download(source, spool)
                spool.seek(0)
                await other.upload(spool, target)
        self._changed(path2)

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        vm, inner = await self._place(path)
        await vm.files.remove(inner)
        self._changed(path)

    async def _rm(
        self,
        path: str | list[str],
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        gone: list[str] = []
        for each in await self._expand_path(path, maxdepth=maxdepth):
            if each.startswith(tuple(gone)):
                continue  # a pattern may find what is in a directory, too
            vm, inner = await self._place(each)
            if recursive and (await vm.files.stat(inner, follow_symlinks=False)).is_dir:
                await vm.files.rmtree(inner)
                gone.append(f"{each}/")
            else:
                await vm.files.remove(inner)
            self._changed(each)

    async def _mv_file(self, path1: str, path2: str) -> None:
        vm, source = await self._place(path1)
        other, target = await self._place(path2)
        if vm.id == other.id:
            await vm.files.replace(source, target)
        else:
            await self._cp_file(path1, path2)
            await self._rm_file(path1)
        self._changed(path1, path2)

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        vm, inner = await self._place(path)
        await vm.files.mkdir(inner, parents=create_parents)
        self._changed(path)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        vm, inner = await self._place(path)
        await vm.files.mkdir(inner, parents=True, exist_ok=exist_ok)
        self._changed(path)

    async def _rmdir(self, path: str) -> None:
        vm, inner = await self._place(path)
        await vm.files.rmdir(inner)
        self._changed(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory.

        Args:
            path: The directory.
        """
        sync(self.loop, self._rmdir, path)

    def created(self, path: str) -> Any:
        """Return the time of the file's last change of status, as there is no other.

        Args:
            path: The file.
        """
        return self._time(path, "ctime")

    def modified(self, path: str) -> Any:
        """Return the time of the last modification.

        Args:
            path: The file.
        """
        return self._time(path, "mtime")

    def _time(self, path: str, which: str) -> Any:
        return datetime.fromtimestamp(self.info(path)[which], tz=timezone.utc)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **kwargs: Any) -> ArkerFile:
        if "x" in mode and self.exists(path):
            raise FileExistsError(errno.EEXIST, "the file exists", path)
        file = ArkerFile(self, path, mode, block_size or "default", **kwargs)
        if "r" in mode and file.details["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "it is a directory", path)
        return file


class ArkerFile(AbstractBufferedFile):
    """An open file of a VM: read by ranges of one version, or written as a whole when it is closed."""

    fs: ArkerFileSystem
    _read_from: AsyncRemoteFile[bytes] | None = None
    _spool: IO[bytes] | None = None

    def _fetch_range(self, start: int, end: int) -> bytes:
        return cast(bytes, sync(self.fs.loop, self._fetch, start, end))

    async def _fetch(self, start: int, end: int) -> bytes:
        if self._read_from is None:
            vm, inner = await self.fs._place(self.path)
            self._read_from = vm.files.open(inner, "rb")
            await self._read_from.__aenter__()
        self._read_from.seek(start)
        return await self._read_from.read(end - start)

    def _initiate_upload(self) -> None:
        self._spool = tempfile.SpooledTemporaryFile(_SPOOL)  # noqa: SIM115 - it is closed with the file

    def _upload_chunk(self, final: bool = False) -> bool:
        assert self._spool is not None
        self._spool.write(self.buffer.getvalue())
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Write the file into the VM."""
        sync(self.fs.loop, self._commit)

    async def _commit(self) -> None:
        assert self._spool is not None
        vm, inner = await self.fs._place(self.path)
        self._spool.seek(0)
        if "a" in self.mode:
            await vm.files.write_bytes(inner, self._spool.read(), append=True, parents=True)
        else:
            await self.fs._check_new(vm, inner, "create" if "x" in self.mode else "overwrite")
            await vm.upload(self._spool, inner)
        self._spool.close()
        self.fs._changed(self.path)

    def discard(self) -> None:
        """Forget what was written."""
        if self._spool is not None:
            self._spool.close()

    def close(self) -> None:
        """Close the file; one that is written goes into the VM."""
        try:
            super().close()
        finally:
            file, self._read_from = self._read_from, None
            if file is not None:
                sync(self.fs.loop, file.aclose)


def _described(name: str, stat: FileStat) -> dict[str, Any]:
    kinds = {"file": "file", "directory": "directory", "symlink": "link"}
    described: dict[str, Any] = {
        "name": name.rstrip("/"),
        "size": 0 if stat.is_dir else stat.size,
        "type": kinds.get(stat.kind, "other"),
        "mode": stat.mode,
        "uid": stat.uid,
        "gid": stat.gid,
        "ino": stat.inode,
        "nlink": stat.links,
        "islink": stat.is_symlink,
        **{
            key: None if value is None else value / 1e9
            for key, value in (("mtime", stat.mtime_ns), ("ctime", stat.ctime_ns), ("created", stat.ctime_ns))
        },
    }
    return {**described, "destination": stat.target} if stat.is_symlink else described


async def _is_still(vm: AsyncVM, name: str) -> bool:
    """Tell whether a VM still has its name; another one may have got it since."""
    try:
        return (await vm.refresh()).name == name
    except NotFoundError:
        return False


def _position(place: int, size: int) -> int:
    return max(0, size + place) if place < 0 else min(place, size)


def _close(loop: asyncio.AbstractEventLoop, client: AsyncArker) -> None:
    sync(loop, client.aclose, timeout=_SECONDS_TO_CLOSE)


__all__ = ["ArkerFile", "ArkerFileSystem"]
