"""Storage of VMs' files: trees in a directory of the host, made, copied, shared and removed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.sandbox.bubblewrap.identity import Identity
from arker.emulator.sandbox.closed import Closed
from arker.emulator.sandbox.copying import copy_by_tools
from arker.emulator.sandbox.layer_trial import try_layers
from arker.emulator.sandbox.layers import PREFIX, SHARE, STACK, WORK, Layer, Stack, takes_another
from arker.emulator.sandbox.measure import Measure, walk
from arker.emulator.sandbox.notes import Notes
from arker.emulator.sandbox.pressure import Reserve, telling
from arker.emulator.sandbox.recovery import (
    LEFT,
    Complete,
    Found,
    complete_steps,
    damaged,
    exchange,
    layers_in,
    look,
    number_of,
    read_stack,
    write_stack,
)
from arker.emulator.sandbox.small_trees import copy_small, is_small, remove_small
from arker.emulator.sandbox.spread import spread
from arker.emulator.sandbox.tools import ToolError, Tools
from arker.emulator.sandbox.tree import Tree
from arker.emulator.sandbox.trial import AGAIN, Trial

logger = logging.getLogger("arker.emulator")

_P = ParamSpec("_P")
_T = TypeVar("_T")

_FOR_A_TOOL = 8
"""Descriptors that starting a program takes, and some more."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class DirectoryTree:
    def __init__(
        self, path: Path, storage: DirectoryStorage, stack: Stack | None = None, *, fresh: bool = False
    ) -> None:
        self.path = path
        self.stack = stack
        self.fresh = fresh
        self._storage = storage

    def furnish(self) -> None:
        if self.fresh:
            self._storage.furnish(self)

    async def size(self) -> int:
        return await self._storage.measure(self)

    async def remove(self) -> None:
        await self._storage.remove(self)


def _is_empty(path: Path) -> bool:
    try:
        return not os.listdir(path)
    except PermissionError:  # only a VM's own command has taken them away
        return False


