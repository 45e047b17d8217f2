"""fsspec: the files of VMs as ``arker://VM/path``, for pandas, Dask, universal_pathlib and all others that use it."""

from __future__ import annotations

import errno
import tempfile
import weakref
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar, cast

import anyio
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.core import has_magic

from arker import AsyncArker, AsyncRemoteFile, AsyncVM, NotFoundError, TransferProgress
from arker.errors import InvalidArgumentError
from arker.integrations._fsspec_entries import described, followed, scanned
from arker.integrations._fsspec_files import ArkerFile, ArkerStreamedFile, end_all
from arker.integrations._shared import make_client
from arker_sync import Arker
from arker_sync._bridge.facade import twin


class _Kept(type(AsyncFileSystem)):  # type: ignore[misc]
    """Keeps filesystems for those who ask for the same again. Clients that look the same may be different ones."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("client") is not None:
            kwargs["skip_instance_cache"] = True
        return super().__call__(*args, **kwargs)


class ArkerFileSystem(AsyncFileSystem, metaclass=_Kept):
    """The files of VMs: ``arker://VM/path``, where VM is an id or a name.

        fs = ArkerFileSystem(client=client)
        fs.pipe(f"arker://{vm.id}/srv/data.csv", b"a,b")

    Without a client it makes one from the environment: of the cloud, or of an embedded backend of its own.

    Args:
        client: The client to use, `AsyncArker` or `Arker`; it stays the caller's.
        use_listings_cache: Whether listings are kept until something is changed through this filesystem. By default
            they are not, because commands in the VM change files, too.
        options: Options of fsspec, such as ``asynchronous``, ``skip_instance_cache`` and ``listings_expiry_time``.
    """

    protocol: ClassVar[str | tuple[str, ...]] = "arker"
    root_marker = ""

    def __init__(
        self, *, client: AsyncArker | Arker | None = None, use_listings_cache: bool = False, **options: Any
    ) -> None:
        super().__init__(use_listings_cache=use_listings_cache, **options)
        given = twin(client)
        if given is not None and not isinstance(given, AsyncArker):
            raise InvalidArgumentError("client", client, "expected an AsyncArker or an Arker")
        self._client: AsyncArker = given or make_client()
        self._vms: dict[str, AsyncVM] = {}
        self._open_files: weakref.WeakValueDictionary[int, ArkerFile] = weakref.WeakValueDictionary()
        if not self.asynchronous:
            weakref.finalize(self, end_all, self.loop, self._open_files, self._client if client is None else None)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return super()._strip_protocol(path).lstrip("/")

    @classmethod
    def of(cls, client: AsyncArker | Arker, **options: Any) -> ArkerFileSystem:
        """Return a filesystem that uses a client, which stays the caller's.

        Args:
            client: The client; it may be in use in other event loops, too.
            options: As for the class.
        """
        return cls(client=client, **options)

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
        if not own.is_symlink or own.target_kind is None:
            return described(path, own)
        return followed(path, own, await vm.files.stat(inner))

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        found = self._ls_from_cache(path) if not kwargs.get("refresh") else None
        if found is None:
            found = await self._listed(path, detail=detail or self.dircache.use_listings_cache)
            self.dircache[path] = found
        return list(found) if detail else sorted(entry["name"] for entry in found)

    async def _listed(self, path: str, *, detail: bool) -> list[dict[str, Any]]:
        if not path:
            return [{"name": vm.id, "size": 0, "type": "directory"} async for vm in self._client.iter_vms()]
        vm, inner = await self._place(path)
        try:
            return await scanned(vm, path, inner, detail=detail)
        except NotADirectoryError:
            return [await self._info(path)]

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
            for entry in await scanned(vm, path, inner, recursive=True, detail=bool(kwargs.get("detail"))):
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

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Move files and directories: within a VM by renaming, with everything in them.

        Args:
            path1: The file or directory, a pattern, or a list of them.
            path2: The target; the directory to move it into if there is one, or if it ends with a slash.
            recursive: Whether directories are moved where that takes copying: by a pattern, and to another VM.
            maxdepth: As for `cp`.
            kwargs: As for `cp`.
        """
        sync(self.loop, self._mv, path1, path2, recursive=recursive, maxdepth=maxdepth, **kwargs)

    async def _mv(
        self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any
    ) -> None:
        if isinstance(path1, str) and isinstance(path2, str) and not has_magic(path1) and maxdepth is None:
            into = path2.endswith("/") or await self._isdir(path2)
            target = f"{path2.rstrip('/')}/{self._strip_protocol(path1).rpartition('/')[2]}" if into else path2
            # With a slash at its end, it is the content of a directory that goes into another one.
            if not (into and path1.endswith("/")) and await self._renamed(path1, target):
                return
        await self._copy(path1, path2, recursive=recursive, maxdepth=maxdepth, **{**kwargs, "on_error": "raise"})
        await self._rm(path1, recursive=recursive)

    async def _renamed(self, path1: str, path2: str) -> bool:
        """Rename a file or directory; return False for one of another VM."""
        vm, source = await self._place(path1)
        other, target = await self._place(path2)
        if vm.id != other.id:
            return False
        await vm.files.stat(source, follow_symlinks=False)  # no directories are made for what is not there
        await vm.files.mkdir(target.rpartition("/")[0] or "/", parents=True, exist_ok=True)
        await vm.files.replace(source, target)
        self._changed(path1, path2)
        return True

    async def _mv_file(self, path1: str, path2: str) -> None:
        if not await self._renamed(path1, path2):
            await self._cp_file(path1, path2)
            await self._rm_file(path1)

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

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file, or set the times of one that is there to now.

        Args:
            path: The file.
            truncate: Whether a file that is there is made empty.
            kwargs: As for `open`.
        """
        if truncate:
            super().touch(path, truncate=True, **kwargs)
        else:
            sync(self.loop, self._touched, path)

    async def _touched(self, path: str) -> None:
        vm, inner = await self._place(path)
        await vm.files.mkdir(inner.rpartition("/")[0] or "/", parents=True, exist_ok=True)
        await vm.files.touch(inner)
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
        return ArkerFile(self, path, mode, block_size or "default", **kwargs)

    async def open_async(self, path: str, mode: str = "rb", **kwargs: Any) -> ArkerStreamedFile:
        """Open a file whose methods are coroutines.

        Args:
            path: The file.
            mode: ``rb``, ``wb`` or ``ab``.
            kwargs: Options of fsspec.
        """
        if mode not in ("rb", "wb", "ab") or kwargs.get("compression"):
            raise ValueError(f"open_async has the modes rb, wb and ab, without compression, not {mode!r}")
        reading = await self._opened(path) if mode == "rb" else None
        file = ArkerStreamedFile(self, self._strip_protocol(path), mode, reading, **kwargs)
        if mode == "ab":
            file.loc = await self._size_before(path)
        return file

    async def _opened(self, path: str) -> AsyncRemoteFile[bytes]:
        vm, inner = await self._place(path)
        file = vm.files.open(inner, "rb")
        await file.__aenter__()
        return file

    async def _size_before(self, path: str) -> int:
        try:
            return cast(int, (await self._info(path))["size"])
        except FileNotFoundError:
            return 0


async def _is_still(vm: AsyncVM, name: str) -> bool:
    """Tell whether a VM still has its name; another one may have got it since."""
    try:
        return (await vm.refresh()).name == name
    except NotFoundError:
        return False


def _position(place: int, size: int) -> int:
    return max(0, size + place) if place < 0 else min(place, size)


__all__ = ["ArkerFile", "ArkerFileSystem"]
