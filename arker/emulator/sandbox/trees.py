"""Storage of VMs' files: made, copied and removed behind one interface, so that layers can take the place of copies."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import importlib.resources
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.bubblewrap.identity import Identity
from arker.emulator.sandbox.host.process_tree import kill_group, kill_launched
from arker.emulator.sandbox.measure import Measure, walk
from arker.emulator.sandbox.pressure import Reserve, lack, lack_in, telling
from arker.emulator.sandbox.small_trees import copy_small, remove_small

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FOR_A_TOOL = 8
"""Descriptors that starting a program takes, and some more."""
_OF_FILE_SIZE = (-signal.SIGXFSZ, 128 + signal.SIGXFSZ)
"""The statuses of a tool, alone or below bwrap, that has hit a limit of the size of files."""
_LAST_STEPS = 1.0
"""Seconds that a bwrap has to end by itself once what it has started is dead."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class Tree(Protocol):
    """The files of one VM."""

    path: Path
    """Its root, on the host."""

    async def size(self) -> int:
        """Return the total bytes of its files."""
        ...

    async def remove(self) -> None: ...


class Storage(Protocol):
    """A store of trees."""

    async def create(self, vm_id: str) -> Tree:
        """Create a tree that contains only what `furnish` puts there."""
        ...

    async def copy(self, vm_id: str, source: Tree) -> Tree:
        """Copy another tree. Nothing may change in it meanwhile."""
        ...

    def adopt(self, vm_id: str) -> Tree:
        """Adopt the tree that an earlier process left. Raises `SandboxError`."""
        ...


class DirectoryTree:
    def __init__(self, path: Path, storage: DirectoryStorage) -> None:
        self.path = path
        self._storage = storage

    async def size(self) -> int:
        return await self._storage.measure(self.path)

    async def remove(self) -> None:
        await self._storage.discard(self.path)


class _ToolError(SandboxError):
    def __init__(self, tool: str, said: str, shown: str) -> None:
        super().__init__("internal", f"{tool} failed: {shown}")
        self.said = said


@functools.cache
def _deep_copy() -> str:
    return importlib.resources.files("arker.emulator.sandbox").joinpath("deep_copy.py").read_text("utf-8")


async def _in_thread(work: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
    """Run work in a thread. A caller that is cancelled waits for its end."""
    going = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **options))
    try:
        return await asyncio.shield(going)
    except asyncio.CancelledError:
        await asyncio.wait([going])
        raise