async def in_thread(work: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
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
        furnish: Callable[[Path], None] | None,
        python: str = sys.executable,
        lasting: bool = False,
    ) -> None:
        """Open the directory for use.

        Args:
            base: The directory of the trees. Only the VMs' user can enter it.
            identity: Who owns the trees; None for the server's own user.
            tool_prefix: What ``cp`` and ``rm`` are started through, to be able to handle directories of mode 000.
            furnish: Fills a new tree; None if new ones stay empty.
            python: The interpreter that copies trees with very long paths, as the trees' owner can run it.
            lasting: Whether trees outlive this process, however it ends.
        """
        self._base = base
        self._identity = identity
        self._tools = Tools(tool_prefix, identity, base)
        self._furnish = furnish
        self._python = python
        self._reserve = Reserve(_FOR_A_TOOL)
        self._sharing = Trial(self._has_layers)
        self._told = False
        self._known: dict[str, Layer] = {}
        """Layers that an earlier process made, by name."""
        self.notes = Notes(base if lasting else None)
        self._was_there = base.is_dir()
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        # No name of an earlier process's layer is used again, which may be being removed meanwhile.
        self._numbers = itertools.count(1 + max((number_of(path) for path in layers_in(base)), default=0))
        spread(base)
        self._former = frozenset(base.iterdir()) if lasting else frozenset[Path]()
        """What an earlier process made, for VMs or for none."""
        if identity is not None:
            os.chown(base, identity.uid, identity.gid)

    async def create(self, vm_id: str) -> Tree:
        return self._create(self._free_place(vm_id), fresh=self._furnish is not None)

    def create_bare(self) -> DirectoryTree:
        """Create an empty tree for no VM in particular."""
        return self._create(self._base / f".spare-{os.urandom(8).hex()}", fresh=False)

    def _create(self, path: Path, *, fresh: bool) -> DirectoryTree:
        with telling(), self._removed_on_error(path):
            path.mkdir(mode=0o755)
            self._give(path)
        return DirectoryTree(path, self, fresh=fresh)

    def furnish(self, tree: Tree) -> None:
        """Put the files of a new VM into a fresh tree: all of them or none, even if this process is killed."""
        whole = self.create_bare()
        with telling(), self._removed_on_error(whole.path):
            assert self._furnish is not None
            self._furnish(whole.path)
            self.replace_fresh(tree, whole)

    def replace_fresh(self, fresh: Tree, other: Tree) -> None:
        """Put a tree into the place of a fresh one, in one step."""
        os.rename(other.path, fresh.path)  # a directory may take the place of an empty one
        fresh.fresh = False

    def put_in_place(self, tree: Tree, other: Tree) -> Tree:
        """Put a tree into the place of another one. Returns the other one, at a place of its own."""
        return DirectoryTree(exchange(self._base, tree.path, other.path), self)

    async def copy(self, vm_id: str, source: Tree, *, at_rest: bool = False) -> Tree:
        path = self._free_place(vm_id)
        if source.fresh:
            return self._create(path, fresh=True)
        copied = DirectoryTree(path, self)
        try:
            if at_rest and await self.gains_by_sharing(source):
                if takes_another(self._base, source.stack):
                    copied.stack = self._share(source, path)
                else:  # all of it, in one piece
                    await self._copy_flat(source, path)
            else:
                copied.stack = self._stack(vm_id, () if source.stack is None else source.stack.layers)
                await self._copy(source.path, path)
        except BaseException:
            await asyncio.shield(self.remove(copied))
            raise
        return copied

    async def gains_by_sharing(self, tree: Tree) -> bool:
        """Return whether a copy of a tree would better share its files. Whether that is possible here is tried out."""
        if not self._tools.prefix or not takes_another(self._base, None):
            return False
        if await in_thread(is_small, tree.path, to_copy=True):
            return False
        return await self._sharing.works()

    async def _has_layers(self) -> bool:
        reason = await self.try_layers()
        if reason is None:
            return True
        logger.log(
            logging.DEBUG if self._told else logging.WARNING,
            "forks copy files instead of sharing them, for %g s at least: %s",
            *(AGAIN, reason),
        )
        self._told = True
        return False

    async def try_layers(self) -> str | None:
        """Try whether files can be shared here. Returns why not."""
        return await try_layers(self._base, self._tools, give=self._give, discard=self.discard)

    def _share(self, source: Tree, path: Path) -> Stack | None:
        """Make a tree's files a layer below itself and below a new tree at ``path``. Returns the new one's stack."""
        while (place := self._base / f"{PREFIX}{next(self._numbers)}").exists():  # someone has put it back
            pass
        layer = Layer(place)
        below = () if source.stack is None else source.stack.layers
        layers = (*below, layer)
        names = [each.path.name for each in below]
        note = self.notes.begin(SHARE, vm=source.path.name, layer=place.name, below=names)
        try:
            os.rename(source.path, layer.path)
        except BaseException:
            note.end()
            raise
        try:
            self._make_like(path, layer.path)
            stack = self._stack(path.name, layers)
            self._make_like(source.path, layer.path)
            old, source.stack = source.stack, self._stack(source.path.name, layers)
        except BaseException:
            shutil.rmtree(source.path, ignore_errors=True)
            os.rename(layer.path, source.path)
            write_stack(self._base, source.path.name, names)
            note.end()
            raise
        note.end()
        self._leave(old)
        return stack

    def _stack(self, vm_id: str, layers: Sequence[Layer]) -> Stack | None:
        """Make the stack of a VM, with a note of it for a later server."""
        if not layers:
            return None
        work = self._base / f"{WORK}{vm_id}"
        if not work.exists():
            work.mkdir(mode=0o755)
            self._give(work)
        names = [layer.path.name for layer in layers]
        if read_stack(self._base, vm_id) != names:  # one that is adopted has it, and there may be no room for another
            write_stack(self._base, vm_id, names)
        for layer in layers:
            layer.users += 1
        return Stack(layers, work)

    def _leave(self, stack: Stack | None) -> list[Layer]:
        """Count a stack's VM no more. Returns the layers that have no others."""
        layers = () if stack is None else stack.layers
        for layer in layers:
            layer.users -= 1
        return [layer for layer in layers if not layer.users]

    def _make_like(self, path: Path, other: Path) -> None:
        """Make a directory with the attributes of another one, and without its entries."""
        status = os.stat(other)
        path.mkdir(mode=0o755)
        self._give(path)
        for name in os.listxattr(other):
            if name.startswith(("user.", "system.posix_acl_")) and not name.startswith("user.overlay."):
                os.setxattr(path, name, os.getxattr(other, name))
        path.chmod(status.st_mode & 0o7777)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _give(self, path: Path) -> None:
        if self._identity is not None:
            os.chown(path, self._identity.uid, self._identity.gid)

    async def _copy_flat(self, source: Tree, path: Path) -> None:
        async with self._seen(source) as (place, mounts):
            await self._copy_by_tools(place, path, mounts)

    @contextlib.asynccontextmanager
    async def _seen(self, tree: Tree) -> AsyncGenerator[tuple[Path, Sequence[str]]]:
        """Return where tools see a tree as its VM does, and the mounts that this takes."""
        if tree.stack is None:
            yield tree.path, ()
            return
        place = self._base / f".seen-{os.urandom(8).hex()}"
        place.mkdir(mode=0o755)
        self._give(place)
        try:
            yield place, tree.stack.to_read(tree.path, str(place))
        finally:
            place.rmdir()

    async def _copy(self, source: Path, path: Path) -> None:
        try:
            if await in_thread(copy_small, source, path):
                return
        except (OSError, RuntimeError):  # the tool can do more, or says why not
            await self.discard(path)
        try:
            await self._copy_by_tools(source, path)
        except ToolError:
            if self._tools.prefix:  # then nothing is closed to it
                raise
            await self.discard(path)
            if not await self._copy_closed(source, path):
                raise

    async def _copy_closed(self, source: Path, path: Path) -> bool:
        """Copy a tree with files that their owner cannot read. Returns whether it has any; otherwise nothing is done.

        Nothing may run on the tree, or it would find them open meanwhile.
        """
        closed = Closed(source, self.notes)
        try:
            with telling():
                if not await in_thread(closed.open):
                    return False
            await self._copy_by_tools(source, path)
            await in_thread(closed.close_copy, path)
        finally:
            await in_thread(closed.close)
        return True

    async def _copy_by_tools(self, source: Path, path: Path, mounts: Sequence[str] = ()) -> None:
        await copy_by_tools(self._tools, source, path, mounts=mounts, python=self._python, discard=self.discard)

    def close(self) -> None:
        """Remove the directory, if no tree is left in it."""
        self._reserve.close()
        with contextlib.suppress(OSError):
            self._base.rmdir()

    async def clear(self) -> None:
        """Remove every tree."""
        for path in await asyncio.to_thread(lambda: list(self._base.iterdir())):
            await self.discard(path)

    async def recover(self, ids: Collection[str], further: Mapping[str, Complete]) -> Found:
        """Recover the trees that an earlier process left. What belongs to none of them is to be discarded.

        Raises:
            SandboxError: All of them are missing, or what was noted of steps makes no sense (``damaged``).
        """
        if ids and not self._was_there:
            raise damaged(f"the files of {', '.join(sorted(ids)[:3])} should be in {self._base}, which is not there")
        await in_thread(complete_steps, self._base, further)
        found = await in_thread(look, self._base, ids)
        if found.damage:  # a layer that another tree lets go of may be one of theirs
            self._known.update((path.name, Layer(path, users=1)) for path in layers_in(self._base))
        left = [path for path in found.leftovers if path in self._former or path.name.startswith(LEFT)]
        return Found(left, found.damage)  # those with that beginning come from a step just completed

    def adopt(self, vm_id: str) -> Tree:
        path = self._place(vm_id)
        if not path.is_dir():
            raise SandboxError("not_found", f"there are no files of a VM {vm_id}")
        stack = self._adopt_stack(vm_id)
        return DirectoryTree(path, self, stack, fresh=self._furnish is not None and stack is None and _is_empty(path))

    def _adopt_stack(self, vm_id: str) -> Stack | None:
        names = read_stack(self._base, vm_id)
        return self._stack(vm_id, [self._known.setdefault(name, Layer(self._base / name)) for name in names])

    async def remove(self, tree: Tree) -> None:
        """Remove a tree, and the layers that no other tree has."""
        await self.discard(tree.path)
        stack, tree.stack = tree.stack, None
        if stack is not None:
            (self._base / f"{STACK}{tree.path.name}").unlink(missing_ok=True)
            await self.discard(stack.work)
            for layer in self._leave(stack):
                self._known.pop(layer.path.name, None)
                await self.discard(layer.path)

    async def discard_whole(self, vm_id: str) -> None:
        """Remove what there is of a tree that was not adopted, and leave its layers to a later process."""
        place = self._place(vm_id)
        for path in (place, self._base / f"{WORK}{vm_id}"):
            await self.discard(path)
        (self._base / f"{STACK}{vm_id}").unlink(missing_ok=True)

    async def discard(self, path: Path) -> None:
        """Remove a tree. It works even when every resource is used up, since a deletion frees some."""
        with contextlib.suppress(OSError, RuntimeError):  # there may be no thread to be had
            if await in_thread(remove_small, path):
                return
        try:
            await self._tools.run("rm", "-rf", str(path), reserve=self._reserve)
        except SandboxError as error:
            if self._tools.prefix or error.code == "resource_pressure":
                raise
            await self._tools.run("chmod", "-R", "u+rwX", str(path), reserve=self._reserve)
            await self._tools.run("rm", "-rf", str(path), reserve=self._reserve)

    async def measure(self, tree: Tree) -> int:
        """Measure the bytes of a tree's files. A VM may be changing them meanwhile."""
        if not self._tools.prefix:
            return await asyncio.to_thread(walk, tree.path)
        # Do not measure in the server itself: it may be root, and changing links could lead it elsewhere.
        measure = Measure()
        find = ("-ignore_readdir_race", "-type", "f", "-printf", Measure.FORMAT)
        async with self._seen(tree) as (place, mounts):
            await self._tools.run("find", str(place), *find, mounts=mounts, output=measure.feed)
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


__all__ = ["DirectoryStorage", "DirectoryTree"]
