"""The common part of providers of agents' VMs: making, copying, adopting and ending them."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path

from arker.emulator.sandbox.base import Outlet, Sandbox, SandboxError, Volume
from arker.emulator.sandbox.damaged import DamagedSandbox
from arker.emulator.sandbox.former import Processes
from arker.emulator.sandbox.host.inside import Inside
from arker.emulator.sandbox.host.machine import Launch, Machine
from arker.emulator.sandbox.host.sandbox import AgentSandbox
from arker.emulator.sandbox.recovery import Complete, damaged
from arker.emulator.sandbox.tree import Tree
from arker.emulator.sandbox.trees import DirectoryStorage
from arker.emulator.sandbox.volumes import Volumes

logger = logging.getLogger("arker.emulator")


class AgentProvider(ABC):
    """The base of providers. A subclass defines how an agent is started and what a VM contains."""

    confines_network = True

    def __init__(self, storage: DirectoryStorage, volumes: DirectoryStorage, *, lasting: Path | None = None) -> None:
        self._storage = storage
        self._volume_storage = volumes
        self._sandboxes: dict[str, AgentSandbox] = {}
        self._leftovers: list[tuple[DirectoryStorage, Path]] = []
        self._at_start = None if lasting is None else Processes(lasting).note

    async def create(self, vm_id: str, *, source: Sandbox | None = None, outlet: Outlet | None = None) -> AgentSandbox:
        if source is None:
            tree = await self._storage.create(vm_id)
        else:
            if isinstance(source, DamagedSandbox):
                raise SandboxError("unrecoverable", source.why)
            if not isinstance(source, AgentSandbox):
                raise TypeError("a VM can only be copied by the provider that made it")
            async with source.frozen(lambda: self._storage.gains_by_sharing(source.tree)) as at_rest:
                tree = await self._storage.copy(vm_id, source.tree, at_rest=at_rest)
        return self._sandbox(vm_id, tree, outlet)

    async def adopt(self, vm_id: str, *, outlet: Outlet | None = None) -> AgentSandbox:
        return self._sandbox(vm_id, self._storage.adopt(vm_id), outlet)

    async def create_volume(self, volume_id: str) -> Volume:
        return await self._volume_storage.create(volume_id)

    async def adopt_volume(self, volume_id: str) -> Volume:
        return self._volume_storage.adopt(volume_id)

    async def recover(self, vms: Collection[str], volumes: Collection[str]) -> Mapping[str, str]:
        return await self._recover(vms, volumes, {})

    async def _recover(
        self, vms: Collection[str], volumes: Collection[str], further: Mapping[str, Complete]
    ) -> Mapping[str, str]:
        of_vms = await self._storage.recover(vms, further)
        of_volumes = await self._volume_storage.recover(volumes, further)
        for why in of_volumes.damage.values():
            raise damaged(why)
        for storage, found in ((self._storage, of_vms), (self._volume_storage, of_volumes)):
            self._leftovers += [(storage, path) for path in found.leftovers]
        return of_vms.damage

    async def discard_files(self, vm_id: str) -> None:
        await self._storage.discard_whole(vm_id)

    async def sweep(self) -> None:
        while self._leftovers:
            storage, path = self._leftovers.pop()
            try:
                await storage.discard(path)
            except SandboxError as error:
                logger.warning("what an earlier server has left in %s could not be removed: %s", path, error)

    async def close(self, *, keep_files: bool = False) -> None:
        sandboxes = tuple(self._sandboxes.values())
        await asyncio.gather(*(each.close() if keep_files else each.delete() for each in sandboxes))
        self._sandboxes.clear()
        if not keep_files:
            await self._volume_storage.clear()
        self._storage.close()
        self._volume_storage.close()

    @abstractmethod
    def _inside(self, tree: Tree) -> Inside:
        """Return the settings of the runs of a VM with this tree."""

    @abstractmethod
    async def _launch(self, tree: Tree, volumes: Volumes) -> Launch:
        """Prepare the start of an agent on a tree with its volumes."""

    async def _warm(self, tree: Tree) -> Machine | None:
        """Return a machine that has been started already, and has the tree's files from now on; None without one."""
        return None

    def _sandbox(self, vm_id: str, tree: Tree, outlet: Outlet | None) -> AgentSandbox:
        sandbox = AgentSandbox(
            tree=tree,
            launch=self._launch,
            inside=self._inside(tree),
            outlet=outlet if self.confines_network else None,
            warm=self._warm,
            at_delete=lambda: self._sandboxes.pop(vm_id, None),
        )
        self._sandboxes[vm_id] = sandbox
        return sandbox


def require_owner(directory: Path, uid: int) -> None:
    """Check that VMs whose trees an earlier server has left there were this user's. Raises `SandboxError`."""
    trees = directory / "vms"
    if trees.exists() and trees.stat().st_uid != uid:
        raise SandboxError(
            "mismatched", f"its VMs' files belong to the user {trees.stat().st_uid}, and VMs of this server to {uid}"
        )


__all__ = ["AgentProvider", "require_owner"]