class DirectoryStorage:
    """A store with a directory for each tree. Copies share blocks where the filesystem supports that (``cp
    --reflink``).
    """

    def __init__(
        self,
        base: Path,
        *,
        identity: Identity | None,
        tool_prefix: Sequence[str],
        furnish: Callable[[Path], None],
        python: str = sys.executable,
    ) -> None:
        """Open the directory for use.

        Args:
            base: The directory of the trees. Only the VMs' user can enter it.
            identity: Who owns the trees; None for the server's own user.
            tool_prefix: What ``cp`` and ``rm`` are started through, to be able to handle directories of mode 000.
            furnish: Fills a new tree.
            python: The interpreter that copies trees with very long paths, as the trees' owner can run it.
        """
        self._base = base
        self._identity = identity
        self._prefix = tool_prefix
        self._furnish = furnish
        self._python = python
        self._reserve = Reserve(_FOR_A_TOOL)
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if identity is not None:
            os.chown(base, identity.uid, identity.gid)

    async def create(self, vm_id: str) -> Tree:
        path = self._free_place(vm_id)
        with telling(), self._removed_on_error(path):
            path.mkdir(mode=0o755)
            self._furnish(path)
        return DirectoryTree(path, self)

    def create_bare(self) -> DirectoryTree:
        """Create an empty tree for no VM in particular."""
        path = self._base / f".spare-{os.urandom(8).hex()}"
        with telling():
            path.mkdir(mode=0o755)
            if self._identity is not None:
                os.chown(path, self._identity.uid, self._identity.gid)
        return DirectoryTree(path, self)

    def put_in_place(self, tree: Tree, other: Tree) -> Tree:
        """Put a tree into the place of another one. Returns the other one, at a place of its own."""
        place = self._base / f".left-{os.urandom(8).hex()}"
        os.rename(other.path, place)
        os.rename(tree.path, other.path)
        return DirectoryTree(place, self)

    async def copy(self, vm_id: str, source: Tree) -> Tree:
        path = self._free_place(vm_id)
        try:
            await self._copy(source.path, path)
        except BaseException:
            await asyncio.shield(self.discard(path))
            raise
        return DirectoryTree(path, self)

    async def _copy(self, source: Path, path: Path) -> None:
        try:
            if await _in_thread(copy_small, source, path):
                return
        except (OSError, RuntimeError):  # the tool can do more, or says why not
            await self.discard(path)
        reflink = ["--reflink=auto"] if sys.platform == "linux" else []
        try:
            await self._tool("cp", "-a", *reflink, str(source), str(path))
        except _ToolError as error:
            if os.strerror(errno.ENAMETOOLONG) not in error.said:
                raise
            await self.discard(path)
            await self._tool(self._python, "-I", "-S", "-c", _deep_copy(), str(source), str(path))

    def close(self) -> None:
        """Remove the directory, if no tree is left in it."""
        self._reserve.close()
        with contextlib.suppress(OSError):
            self._base.rmdir()

    async def clear(self) -> None:
        """Remove every tree."""
        for path in await asyncio.to_thread(lambda: list(self._base.iterdir())):
            await self.discard(path)

    def adopt(self, vm_id: str) -> Tree:
        path = self._place(vm_id)
        if not path.is_dir():
            raise SandboxError("not_found", f"there are no files of a VM {vm_id}")
        return DirectoryTree(path, self)

    async def discard(self, path: Path) -> None:
        """Remove a tree. It works even when every resource is used up, since a deletion frees some."""
        with contextlib.suppress(OSError, RuntimeError):  # there may be no thread to be had
            if await _in_thread(remove_small, path):
                return
        try:
            await self._tool("rm", "-rf", str(path), reserve=self._reserve)
        except SandboxError as error:
            if self._prefix or error.code == "resource_pressure":
                raise
            await self._tool("chmod", "-R", "u+rwX", str(path), reserve=self._reserve)
            await self._tool("rm", "-rf", str(path), reserve=self._reserve)

    async def measure(self, path: Path) -> int:
        """Measure the bytes of the files below a directory. A VM may be changing them meanwhile."""
        if not self._prefix:
            return await asyncio.to_thread(walk, path)
        # Do not measure in the server itself: it may be root, and changing links could lead it elsewhere.
        measure = Measure()
        await self._tool(
            "find", str(path), "-ignore_readdir_race", "-type", "f", "-printf", Measure.FORMAT, output=measure.feed
        )
        return measure.total

    def _place(self, vm_id: str) -> Path:
        if not _ID.fullmatch(vm_id):
            raise SandboxError("bad_request", f"not a VM's id: {vm_id!r}")
        return self._base / vm_id

    def _free_place(self, vm_id: str) -> Path:
        path = self._place(vm_id)
        if path.exists():
            raise SandboxError("bad_request", f"there is a VM {vm_id} already")
        return path

    @contextlib.contextmanager
    def _removed_on_error(self, path: Path) -> Generator[None]:
        try:
            yield
        except BaseException:
            self._reserve.close()
            shutil.rmtree(path, ignore_errors=True)
            self._reserve.refill()
            raise

    async def _tool(
        self, *command: str, output: Callable[[bytes], None] | None = None, reserve: Reserve | None = None
    ) -> None:
        identity = self._identity

        def start() -> Coroutine[Any, Any, asyncio.subprocess.Process]:
            return asyncio.create_subprocess_exec(
                *self._prefix,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL if output is None else asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": "/usr/bin:/bin"},
                cwd="/",
                start_new_session=True,
                user=None if identity is None else identity.uid,
                group=None if identity is None else identity.gid,
                extra_groups=None if identity is None else [],
            )

        with telling():
            starting = asyncio.ensure_future(start() if reserve is None else reserve.start(start))
            try:
                await self._wait(starting, command, output)
            finally:
                if reserve is not None:
                    reserve.refill()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if self._prefix and process.returncode is None and kill_launched(process.pid):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.communicate(), _LAST_STEPS)
                return
        kill_group(process.pid)
        await process.communicate()

    async def _wait(
        self,
        starting: asyncio.Future[asyncio.subprocess.Process],
        command: Sequence[str],
        output: Callable[[bytes], None] | None,
    ) -> None:
        try:
            process = await asyncio.shield(starting)
            if output is not None and process.stdout is not None:
                while piece := await process.stdout.read(64 * 1024):
                    output(piece)
            _, errors = await process.communicate()
        except asyncio.CancelledError:
            # The tool itself must have ended, not only its launcher: it must not write after the clean-up.
            process = await starting
            await self._end(process)
            raise
        if process.returncode != 0:
            text = errors.decode("utf-8", "replace").strip()
            reason = lack_in(text)
            if reason is None and process.returncode in _OF_FILE_SIZE:
                reason = lack(OSError(errno.EFBIG, ""))
            if reason is not None:
                raise SandboxError("resource_pressure", reason)
            # Clients are not told where the server keeps its files.
            raise _ToolError(Path(command[0]).name, text, f"{text.replace(str(self._base), '…')[:500]}")


__all__ = ["DirectoryStorage", "DirectoryTree", "Storage", "Tree"]
