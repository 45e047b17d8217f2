"""VMs isolated by bubblewrap: a root filesystem, processes and a network of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from arker.emulator.sandbox.base import HOME, IsolationUnavailableError, SandboxError
from arker.emulator.sandbox.bubblewrap.arguments import PATH, Host, candidates, tool_prefix
from arker.emulator.sandbox.bubblewrap.diagnosis import Facts, explain, gather_facts
from arker.emulator.sandbox.bubblewrap.graft import STEP, complete, graft
from arker.emulator.sandbox.bubblewrap.identity import Identity, spare_identity
from arker.emulator.sandbox.bubblewrap.image import furnish, make_points
from arker.emulator.sandbox.bubblewrap.interpreter import Interpreter, choose_interpreter
from arker.emulator.sandbox.bubblewrap.mount_points import find_obstacle
from arker.emulator.sandbox.bubblewrap.prerequisites import check_rights, find_bash
from arker.emulator.sandbox.bubblewrap.seccomp import choose_filter
from arker.emulator.sandbox.host.inside import Inside
from arker.emulator.sandbox.host.machine import Launch, Limits, Machine
from arker.emulator.sandbox.host.provider import AgentProvider, require_owner
from arker.emulator.sandbox.host.spares import Spare, Spares
from arker.emulator.sandbox.pressure import lack, telling
from arker.emulator.sandbox.tree import Tree
from arker.emulator.sandbox.trees import DirectoryStorage
from arker.emulator.sandbox.volumes import Volumes

logger = logging.getLogger("arker.emulator")

_ENV = {
    "HOME": HOME,
    "USER": "user",
    "LOGNAME": "user",
    "PATH": PATH,
    "LANG": "C.UTF-8",
    # What a distribution protects by refusing (PEP 668) is read-only here, and pip installs into the VM's own home.
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
}


class BubblewrapProvider(AgentProvider):
    """The `SandboxProvider` that isolates VMs with namespaces."""

    name = "bubblewrap"

    def __init__(
        self,
        state_dir: Path,
        bwrap: Path,
        host: Host,
        interpreter: Interpreter,
        identity: Identity | None,
        limits: Limits,
        bash: str,
        filter: bytes = b"",
        lasting: Path | None = None,
    ) -> None:
        self._state_dir = state_dir
        files = lasting or state_dir
        self._bwrap = bwrap
        self._host = host
        self._interpreter = interpreter
        self._identity = identity
        self._points = host.points()
        super().__init__(
            DirectoryStorage(
                files / "vms",
                identity=identity,
                tool_prefix=tool_prefix(bwrap),
                furnish=lambda root: furnish(root, identity, self._points),
                python=interpreter.on_host,
                lasting=lasting is not None,
            ),
            DirectoryStorage(
                files / "volumes",
                identity=identity,
                tool_prefix=tool_prefix(bwrap),
                furnish=None,
                lasting=lasting is not None,
            ),
            lasting=lasting,
        )
        self.spares = Spares(self._make_spare, limits.spares)
        self._limits = limits
        self._filter = filter
        self._bash = bash
        self._max_processes = limits.processes if _counts_by_namespace(platform.release()) else 0

    @property
    def bwrap(self) -> Path:
        """The bwrap in use."""
        return self._bwrap

    @classmethod
    async def open(
        cls, state_dir: Path, limits: Limits | None = None, *, lasting: Path | None = None
    ) -> BubblewrapProvider:
        """Open a provider that keeps the VMs' trees under ``state_dir``. A throw-away VM first shows that isolation
        works here.

        Args:
            state_dir: A directory that ends with the server.
            limits: Those of VMs.
            lasting: The directory for the trees, if they are to outlive the server.

        Raises:
            IsolationUnavailableError: it does not; the message says why and what to do.
            SandboxError: the machine lacks a resource (``resource_pressure``).
        """
        if sys.platform != "linux":
            raise IsolationUnavailableError(explain(Facts(platform=sys.platform)))
        with telling():
            return await cls._open(state_dir, limits or Limits(), lasting)

    @classmethod
    async def _open(cls, state_dir: Path, limits: Limits, lasting: Path | None) -> BubblewrapProvider:
        identity = spare_identity()
        check_rights(identity)
        if lasting is not None:
            lasting = await asyncio.to_thread(_prepare, lasting, identity)
            await asyncio.to_thread(require_owner, lasting, os.geteuid() if identity is None else identity.uid)
        bash = find_bash(identity)
        state_dir = await asyncio.to_thread(_prepare, state_dir, identity)
        interpreter = await choose_interpreter(state_dir, identity)
        host = await asyncio.to_thread(Host.look, interpreter, identity)
        chosen = choose_filter()
        if isinstance(chosen, str):
            logger.warning("VMs run without a filter of system calls: %s", chosen)
            chosen = b""
        attempts: list[tuple[str, str]] = []
        for bwrap in candidates(state_dir, identity):
            provider = cls(state_dir, bwrap, host, interpreter, identity, limits, bash, chosen, lasting)
            try:
                with telling():
                    await provider.try_out()
            except (SandboxError, OSError) as error:
                provider.discard()
                if lack(error) is not None or (isinstance(error, SandboxError) and error.code == "resource_pressure"):
                    await asyncio.to_thread(_clear, state_dir)
                    raise
                attempts.append((str(bwrap), str(error)))
            else:
                return provider
        await asyncio.to_thread(_clear, state_dir)
        facts = await asyncio.to_thread(gather_facts, attempts, interpreter.on_host, identity)
        raise IsolationUnavailableError(explain(facts))

    async def why_no_layers(self) -> str | None:
        """Return why VMs cannot share files here; None if they can."""
        return await self._storage.try_layers()

    def discard(self) -> None:
        """Discard a provider that does not work."""
        self._storage.close()
        self._volume_storage.close()

    async def try_out(self) -> None:
        """Start a VM, which becomes the first spare one. Raises `SandboxError`."""
        spare = await self._make_spare()
        if spare.machine.missing:  # nothing else has run in this VM yet
            logger.warning("VMs go without %s", "; ".join(spare.machine.missing))
        self.spares.add(spare)

    async def recover(self, vms: Collection[str], volumes: Collection[str]) -> Mapping[str, str]:
        return await self._recover(vms, volumes, {STEP: complete})

    async def close(self, *, keep_files: bool = False) -> None:
        await self.spares.close()
        await super().close(keep_files=keep_files)
        await asyncio.to_thread(_clear, self._state_dir)

    async def _make_spare(self) -> Spare:
        tree = self._storage.create_bare()
        try:
            make_points(tree.path, self._identity, self._points)
            machine = await Machine.start(self._prepared(tree, {}))
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, tree.path, ignore_errors=True)
            raise
        return Spare(machine, tree)

    async def _warm(self, tree: Tree) -> Machine | None:
        if tree.stack is not None:  # a root of layers has to be mounted for it
            return None
        spare = await self.spares.take()
        if spare is None:
            return None
        # Not in a thread: it takes less time than going there, and nothing can be cancelled halfway.
        machine = None
        try:
            if self._hand_over(spare.tree, tree):
                machine = spare.machine
        finally:
            if machine is None:
                self.spares.leave(spare)
        return machine

    def _hand_over(self, spare: Tree, tree: Tree) -> bool:
        """Put a spare sandbox's tree, with the files of a VM's tree in it, into the place of that one."""
        if tree.fresh:
            furnish(spare.path, self._identity)
            self._storage.replace_fresh(tree, spare)
            return True
        self._host.prepare(tree.path, self._identity)
        mounts, ways = self._host.covered, (HOME, *(place for place, _ in self._host.links))
        try:
            note = self._storage.notes.begin(STEP, vm=tree.path.name, spare=spare.path.name, mounts=mounts, ways=ways)
        except OSError:
            return False
        if not graft(tree.path, spare.path, mounts, *ways):
            note.end()
            return False
        try:
            left = self._storage.put_in_place(spare, tree)
        except OSError:
            if not graft(spare.path, tree.path, mounts, *ways):
                raise
            note.end()
            return False
        note.end()
        self.spares.leave(left)
        return True

    def _inside(self, tree: Tree) -> Inside:
        return Inside(
            env={**_ENV, "SHELL": self._bash}, bash=self._bash, owner=self._identity, reserved=self._host.reserved
        )

    async def _launch(self, tree: Tree, volumes: Volumes) -> Launch:
        if tree.fresh:
            tree.furnish()  # with its mount points
        else:
            self._host.prepare(tree.path, self._identity, tree.stack)
        return self._prepared(tree, volumes)

    def _prepared(self, tree: Tree, volumes: Volumes) -> Launch:
        layers = () if tree.stack is None else tree.stack.below
        obstacles = {path: find_obstacle(tree.path, path, self._identity, layers) for path in volumes}
        bound = {path: volume.path for path, volume in volumes.items() if obstacles[path] is None}
        return Launch(
            bwrap=str(self._bwrap),
            options=self._host.options(tree.path, bound, tree.stack),
            filter=self._filter,
            python=self._interpreter.executable,
            program=self._interpreter.program,
            identity=self._identity,
            max_processes=self._max_processes,
            max_open_files=_fewer_than_here(self._limits.open_files),
            refused={path: reason for path, reason in obstacles.items() if reason is not None},
            at_start=self._at_start,
        )


def _fewer_than_here(limit: int) -> int:
    """Return a limit of open files that leaves this process and agents room where all the user's descriptors count."""
    import resource  # which not every system has

    own = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if own == resource.RLIM_INFINITY else min(limit, own * 3 // 4)


def _prepare(state_dir: Path, identity: Identity | None) -> Path:
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    state_dir = state_dir.resolve()
    if identity is not None:
        state_dir.chmod(0o711)  # the VMs' user must be able to pass through, but not list it
        if not identity.can_reach(state_dir):
            raise IsolationUnavailableError(
                f"VMs of a root server are started as uid {identity.uid}, which cannot get to {state_dir}: choose a "
                "directory below one that all users may enter, such as /var/lib or /tmp, or run as an ordinary user."
            )
    return state_dir


def _clear(state_dir: Path) -> None:
    for name in ("bwrap", "python"):
        shutil.rmtree(state_dir / name, ignore_errors=True)


def _counts_by_namespace(release: str) -> bool:
    """Return whether RLIMIT_NPROC set in a user namespace counts only what runs in it. Linux 5.14 and newer do that."""
    numbers = release.split("-")[0].split(".")
    try:
        return (int(numbers[0]), int(numbers[1])) >= (5, 14)
    except (ValueError, IndexError):
        return False


__all__ = ["BubblewrapProvider"]
